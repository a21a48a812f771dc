"""What a simulated trial does: reports, one after the other, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tuning_operator.engine.events import EndReason, TrialProposed
from tuning_operator.engine.wanted import WantedControl


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One look at a trial.

    Attributes:
        seconds: Since the report before.
        position: How far on the axis.
        value: The objective in the user's direction; None between evaluations.
        steps: Training steps with a finite loss since the report before; 0, and no `nonfinite` either, for a trial that
            says nothing of its training loss.
        loss: Their mean training loss.
        nonfinite: Training steps whose loss was NaN or infinite.
    """

    seconds: float
    position: float
    value: float | None
    steps: int = 0
    loss: float = 0.0
    nonfinite: int = 0
    learning_rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """A process that goes before its schedule is over.

    Attributes:
        seconds: Since the report before.
        reason: Completed, or what went wrong; a failure is retried as often as the job allows.
        checkpoint: Position at which the next attempt goes on.
    """

    seconds: float
    reason: EndReason
    checkpoint: float = 0.0


class Course(Protocol):
    """One attempt."""

    def next(self, control: WantedControl) -> Report | Exit | None:
        """Return what the attempt does next with this control in force; None at the end of its schedule."""
        ...


class Curves(Protocol):
    """Where simulated trials come from."""

    def start(self, trial: TrialProposed, *, attempt: int, position: float) -> Course:
        """Begin an attempt of a trial at a position on the axis."""
        ...


class RecordedCurves:
    """Plays recorded curves: `choose` maps a proposal to the reports of a whole training; controls change nothing."""

    def __init__(self, choose: Callable[[TrialProposed], Sequence[Report]]) -> None:
        self._choose = choose

    def start(self, trial: TrialProposed, *, attempt: int, position: float) -> Course:  # noqa: ARG002
        """Play what lies behind `position`."""
        return _Recorded([report for report in self._choose(trial) if report.position > position])


class _Recorded:
    def __init__(self, reports: Sequence[Report]) -> None:
        self._reports = iter(reports)

    def next(self, control: WantedControl) -> Report | None:  # noqa: ARG002
        return next(self._reports, None)
