"""From evaluations at any step to values at the marks.

Between two evaluations a curve is taken as straight; beyond the newest one it is not continued. An evaluation that goes
back within one attempt is ignored: after a restore from a checkpoint the trial trains the same part of its schedule
again, and what was recorded of it stands. A new attempt that starts earlier replaces what lies behind its first
evaluation.
"""

from __future__ import annotations

import math

from tuning_operator.curves.curve import Curve
from tuning_operator.curves.marks import MARKS, MarkValue, Observation

_ROUNDING = 1e-9


class MarkRecorder:
    """Watches one trial's evaluations and says which marks they pass.

    It keeps only the newest evaluation; everything else it needs is in the recorded curve. So a recorder that is made
    anew after a restart goes on from the curve, joining its newest mark to the next evaluation.
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
        self._forget()
        if curve.mark:
            self._go_back(curve.mark)

    def add(self, observation: Observation) -> list[MarkValue]:
        """Take in one evaluation (a loss) and return the marks it passes, in order; usually none or one."""
        if self._position is not None and observation.position <= self._position:
            if observation.attempt <= self._attempt:
                return []
            self._rewind(observation)
        self._attempt = max(self._attempt, observation.attempt)
        reached = min(int(observation.position / self._total * MARKS + _ROUNDING), MARKS)
        if self._position is None:
            self._mark = max(math.ceil(observation.position / self._total * MARKS - _ROUNDING), 1) - 1
        passed = [self._pass(mark, observation) for mark in range(self._mark + 1, reached + 1)]
        self._position = observation.position
        self._value = observation.value
        self._best = min(self._best, _loss(observation.value))
        self._learning_rate = observation.learning_rate
        return passed

    def _pass(self, mark: int, observation: Observation) -> MarkValue:
        place = mark / MARKS * self._total
        is_here = observation.position - place <= _ROUNDING * self._total
        value = observation.value if is_here else self._between(place, observation)
        self._count += 1
        self._mean += (_loss(value) - self._mean) / self._count if math.isfinite(self._mean) else 0.0
        self._mark = mark
        return MarkValue(
            mark=mark,
            value=value,
            best=min(self._best, _loss(value)) if is_here else self._best,
            mean=self._mean,
            learning_rate=observation.learning_rate if is_here else self._learning_rate,
        )

    def _between(self, place: float, observation: Observation) -> float:
        """Return the curve between the newest evaluation and this one; broken numbers stay until a sound one."""
        assert self._position is not None
        if not math.isfinite(self._value) or not math.isfinite(observation.value):
            return self._value
        part = (place - self._position) / (observation.position - self._position)
        return self._value + part * (observation.value - self._value)

    def _rewind(self, observation: Observation) -> None:
        """Go back to the newest mark before a new attempt's first evaluation."""
        mark = math.ceil(observation.position / self._total * MARKS - _ROUNDING) - 1
        if self._curve.has(mark):
            self._go_back(mark)
        else:
            self._forget()

    def _go_back(self, mark: int) -> None:
        """Stand at a recorded mark, as if its value were the newest evaluation."""
        self._mark = mark
        self._count = mark - self._curve.first + 1
        self._position = mark / MARKS * self._total
        self._value = self._curve.value_at(mark)
        self._best = self._curve.best_at(mark)
        self._mean = self._curve.mean_at(mark)
        self._learning_rate = None

    def _forget(self) -> None:
        self._mark = self._count = 0
        self._position = self._learning_rate = None
        self._value, self._best, self._mean = math.nan, math.inf, 0.0


def _loss(value: float) -> float:
    """Return a loss for comparison: what is not finite is infinitely bad."""
    return value if math.isfinite(value) else math.inf
