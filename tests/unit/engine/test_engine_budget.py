import math

import pytest
from tests.unit.engine.driving import Driver, make_spec

from tuning_operator.api.trial import Desired
from tuning_operator.engine.decisions import Action
from tuning_operator.engine.events import (
    EndReason,
    JobCancelled,
    JobResumed,
    JobStarted,
    JobSuspended,
    LimitReached,
    Role,
    SpaceExhausted,
    TrialEnded,
    TrialProposed,
)
from tuning_operator.errors import LogError

SMALL_SPACE = [{"name": "width", "type": "Int", "min": 1, "max": 3}]


def test_trials_are_proposed_one_after_the_other_up_to_parallel_and_trials():
    driver = Driver(budget={"trials": 5, "parallel": 3})
    assert isinstance(driver.engine.propose(time=0.0)[0], JobStarted)
    assert [event.trial for event in driver.propose()] == [0, 1, 2]
    assert driver.engine.propose(time=0.0) == []
    driver.end(1, 1.0)
    assert [event.trial for event in driver.propose()] == [3]
    driver.end(0, 1.0)
    driver.end(2, 1.0)
    assert [event.trial for event in driver.propose()] == [4]
    driver.end(3, 1.0)
    assert driver.engine.finished is None
    driver.end(4, 1.0)
    assert driver.engine.finished == "TrialsCompleted"


def test_a_proposal_depends_on_what_is_recorded_and_not_on_how_often_it_was_asked_for():
    driver, asked = Driver(), Driver()
    for _ in range(5):
        asked.engine.propose(time=0.0)
    first, second = driver.propose(), asked.propose()
    assert [(one.parameters, one.seed) for one in first] == [(one.parameters, one.seed) for one in second]
    assert len({one.seed for one in first}) == len(first)


def test_audited_trials_are_a_share_that_the_seed_decides():
    driver = Driver(audit=0.25, budget={"trials": 400, "parallel": 400})
    audited = [event.trial for event in driver.propose() if event.audited]
    assert 70 <= len(audited) <= 130
    again = Driver(audit=0.25, budget={"trials": 400, "parallel": 400})
    assert audited == [event.trial for event in again.propose() if event.audited]


def test_training_seeds_avoid_those_kept_for_the_evaluation():
    first = Driver().propose()[0]
    driver = Driver(evaluation={"seeds": [first.seed]})
    assert driver.propose()[0].seed != first.seed


def test_more_failures_than_allowed_end_the_job():
    driver = Driver(budget={"trials": 9, "parallel": 4, "failedTrials": 1})
    driver.begin()
    assert driver.end(0, reason=EndReason.NON_FINITE) == []
    assert driver.end(1, reason=EndReason.FAILED) == []
    (decision,) = driver.end(2, reason=EndReason.OUT_OF_MEMORY)
    assert (decision.action, decision.rule, decision.reason) == (
        Action.FINISH,
        "Budget.failedTrials",
        "TooManyFailures",
    )
    assert driver.engine.propose(time=0.0) == []
    assert driver.engine.finished is None
    assert driver.engine.wanted(3).desired is Desired.STOPPED
    assert driver.engine.wanted(3).reason is EndReason.CANCELLED
    assert driver.end(3, reason=EndReason.CANCELLED) == []
    assert driver.engine.finished == "TooManyFailures"


def test_the_clock_ends_the_job_and_a_raised_budget_goes_on_with_it():
    driver = Driver(budget={"trials": 9, "parallel": 2, "duration": "60s"})
    driver.begin()
    assert driver.engine.check(time=driver.time + 30) == []
    (event,) = driver.engine.check(time=driver.time + 90)
    assert isinstance(event, LimitReached)
    (decision,) = driver.feed(event)
    assert (decision.rule, decision.reason) == ("Budget.duration", "BudgetExhausted")
    assert driver.engine.check(time=event.time + 1) == []
    assert driver.engine.wanted(0).reason is EndReason.BUDGET_EXHAUSTED
    driver.end(0, 1.0, reason=EndReason.BUDGET_EXHAUSTED)
    driver.end(1, 2.0, reason=EndReason.BUDGET_EXHAUSTED)
    assert driver.engine.finished == "BudgetExhausted"

    same = driver.restored()
    assert (same.finished, same.pending_decisions()) == ("BudgetExhausted", [])
    more = make_spec(budget={"trials": 9, "parallel": 2, "duration": "300s"})
    engine = driver.restored(spec=more)
    assert engine.finished is None
    assert engine.pending_decisions() == []
    assert isinstance(engine.propose(time=event.time + 5)[0], TrialProposed)


