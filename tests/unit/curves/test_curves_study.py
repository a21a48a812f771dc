from __future__ import annotations

import math
import time

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.curves import curve_of, finished, quickly, study_of

from tuning_operator.curves.marks import MARKS
from tuning_operator.curves.study import StudyCurves


def test_an_empty_study_has_nothing_to_compare_with() -> None:
    study = StudyCurves()
    assert study.completed(1) == 0
    with pytest.raises(ValueError, match="no completed trial has a value at mark 7"):
        study.percentile_of_means(7, 10)


@quickly
@given(curves=st.lists(finished, min_size=1, max_size=6), mark=st.integers(1, MARKS), percentile=st.floats(0, 100))
def test_the_percentile_is_that_of_numpy(curves: list[list[float]], mark: int, percentile: float) -> None:
    study = study_of(curves)
    means = [curve_of(values).mean_at(mark) for values in curves]
    expected = numpy.percentile(means, percentile)
    assert study.percentile_of_means(mark, percentile) == pytest.approx(expected, rel=1e-9, abs=1e-6)
    assert study.completed(mark) == len(curves)


def test_infinite_averages_sort_last_and_never_make_a_percentile_that_is_no_number() -> None:
    study = study_of([[math.nan] * MARKS, [1.0] * MARKS, [math.inf] * MARKS])
    assert study.percentile_of_means(5, 0) == 1.0
    assert study.percentile_of_means(5, 10) == math.inf
    assert study.percentile_of_means(5, 75) == math.inf
    assert study.percentile_of_means(5, 100) == math.inf


def test_a_curve_counts_at_the_marks_it_has() -> None:
    study = study_of([[1.0] * 10, [2.0] * 20])
    assert [study.completed(mark) for mark in (10, 11, 20, 21)] == [2, 1, 1, 0]


def test_a_percentile_does_not_slow_down_with_the_number_of_trials() -> None:
    curve = curve_of([1.0] * MARKS)
    durations = {}
    for trials in (50, 5000):
        study = StudyCurves()
        for _ in range(trials):
            study.add_completed(curve)
        durations[trials] = min(_time(study) for _ in range(5))
    assert durations[5000] < 5 * durations[50]


def _time(study: StudyCurves) -> float:
    begun = time.perf_counter()
    for _ in range(2000):
        study.percentile_of_means(30, 10)
    return time.perf_counter() - begun
