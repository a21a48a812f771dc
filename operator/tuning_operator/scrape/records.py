"""From what a trial reported to what the engine is told, and to the one number that a trial is worth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from trial_protocol import names
from trial_protocol.history import HistoryRecord
from tuning_operator.api.tuning_job import Direction, Objective, Reduce
from tuning_operator.curves.marks import Observation


def observation_of(record: HistoryRecord, *, objective: str, axis: str) -> Observation | None:
    """Put one record on the axis; None where it says nothing about the objective, or nowhere on the axis."""
    value = record.values.get(objective)
    position = record.values.get(axis)
    if position is None and axis == names.METRIC_STEP:
        position = float(record.step)
    if value is None or position is None or not math.isfinite(position):
        return None
    return Observation(
        position=position,
        value=value,
        attempt=record.attempt,
        time=record.time,
        learning_rate=record.learning_rate,
    )


def observations_of(records: Iterable[HistoryRecord], *, objective: str, axis: str) -> tuple[Observation, ...]:
    """Put records on the axis, in their order; those that say nothing about the objective are left out."""
    found = (observation_of(record, objective=objective, axis=axis) for record in records)
    return tuple(observation for observation in found if observation is not None)


def effective_curve(observations: Iterable[Observation]) -> list[Observation]:
    """Return the evaluations that led to the present weights.

    A trial that goes back (a restart from its checkpoint, a restore) reports positions again. What it had reported
    there and beyond belongs to weights that are gone, so it is forgotten.
    """
    curve: list[Observation] = []
    for observation in observations:
        while curve and curve[-1].position >= observation.position:
            curve.pop()
        curve.append(observation)
    return curve


def reduce_curve(curve: Sequence[Observation], objective: Objective) -> float | None:
    """Return what a trial is worth, in the user's own direction; None without any evaluation.

    ``Best`` is the best finite value, and the last one if none is finite; ``Last`` is the last, finite or not.
    """
    if not curve:
        return None
    finite = [observation.value for observation in curve if math.isfinite(observation.value)]
    if objective.reduce is Reduce.LAST or not finite:
        return curve[-1].value
    return min(finite) if objective.direction is Direction.MINIMIZE else max(finite)
