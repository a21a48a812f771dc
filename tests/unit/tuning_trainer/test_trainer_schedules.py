import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_trainer.schedules import SHAPES, Schedule
from tuning_trainer.settings import SCHEDULES

FRACTIONS = st.floats(0.0, 1.0)


def test_every_shape_can_be_chosen_by_name() -> None:
    assert tuple(SHAPES) == SCHEDULES


@pytest.mark.parametrize("shape", SCHEDULES)
def test_warmup_rises_in_a_line_to_one(shape: str) -> None:
    schedule = Schedule(shape=shape, warmup=0.2)
    assert [schedule.factor(f) for f in (0.0, 0.05, 0.1, 0.2)] == pytest.approx([0.0, 0.25, 0.5, 1.0])


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("constant", [1.0, 1.0, 1.0, 1.0]),
        ("linear", [1.0, 0.75, 0.5, 0.0]),
        ("cosine", [1.0, 0.8535534, 0.5, 0.0]),
        ("wsd", [1.0, 1.0, 1.0, 0.0]),
    ],
)
def test_shapes_at_known_fractions(shape: str, expected: list[float]) -> None:
    schedule = Schedule(shape=shape)
    assert [schedule.factor(f) for f in (0.0, 0.25, 0.5, 1.0)] == pytest.approx(expected)


def test_the_final_decay_of_wsd_is_a_share_of_the_whole_training() -> None:
    schedule = Schedule(shape="wsd", warmup=0.1, decay=0.2)
    assert [schedule.factor(f) for f in (0.79, 0.8, 0.9, 1.0)] == pytest.approx([1.0, 1.0, 0.5, 0.0])


def test_a_floor_is_where_decay_ends() -> None:
    assert Schedule(shape="cosine", floor=0.1).factor(1.0) == pytest.approx(0.1)


@given(st.sampled_from(SCHEDULES), st.floats(0.0, 0.5), st.floats(0.0, 0.5), FRACTIONS, FRACTIONS)
def test_an_early_decay_starts_where_the_plan_was_and_ends_at_the_floor(
    shape: str, warmup: float, floor: float, start: float, fraction: float
) -> None:
    schedule = Schedule(shape=shape, warmup=warmup, floor=floor)
    height = schedule.factor(start)
    assert schedule.factor(start, decay_from=start) == height
    assert 0.0 <= schedule.factor(fraction) <= 1.0 + 1e-12
    if start < 1.0:
        assert schedule.factor(1.0, decay_from=start) == pytest.approx(min(floor, height))
    if fraction > start:
        assert schedule.factor(fraction, decay_from=start) <= height
    else:
        assert schedule.factor(fraction, decay_from=start) == schedule.factor(fraction)
