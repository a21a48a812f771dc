"""What is seen of a running trial and not recorded: shown to people, watched by monitors, lost with the process."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tuning_operator.curves.alarm import Alarm
from tuning_operator.curves.curve import Curve
from tuning_operator.curves.marks import MarkValue, Observation, Pulse
from tuning_operator.curves.recorder import MarkRecorder
from tuning_operator.stopping.base import Monitor


class Live:
    """One running trial. Values are losses.

    Attributes:
        value: Newest value; NaN before the first.
        best: Least finite value seen by this process; infinite before the first.
        position: How far on the axis, by the newest evaluation or pulse.
        applied_revision: Newest control revision that the trial has reported.
    """

    __slots__ = ("_attempt", "_monitors", "_recorder", "applied_revision", "best", "learning_rate", "position", "value")

    def __init__(self, *, total: float, curve: Curve, monitors: Sequence[tuple[str, Monitor]]) -> None:
        self._recorder = MarkRecorder(total=total, curve=curve)
        self._monitors = monitors
        self._attempt = 0
        self.value = curve.value if curve.mark else math.nan
        self.best = curve.best
        self.learning_rate: float | None = curve.learning_rate
        self.position = curve.fraction * total
        self.applied_revision = 0

    def evaluate(self, observation: Observation) -> list[MarkValue]:
        """Take in one evaluation (a loss) and return the marks it passes."""
        value = observation.value
        self.value = value
        if math.isfinite(value) and value < self.best:
            self.best = value
        self.position = max(self.position, observation.position)
        if observation.learning_rate is not None:
            self.learning_rate = observation.learning_rate
        return self._recorder.add(observation)

    def look(self, pulse: Pulse) -> None:
        """Take in what one look says about the trial itself."""
        self.position = pulse.position
        self.applied_revision = pulse.revision
        if pulse.learning_rate is not None:
            self.learning_rate = pulse.learning_rate

    def watch(self, pulse: Pulse) -> list[tuple[str, Alarm]]:
        """Show a look to the monitors; return the alarms, each with the rule that raised it."""
        if pulse.attempt > self._attempt:
            self._attempt = pulse.attempt
            self.forget()
        return [(name, alarm) for name, monitor in self._monitors if (alarm := monitor.observe(pulse)) is not None]

    def forget(self) -> None:
        """Let the monitors start anew: a change made the past incomparable."""
        for _, monitor in self._monitors:
            monitor.reset()
