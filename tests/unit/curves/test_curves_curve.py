from __future__ import annotations

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.curves import curve_of, mark_value, marks_of

from tuning_operator.curves.curve import Curve
from tuning_operator.curves.marks import MARKS, MarkValue


def test_an_empty_curve_is_infinitely_bad_and_nowhere() -> None:
    curve = Curve()
    assert (curve.mark, curve.fraction, curve.attempt, len(curve)) == (0, 0.0, 0, 0)
    assert (curve.value, curve.best, curve.mean) == (math.inf, math.inf, math.inf)
    assert curve.learning_rate is None
    assert list(curve) == []


def test_a_curve_gives_back_what_was_recorded() -> None:
    curve = Curve()
    recorded = [
        MarkValue(mark=3, value=math.nan, best=2.0, mean=math.inf, learning_rate=0.1),
        MarkValue(mark=4, value=1.0, best=1.0, mean=math.inf),
    ]
    for mark in recorded:
        curve.append(mark, attempt=2)
    assert list(map(repr, curve)) == list(map(repr, recorded))
    assert curve.marks() == (3, 4)
    assert (curve.value, curve.best, curve.mean, curve.attempt) == (1.0, 1.0, math.inf, 2)
    assert curve.fraction == 4 / MARKS
    assert curve.learning_rate is None
    assert curve.learning_rate_at(3) == 0.1
    assert (curve.value_at(4), curve.best_at(3), curve.mean_at(3), curve.index(4)) == (1.0, 2.0, math.inf, 1)


def test_a_mark_that_is_not_recorded_is_named() -> None:
    curve = Curve()
    curve.append(mark_value(3), attempt=1)
    assert not curve.has(2)
    assert curve.has(3)
    assert not curve.has(4)
    for mark in (2, 4):
        with pytest.raises(KeyError, match=rf"mark {mark} is not recorded; those recorded are \[3\]"):
            curve.value_at(mark)


@pytest.mark.parametrize("mark", [0, -1, MARKS + 1])
def test_a_mark_outside_the_schedule_is_refused(mark: int) -> None:
    with pytest.raises(ValueError, match=f"between 1 and {MARKS}"):
        Curve().append(mark_value(mark), attempt=1)


@given(marks=st.lists(st.integers(1, MARKS), max_size=80))
def test_whatever_is_appended_the_latest_counts_and_marks_rise(marks: list[int]) -> None:
    curve = Curve()
    expected: dict[int, float] = {}
    for index, mark in enumerate(marks):
        curve.append(mark_value(mark, float(index)), attempt=index)
        expected = {old: value for old, value in expected.items() if old < mark} | {mark: float(index)}
    assert {mark.mark: mark.value for mark in curve} == expected
    assert list(curve.marks()) == sorted(expected)
    assert curve.attempt == (len(marks) - 1 if marks else 0)


def test_a_full_curve_takes_less_than_2500_bytes() -> None:
    curve = curve_of([1.0 / (mark + 1) for mark in range(MARKS)])
    columns = [getattr(curve, name) for name in Curve.__slots__]
    assert sys.getsizeof(curve) + sum(map(sys.getsizeof, columns)) < 2500
    assert len(marks_of(curve)) == MARKS
