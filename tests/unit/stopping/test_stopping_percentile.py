from __future__ import annotations

import math
import time

import pytest
from tests.curves import curve_of, study_of

from tuning_operator.curves.marks import MARKS
from tuning_operator.curves.study import StudyCurves
from tuning_operator.stopping.percentile import Percentile, PercentileSettings

OTHERS = [[level] * MARKS for level in (1.0, 2.0, 3.0, 4.0, 5.0)]


def judge(values: list[float], others: list[list[float]], **settings: float) -> object:
    return Percentile(PercentileSettings(**settings)).judge(curve_of(values), study_of(others))


def test_the_bar_is_the_interpolated_percentile_of_running_averages() -> None:
    verdict = Percentile(PercentileSettings()).judge(curve_of([1.5] * 5), study_of(OTHERS))
    assert verdict is not None
    assert verdict.reason == "StoppedEarly"
    assert verdict.compared == 5
    assert verdict.inputs == {"best": 1.5, "bar": pytest.approx(1.4), "percentile": 10.0}
    sentence, inputs = verdict.tell(sign=-1.0)
    assert inputs == {"best": -1.5, "bar": pytest.approx(-1.4), "percentile": 10.0}
    assert sentence == (
        "after 10% its best value -1.5 is worse than -1.4, the bound of the best 10 % of the running averages of "
        "5 completed trials"
    )
    assert judge([1.4] * 5, OTHERS) is None


def test_with_percentile_50_it_is_the_median_rule() -> None:
    assert judge([2.9] * 10, OTHERS, percentile=50) is None
    assert judge([3.1] * 10, OTHERS, percentile=50) is not None


def test_the_best_value_counts_and_not_the_newest() -> None:
    assert judge([1.0, *[9.0] * 20], OTHERS) is None


def test_a_long_average_gives_late_bloomers_their_slack() -> None:
    falling = [[10.0 - 9.0 * mark / MARKS for mark in range(1, MARKS + 1)] for _ in range(3)]
    late = [10.0] * 24 + [5.6]
    assert falling[0][24] < late[-1], "at half of the schedule it is behind"
    assert judge(late, falling) is None


def test_it_waits_for_the_mark_and_for_enough_trials() -> None:
    assert judge([9.0] * 4, OTHERS) is None
    assert judge([9.0] * 5, OTHERS) is not None
    assert judge([9.0] * 9, OTHERS, after=0.2) is None
    assert judge([9.0] * 10, OTHERS, after=0.2) is not None
    assert judge([9.0] * 10, OTHERS[:2]) is None
    assert judge([9.0] * 10, OTHERS[:3]) is not None
    assert judge([9.0] * 10, OTHERS[:1], minimum_trials=1) is not None


def test_only_trials_that_have_the_mark_count_as_enough() -> None:
    short = [[1.0] * 10, [1.0] * 10, [1.0] * MARKS]
    assert judge([9.0] * 10, short) is not None
    assert judge([9.0] * 11, short) is None


def test_diverged_trials_make_no_bar_that_stops_sound_ones() -> None:
    assert judge([9.0] * 10, [[math.nan] * MARKS] * 5) is None


def test_a_trial_without_a_finite_loss_is_stopped_and_says_so() -> None:
    verdict = Percentile(PercentileSettings()).judge(curve_of([math.nan] * 10), study_of(OTHERS))
    assert verdict is not None
    assert "its best value inf is worse than 1.4" in verdict.tell()[0]


def test_a_judgement_among_5000_trials_takes_microseconds() -> None:
    study = StudyCurves()
    completed = curve_of([1.0 + mark / MARKS for mark in range(MARKS)])
    for _ in range(5000):
        study.add_completed(completed)
    rule, curve = Percentile(PercentileSettings()), curve_of([1.0] * 25)
    assert study.completed(curve.mark) == 5000
    begun = time.perf_counter()
    for _ in range(2000):
        rule.judge(curve, study)
    assert (time.perf_counter() - begun) / 2000 < 50e-6
