import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.engine.driving import Driver

from tuning_operator.api.tuning_job import Direction, Objective, Reduce
from tuning_operator.engine.calibration import spearman
from tuning_operator.engine.events import EndReason
from tuning_operator.engine.results import reduce_values

values = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=6)


@given(values, st.sampled_from(Direction), st.sampled_from(Reduce))
def test_a_result_is_finite_and_one_of_the_values(found, direction, reduce):
    result = reduce_values(found, Objective(metric="value", direction=direction, reduce=reduce))
    finite = [value for value in found if math.isfinite(value)]
    if reduce is Reduce.LAST:
        assert result == (found[-1] if found and math.isfinite(found[-1]) else None)
    elif not finite:
        assert result is None
    else:
        assert result == (max(finite) if direction is Direction.MAXIMIZE else min(finite))


@pytest.mark.parametrize(
    ("reduce", "reason", "counts"),
    [
        ("Best", EndReason.COMPLETED, True),
        ("Best", EndReason.STOPPED_EARLY, True),
        ("Best", EndReason.BUDGET_EXHAUSTED, True),
        ("Best", EndReason.NON_FINITE, False),
        ("Best", EndReason.FAILED, False),
        ("Last", EndReason.COMPLETED, True),
        ("Last", EndReason.STOPPED_EARLY, False),
        ("Last", EndReason.CANCELLED, False),
    ],
)
def test_which_trials_may_be_the_best(reduce, reason, counts):
    driver = Driver(objective={"metric": "value", "reduce": reduce})
    driver.begin()
    driver.end(0, 0.1, reason=reason)
    driver.end(1, 0.2)
    assert driver.engine.view(time=0.0).best.number == (0 if counts else 1)


def test_of_equal_trials_the_earlier_is_the_best():
    driver = Driver()
    driver.begin()
    for trial in (2, 1, 3):
        driver.end(trial, 0.5)
    assert driver.engine.view(time=0.0).ranking == (1, 2, 3)


def test_direction_decides_who_is_best():
    driver = Driver(objective={"metric": "value", "direction": "Maximize"})
    driver.begin()
    for trial, value in enumerate((0.1, 0.9, math.inf, math.nan)):
        driver.end(trial, value)
    view = driver.engine.view(time=0.0)
    assert (view.best.number, view.best.result) == (1, 0.9)
    assert view.ranking == (1, 0)


def test_saved_compute_is_the_trials_own_pace_over_the_rest_of_its_schedule():
    driver = Driver()
    driver.begin()
    driver.end(0, 1.0, reason=EndReason.STOPPED_EARLY, fraction=0.25, compute_seconds=100.0, gpu_seconds=3600.0)
    driver.end(1, 1.0, reason=EndReason.CANCELLED, fraction=0.25, compute_seconds=100.0)
    driver.end(2, 1.0, fraction=1.0, compute_seconds=400.0)
    view = driver.engine.view(time=driver.time)
    assert view.compute_seconds_saved == pytest.approx(300.0)
    assert view.gpu_hours_saved == pytest.approx(3.0)


def test_a_trial_stopped_soon_after_its_start_saves_no_more_than_a_whole_trial_costs():
    driver = Driver()
    driver.begin()
    driver.end(0, 1.0, reason=EndReason.STOPPED_EARLY, fraction=0.02, compute_seconds=100.0)
    driver.end(1, 1.0, fraction=1.0, compute_seconds=400.0)
    assert driver.engine.view(time=driver.time).compute_seconds_saved == pytest.approx(300.0)


def test_spearman_agrees_with_scipy():
    from scipy.stats import spearmanr

    first = [1.0, 2.0, 2.0, 5.0, 3.0, math.inf, 7.0, 2.0, 0.0]
    second = [2.0, 1.0, 4.0, 5.0, 5.0, 9.0, 1.0, 3.0, 0.5]
    assert spearman(first, second) == pytest.approx(spearmanr(first, second).statistic)
    assert spearman([1.0, 1.0], [1.0, 2.0]) is None


def complete_all(driver: Driver, finals: list[float], earlies: list[float]) -> None:
    for trial, (early, final) in enumerate(zip(earlies, finals, strict=True)):
        driver.complete(trial, [early] * 10 + [final] * 40)


def test_correlation_is_shown_from_eight_completed_trials_on():
    driver = Driver(budget={"trials": 8, "parallel": 8})
    driver.begin()
    complete_all(driver, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], [11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0])
    assert driver.engine.view(time=0.0).rank_correlation is None
    driver.complete(7, [18.0] * 10 + [8.0] * 40)
    assert driver.engine.view(time=0.0).rank_correlation == pytest.approx(1.0)


def test_early_is_the_first_mark_at_which_a_comparing_rule_may_judge():
    driver = Driver(
        budget={"trials": 8, "parallel": 8},
        stopping=[{"rule": "Percentile", "after": 0.5, "minimumTrials": 100}, {"rule": "Divergence"}],
    )
    driver.begin()
    for trial in range(8):
        driver.complete(trial, [90.0 - trial] * 24 + [10.0 + trial] * 26)
    assert driver.engine.view(time=0.0).rank_correlation == pytest.approx(1.0)


def test_a_wrong_stop_is_an_audited_one_among_the_best_third():
    driver = Driver(
        budget={"trials": 6, "parallel": 6},
        audit=1.0,
        stopping=[{"rule": "Percentile", "percentile": 0, "minimumTrials": 1}],
    )
    driver.begin()
    driver.complete(0, 5.0)
    assert driver.engine.view(time=0.0).wrong_stop_rate is None
    # Both would have been stopped; the first becomes the best of all, the second the worst.
    driver.complete(1, [50.0] * 20 + [1.0] * 30)
    driver.complete(2, [50.0] * 50)
    for trial in (3, 4, 5):
        driver.complete(trial, 4.0)
    assert driver.engine.view(time=0.0).wrong_stop_rate == pytest.approx(0.5)
