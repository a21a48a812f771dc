"""From evaluations at any step to values at the marks.

Between two evaluations a curve is taken as straight; outside of them it is not continued, so marks before the first
evaluation stay empty. What goes back within one attempt is ignored: an evaluation that is reported again changes
nothing, and after a restore from a checkpoint, which trains the same part of the schedule again, what was recorded of
it stands. A new attempt that starts earlier replaces what lies behind its first evaluation. A look without a report is
no report.
"""

from __future__ import annotations

import math

from tuning_operator.curves.curve import Curve
from tuning_operator.curves.marks import MARKS, MarkValue, Observation

_ROUNDING = 1e-9


class MarkRecorder:
    """Watches one trial's evaluations and says which marks they pass.

    It keeps only the newest point of the curve; everything else it needs is in the recorded marks. So a recorder that
    is made anew after a restart goes on from the newest mark: given the evaluations since that mark once more, it
    says exactly what an undisturbed recorder says, and without them it joins that mark to the next evaluation.
    """

    __slots__ = (
        "_attempt",
        "_best",
        "_count",
        "_curve",
        "_learning_rate",
        "_mark",
        "_mean",
        "_position",
        "_total",
        "_value",
    )

    def __init__(self, *, total: float, curve: Curve) -> None:
        """Go on from `curve`, to which the caller appends what `add` returns before the next call.

        Args:
            total: Length of the schedule on the axis.
        """
        self._total = total
        self._curve = curve
        self._attempt = curve.attempt
        self._mark = curve.mark
        self._count = 0
        self._position: float | None = None
        self._value = math.nan
        self._best = math.inf
        self._mean = 0.0
        self._learning_rate: float | None = None
        if curve.mark:
            self._stand_at(curve.mark)

    def add(self, observation: Observation) -> list[MarkValue]:
        """Take in one evaluation (a loss) and return the marks it passes, in order; usually none or one.

        Everything at or beyond the end of the schedule counts as its end. A position that is not a number is ignored.
        """
        if not math.isfinite(observation.position) or observation.attempt < self._attempt:
            return []
        position = min(observation.position, self._total)
        if self._position is not None and position <= self._position:
            if observation.attempt == self._attempt:
                return []
            self._go_back_before(position)
        self._attempt = observation.attempt
        place = position / self._total * MARKS
        if self._position is None:
            self._mark = max(math.ceil(place - _ROUNDING), 1) - 1
        passed = [self._pass(mark, position, observation) for mark in range(self._mark + 1, int(place + _ROUNDING) + 1)]
        self._position = position if self._position is None else max(position, self._position)
        self._value = observation.value
        self._best = min(self._best, _loss(observation.value))
        self._learning_rate = observation.learning_rate
        return passed

    def _pass(self, mark: int, position: float, observation: Observation) -> MarkValue:
        """Move to a mark: it becomes the newest point, as it does for a recorder that goes on from it."""
        place = mark / MARKS * self._total
        if position - place <= _ROUNDING * self._total:
            self._value = observation.value
            self._learning_rate = observation.learning_rate
        else:
            self._value = self._between(place, position, observation.value)
        self._position = place
        self._mark = mark
        self._best = min(self._best, _loss(self._value))
        self._count += 1
        if math.isfinite(self._mean):
            self._mean = max(self._best, self._mean + (_loss(self._value) - self._mean) / self._count)
        return MarkValue(
            mark=mark, value=self._value, best=self._best, mean=self._mean, learning_rate=_known(self._learning_rate)
        )

    def _between(self, place: float, position: float, value: float) -> float:
        """Return the curve between the newest point and an evaluation; a broken number holds until a sound one."""
        if self._position is None or not math.isfinite(self._value) or not math.isfinite(value):
            return self._value
        return self._value + (place - self._position) / (position - self._position) * (value - self._value)

    def _go_back_before(self, position: float) -> None:
        """Return to the newest mark before the first evaluation of a new attempt, or to the beginning."""
        mark = math.ceil(position / self._total * MARKS - _ROUNDING) - 1
        if self._curve.has(mark):
            self._stand_at(mark)
            return
        self._count = 0
        self._position = self._learning_rate = None
        self._value, self._best, self._mean = math.nan, math.inf, 0.0

    def _stand_at(self, mark: int) -> None:
        """Take a recorded mark as the newest point."""
        self._mark = mark
        self._count = self._curve.index(mark) + 1
        self._position = mark / MARKS * self._total
        self._value = self._curve.value_at(mark)
        self._best = self._curve.best_at(mark)
        self._mean = self._curve.mean_at(mark)
        self._learning_rate = self._curve.learning_rate_at(mark)


def _loss(value: float) -> float:
    """Return a loss for comparison: what is not finite is infinitely bad."""
    return value if math.isfinite(value) else math.inf


def _known(learning_rate: float | None) -> float | None:
    return None if learning_rate is None or math.isnan(learning_rate) else learning_rate
