"""What a stopping rule is: a pure judge of one curve against the others.

A rule never acts, keeps no state of its own and reads no clock. It answers with a verdict and the numbers behind it,
or with None: no objection.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from tuning_operator.curves.alarm import Alarm
from tuning_operator.curves.curve import Curve
from tuning_operator.curves.marks import Pulse
from tuning_operator.curves.study import StudyCurves
from tuning_operator.schema import RuleSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class StopVerdict:
    """Stop this trial, and why.

    Attributes:
        reason: Reason of the trial's end: ``StoppedEarly`` or ``NonFinite``.
        sentence: One plain sentence for a person, a format string over `inputs` (``{best:.4g}``) that `tell` fills in.
        inputs: The numbers the verdict came from, by name.
        losses: Those of the inputs that are values of the objective, which people read in their own direction.
        compared: How many other trials were compared.
    """

    reason: str
    sentence: str
    inputs: Mapping[str, float]
    losses: frozenset[str] = frozenset()
    compared: int = 0

    def tell(self, *, sign: float = 1.0) -> tuple[str, dict[str, float]]:
        """Return the sentence and the inputs in the user's direction.

        Args:
            sign: -1 where the objective is maximised, else 1.
        """
        numbers = {name: sign * value if name in self.losses else value for name, value in self.inputs.items()}
        return self.sentence.format_map(numbers), numbers


class Monitor(Protocol):
    """Watches one attempt of one trial between the marks; may keep what it saw, and loses it with the process."""

    def observe(self, pulse: Pulse) -> Alarm | None:
        """Take in one look at the trial; return an alarm at most once until `reset`."""
        ...

    def reset(self) -> None:
        """Forget everything seen, after a control change made the past incomparable."""
        ...


class StoppingRule(ABC):
    """Base of all stopping rules; a rule overrides what it needs."""

    name: ClassVar[str]
    Settings: ClassVar[type[RuleSettings]]

    @abstractmethod
    def __init__(self, settings: Any) -> None:
        """Keep the settings; they are an instance of `Settings`."""

    def judge(self, curve: Curve, study: StudyCurves) -> StopVerdict | None:  # noqa: ARG002
        """Judge a curve at its newest mark."""
        return None

    def monitor(self, *, total: float) -> Monitor | None:  # noqa: ARG002
        """Return a new watcher for one attempt, or None if the rule judges at marks only.

        Args:
            total: Length of the schedule on the axis, in which positions are given.
        """
        return None

    def judge_alarm(self, alarm: Alarm, curve: Curve) -> StopVerdict | None:  # noqa: ARG002
        """Judge a recorded alarm that no control rule took care of."""
        return None