def test_gpu_hours_end_the_job():
    driver = Driver(budget={"trials": 9, "parallel": 2, "gpuHours": 2})
    driver.begin()
    assert driver.engine.check(time=driver.time, gpu_seconds=7199) == []
    (event,) = driver.engine.check(time=driver.time, gpu_seconds=7300)
    (decision,) = driver.feed(event)
    assert decision.rule == "Budget.gpuHours"
    assert driver.engine.view(time=driver.time).gpu_hours == pytest.approx(7300 / 3600)


def test_suspended_time_and_time_without_a_process_do_not_count():
    driver = Driver(budget={"trials": 9, "parallel": 1, "duration": "100s"})
    driver.begin()
    started = driver.records[0].time
    driver.say(JobSuspended, time=started + 50)
    assert driver.engine.suspended
    assert driver.engine.wanted(0).desired is Desired.PAUSED
    assert driver.engine.view(time=0.0).states == {"Paused": 1}
    assert driver.engine.check(time=started + 5000) == []
    driver.say(JobResumed, time=started + 10_000)
    assert driver.engine.wanted(0).desired is Desired.RUNNING
    assert driver.engine.check(time=started + 10_049) == []
    assert len(driver.engine.check(time=started + 10_051)) == 1
    # The process is gone after the last record, and another one takes the log up much later.
    driver.say(JobResumed, time=started + 50_000)
    assert driver.engine.check(time=started + 50_049) == []
    assert len(driver.engine.check(time=started + 50_051)) == 1


def test_suspended_jobs_propose_nothing():
    driver = Driver()
    driver.say(JobSuspended)
    assert driver.propose() == []
    driver.say(JobResumed)
    assert len(driver.propose()) == 4


def test_cancelling_stops_everything():
    driver = Driver()
    driver.begin()
    assert driver.say(JobCancelled) == []
    assert {driver.engine.wanted(trial).reason for trial in driver.engine.active()} == {EndReason.CANCELLED}
    for trial in driver.engine.active():
        driver.end(trial, reason=EndReason.CANCELLED)
    assert driver.engine.finished == "Cancelled"


def test_an_exhausted_space_lets_running_trials_go_on():
    driver = Driver(parameters=SMALL_SPACE, budget={"trials": 9, "parallel": 4})
    events = driver.propose()
    assert [type(event) for event in events] == [TrialProposed] * 3 + [SpaceExhausted]
    assert {driver.engine.wanted(trial).desired for trial in (0, 1, 2)} == {Desired.RUNNING}
    for trial in (0, 1, 2):
        assert driver.engine.finished is None
        driver.end(trial, 1.0)
    assert driver.engine.propose(time=0.0) == []
    assert driver.engine.finished == "SearchSpaceExhausted"


@pytest.mark.parametrize(
    ("objective", "values", "reached"),
    [
        ({"target": 0.5}, (0.6, 0.5), [False, True]),
        ({"target": 0.5, "direction": "Maximize"}, (-0.4, -0.6), [False, True]),
        ({"target": 0.5}, (math.nan, math.inf), [False, False]),
        ({"target": 0.5, "direction": "Maximize", "reduce": "Last"}, (-math.inf, math.nan), [False, False]),
    ],
)
def test_a_mark_that_reaches_the_target_ends_the_job(objective, values, reached):
    driver = Driver(objective={"metric": "value", **objective}, stopping=[{"rule": "Divergence"}], audit=1.0)
    driver.begin()
    found = [driver.mark(1, 2 * place + 2, value) for place, value in enumerate(values)]
    assert [[one.rule for one in decisions] for decisions in found] == [["Target"] if yes else [] for yes in reached]
    if any(reached):
        assert found[-1][0].reason == "TargetReached"
        assert driver.engine.wanted(1).reason is EndReason.TARGET_REACHED
        assert driver.engine.wanted(0).reason is EndReason.CANCELLED


def test_a_last_value_counts_only_while_it_is_the_last():
    driver = Driver(objective={"metric": "value", "target": 0.5, "reduce": "Last"})
    driver.begin()
    assert driver.mark(0, 2, 0.7, best=0.1) == []
    assert len(driver.mark(0, 3, 0.5, best=0.1)) == 1


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_a_result_that_is_not_finite_reaches_no_target_and_is_no_result(value):
    driver = Driver(objective={"metric": "value", "target": 0.5, "direction": "Maximize"})
    driver.begin()
    assert driver.end(0, value) == []
    view = driver.engine.view(time=0.0)
    assert (view.best, view.trials[0].result) == (None, None)
    assert [one.reason for one in driver.end(1, 0.9)] == ["TargetReached"]
    assert driver.engine.view(time=0.0).best.number == 1


