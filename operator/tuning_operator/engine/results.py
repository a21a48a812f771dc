"""From a trial's values to its result, and from results to the best trial. What is not finite never wins.

Which trials may be the best: with ``reduce: Best`` every trial that has a finite value and was not a failure, stopped
ones too, because their best value was measured and its checkpoint can be used. With ``reduce: Last`` only trials that
reached the end of their schedule or the target: the last value of a stopped trial belongs to the middle of a schedule.
A trial that ended as NonFinite or failed is never the best: its configuration cannot be trained to the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from tuning_operator.api.tuning_job import Direction, Objective, Reduce
from tuning_operator.engine.events import EndReason, Role
from tuning_operator.engine.state import Trial

_WHOLE = frozenset({EndReason.COMPLETED, EndReason.TARGET_REACHED})
_PARTIAL = frozenset({EndReason.STOPPED_EARLY, EndReason.BUDGET_EXHAUSTED, EndReason.CANCELLED, EndReason.PREEMPTED})


def reduce_values(values: Iterable[float], objective: Objective) -> float | None:
    """Return a trial's result from its values in order, in the user's direction; None without any finite one.

    With Last, a last value that is not finite is no result, whatever came before it.
    """
    found = list(values)
    if objective.reduce is Reduce.LAST:
        return found[-1] if found and math.isfinite(found[-1]) else None
    finite = [value for value in found if math.isfinite(value)]
    if not finite:
        return None
    return max(finite) if objective.direction is Direction.MAXIMIZE else min(finite)


def ranking(trials: Iterable[Trial], *, reduce: Reduce, whole_only: bool = False) -> list[Trial]:
    """Return the search trials that may be the best, best first; of equal ones the earlier.

    Args:
        trials: Any trials of the job.
        reduce: As the job says.
        whole_only: Leave out trials that were stopped, as for the finalists that are retrained in full.
    """
    allowed = _WHOLE if whole_only or reduce is Reduce.LAST else _WHOLE | _PARTIAL
    found = [
        (trial.loss, trial.number, trial)
        for trial in trials
        if trial.loss is not None and trial.role is Role.SEARCH and trial.ended and trial.ended.reason in allowed
    ]
    return [trial for _, _, trial in sorted(found, key=lambda entry: entry[:2])]
