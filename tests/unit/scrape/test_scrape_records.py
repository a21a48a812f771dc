"""Records on the axis, the curve that counts, and its reduction."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trial_protocol.history import HistoryRecord
from tuning_operator.api.tuning_job import Direction, Objective, Reduce
from tuning_operator.curves.marks import Observation
from tuning_operator.scrape.records import effective_curve, observations_of, reduce_curve


def record(step: int, **values: float) -> HistoryRecord:
    return HistoryRecord(step=step, attempt=2, time=9.0, values=values, learning_rate=0.1)


def points(*pairs: tuple[float, float]) -> list[Observation]:
    return [Observation(position=position, value=value, attempt=1, time=0.0) for position, value in pairs]


def test_records_are_put_on_the_axis() -> None:
    records = [
        record(1, eval_loss=0.5, train_tokens=100.0),
        record(2, accuracy=0.9, train_tokens=200.0),
        record(3, eval_loss=0.3),
        record(4, eval_loss=math.nan, train_tokens=math.inf),
        record(5, eval_loss=math.nan, train_tokens=500.0),
    ]
    found = observations_of(records, objective="eval_loss", axis="train_tokens")
    assert [observation.position for observation in found] == [100.0, 500.0]
    assert found[0] == Observation(position=100.0, value=0.5, attempt=2, time=9.0, learning_rate=0.1)
    assert math.isnan(found[1].value)


def test_the_step_is_an_axis_of_its_own() -> None:
    assert observations_of([record(7, eval_loss=1.0)], objective="eval_loss", axis="train_step")[0].position == 7.0


def test_going_back_forgets_what_belonged_to_lost_weights() -> None:
    curve = effective_curve(points((10, 0.5), (20, 0.1), (30, 0.2), (20, 0.4), (25, 0.3)))
    assert [(one.position, one.value) for one in curve] == [(10, 0.5), (20, 0.4), (25, 0.3)]


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(allow_nan=False))))
def test_a_curve_always_rises(pairs: list[tuple[int, float]]) -> None:
    positions = [one.position for one in effective_curve(points(*pairs))]
    assert positions == sorted(set(positions))
    assert bool(positions) == bool(pairs)


@pytest.mark.parametrize(
    ("values", "direction", "reduce", "expected"),
    [
        ([3.0, 1.0, 2.0], Direction.MINIMIZE, Reduce.BEST, 1.0),
        ([3.0, 1.0, 2.0], Direction.MAXIMIZE, Reduce.BEST, 3.0),
        ([3.0, 1.0, 2.0], Direction.MINIMIZE, Reduce.LAST, 2.0),
        ([3.0, math.nan, -math.inf], Direction.MINIMIZE, Reduce.BEST, 3.0),
        ([3.0, math.inf], Direction.MAXIMIZE, Reduce.LAST, math.inf),
        ([math.nan, math.inf], Direction.MINIMIZE, Reduce.BEST, math.inf),
        ([], Direction.MINIMIZE, Reduce.BEST, None),
    ],
)
def test_the_worth_of_a_trial(
    values: list[float], direction: Direction, reduce: Reduce, expected: float | None
) -> None:
    objective = Objective(metric="eval_loss", direction=direction, reduce=reduce)
    assert reduce_curve(points(*enumerate(values)), objective) == expected