def test_finalists_are_retrained_with_every_seed_and_the_best_mean_wins():
    driver = Driver(budget={"trials": 4, "parallel": 4}, evaluation={"top": 2, "seeds": [11, 12]})
    driver.begin()
    for trial, value in enumerate((0.3, 0.1, 0.2)):
        driver.end(trial, value)
    assert driver.propose() == []
    driver.end(3, 0.01, reason=EndReason.STOPPED_EARLY)
    events = driver.propose()
    assert [(one.candidate, one.seed, one.role, one.audited) for one in events] == [
        (1, 11, Role.EVALUATION, False),
        (1, 12, Role.EVALUATION, False),
        (2, 11, Role.EVALUATION, False),
        (2, 12, Role.EVALUATION, False),
    ]
    assert [one.trial for one in events] == [4, 5, 6, 7]
    assert events[0].parameters == driver.engine.trial(1).parameters
    assert driver.engine.view(time=0.0).best.number == 3
    for trial, value in zip(range(4, 8), (0.5, 0.1, 0.2, 0.2), strict=True):
        assert driver.engine.finished is None
        driver.end(trial, value)
    view = driver.engine.view(time=0.0)
    assert view.finished == "TrialsCompleted"
    assert [(one.candidate, one.mean) for one in view.candidates] == [(2, 0.2), (1, 0.3)]
    assert view.best.number == 2


def test_a_finalist_that_failed_with_one_seed_comes_last():
    driver = Driver(budget={"trials": 2, "parallel": 4}, evaluation={"top": 2, "seeds": [11]})
    driver.begin()
    driver.end(0, 0.1)
    driver.end(1, 0.2)
    driver.propose()
    driver.end(2, reason=EndReason.FAILED)
    driver.end(3, 0.3)
    view = driver.engine.view(time=0.0)
    assert [(one.candidate, one.mean) for one in view.candidates] == [(1, 0.3), (0, None)]
    assert view.best.number == 1


def test_more_trials_after_an_evaluation():
    driver = Driver(budget={"trials": 1, "parallel": 1}, evaluation={"top": 1, "seeds": [11]})
    driver.begin()
    driver.end(0, 0.5)
    driver.propose()
    driver.end(1, 0.6)
    assert driver.engine.finished == "TrialsCompleted"
    engine = driver.restored(spec=make_spec(budget={"trials": 2, "parallel": 1}, evaluation={"top": 1, "seeds": [11]}))
    assert engine.finished is None
    (event,) = engine.propose(time=0.0)
    assert (event.trial, event.role) == (2, Role.SEARCH)
    engine.apply(event)
    engine.apply(
        engine.event(
            TrialEnded,
            time=0.0,
            trial=2,
            attempt=1,
            reason=EndReason.COMPLETED,
            value=0.1,
            fraction=1.0,
            compute_seconds=1.0,
        )
    )
    (event,) = engine.propose(time=0.0)
    assert (event.role, event.candidate) == (Role.EVALUATION, 2)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("objective", {"objective": {"metric": "eval_loss", "target": 1.0}}),
        ("axis", {"axis": {"total": 2000}}),
        ("parameters", {"parameters": [{"name": "lr", "type": "Float", "min": 1e-5, "max": 1.0, "scale": "Log"}]}),
    ],
)
def test_a_log_is_refused_by_a_job_that_searches_something_else(field, change):
    driver = Driver()
    driver.begin()
    with pytest.raises(LogError, match=rf"spec\.{field} has changed"):
        driver.restored(spec=make_spec(**change))


def test_what_trials_are_not_told_of_the_log_is_an_error():
    driver = Driver()
    driver.begin()
    with pytest.raises(LogError, match="trial 77 is not in the log"):
        driver.engine.wanted(77)
    with pytest.raises(LogError, match="trial 77 is not in the log"):
        driver.mark(77, 1, 1.0)
    with pytest.raises(LogError, match="order of their sequence"):
        driver.engine.apply(driver.records[1])


def test_an_end_that_is_told_twice_counts_once():
    driver = Driver(budget={"trials": 9, "parallel": 4, "failedTrials": 1})
    driver.begin()
    driver.end(0, reason=EndReason.FAILED)
    assert driver.end(0, reason=EndReason.FAILED) == []
    assert driver.engine.view(time=0.0).reasons == {"Failed": 1}
