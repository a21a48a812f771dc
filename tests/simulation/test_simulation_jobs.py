from __future__ import annotations

import math
from collections import Counter

import pytest
from tests.simulation.jobs import TOTAL, make_job

from tuning_operator.backends.simulation.course import RecordedCurves, Report
from tuning_operator.backends.simulation.simulation import simulate
from tuning_operator.backends.simulation.synthetic import SyntheticCurves
from tuning_operator.engine.decisions import Decision
from tuning_operator.engine.events import (
    AttemptStarted,
    EndReason,
    JobCancelled,
    JobResumed,
    JobSuspended,
    Role,
    TrialEnded,
    TrialProposed,
)
from tuning_operator.errors import BackendError


def observing(rules):
    return [{**rule, "mode": "Observe"} for rule in rules]


def proposals(played):
    return [
        (one.trial, one.parameters, one.seed, one.audited)
        for one in played.records
        if isinstance(one, TrialProposed) and one.role is Role.SEARCH
    ]


@pytest.mark.parametrize("algorithm", ["Random", "Sobol"])
def test_a_job_that_only_observes_stops_nothing_and_shows_what_would_have_been(algorithm):
    stopping = [{"rule": "Percentile", "percentile": 50}, {"rule": "Divergence"}]
    control = [{"rule": "BackOff"}, {"rule": "CoolDown"}]
    search = {"algorithm": algorithm, "seed": 5}
    curves = SyntheticCurves(total=TOTAL)
    acting = simulate(make_job(stopping=stopping, control=control, search=search), curves, seed=1)
    job = make_job(stopping=observing(stopping), control=observing(control), search=search)
    watching = simulate(job, curves, seed=1)
    assert proposals(watching) == proposals(acting)
    assert acting.view.reasons["StoppedEarly"] > 3
    assert watching.view.reasons == Counter({"Completed": 20})
    assert watching.view.compute_seconds_saved == watching.view.learning_rate_changes == 0
    assert {one.rule for one in watching.view.decisions} == {"Percentile", "Divergence", "BackOff", "CoolDown"}
    assert not any(one.enforced for one in watching.view.decisions)
    said = Counter((one.trial, one.rule) for one in watching.view.decisions)
    assert set(said.values()) == {1}


def test_stopping_saves_compute_and_keeps_the_best():
    curves = SyntheticCurves(total=TOTAL)
    idle = simulate(make_job(stopping=[], control=[]), curves, seed=1).view
    acting = simulate(make_job(control=[]), curves, seed=1).view
    assert acting.compute_seconds < 0.8 * idle.compute_seconds
    assert acting.best.result == idle.best.result
    assert idle.rank_correlation > 0.5


def test_a_smaller_learning_rate_rescues_what_would_have_been_stopped():
    curves = SyntheticCurves(total=TOTAL, limit=1.0)
    without = simulate(make_job(control=[], audit=0.0), curves, seed=1).view
    rescued = simulate(make_job(audit=0.0), curves, seed=1).view
    assert without.reasons["NonFinite"] > rescued.reasons.get("NonFinite", 0)
    scaled = [trial for trial in rescued.trials if trial.scale < 1 and trial.reason is EndReason.COMPLETED]
    assert scaled
    assert all(trial.learning_rate < trial.parameters["lr"] for trial in scaled)


def mirrored(decision: Decision) -> dict[str, float]:
    """The inputs as they are when the objective has its sign turned."""
    values = {"best", "bar"} if decision.rule == "Percentile" else set()
    return {name: -value if name in values else value for name, value in decision.inputs.items()}


def test_a_maximised_objective_is_the_mirror_of_a_minimised_one():
    low = simulate(make_job(), SyntheticCurves(total=TOTAL), seed=1)
    objective = {"metric": "eval_loss", "direction": "Maximize"}
    high = simulate(make_job(objective=objective), SyntheticCurves(total=TOTAL, maximize=True), seed=1)
    assert [(one.trial, one.rule, one.fraction, mirrored(one)) for one in low.view.decisions] == [
        (one.trial, one.rule, one.fraction, dict(one.inputs)) for one in high.view.decisions
    ]
    assert low.view.best.number == high.view.best.number
    assert low.view.best.result == -high.view.best.result
    first, other = (played.view.trials[0].points for played in (low, high))
    assert repr([point.value for point in first]) == repr([0 - point.value for point in other])


def test_crashed_trials_are_tried_again_from_where_they_were():
    played = simulate(make_job(stopping=[], control=[]), SyntheticCurves(total=TOTAL, crashes=0.3), seed=1)
    attempts = Counter(one.trial for one in played.records if isinstance(one, AttemptStarted))
    ended = {one.trial: one for one in played.records if isinstance(one, TrialEnded)}
    assert max(attempts.values()) > 1
    for trial, count in attempts.items():
        assert ended[trial].attempt == count
        if ended[trial].reason is EndReason.COMPLETED:
            assert played.engine.trial(trial).curve.marks() == tuple(range(1, 51))


def test_a_trial_without_any_number_can_never_be_the_best():
    reports = [Report(seconds=1.0, position=TOTAL * step / 50, value=math.nan) for step in range(1, 51)]
    fine = [Report(seconds=1.0, position=TOTAL * step / 50, value=5.0) for step in range(1, 51)]
    curves = RecordedCurves(lambda trial: fine if trial.trial == 7 else reports)
    for direction in ("Minimize", "Maximize"):
        objective = {"metric": "value", "direction": direction, "target": -10.0 if direction == "Minimize" else 10.0}
        view = simulate(make_job(objective=objective, stopping=[], control=[]), curves, seed=1).view
        assert view.finished == "TrialsCompleted"
        assert view.best.number == 7
        assert view.ranking == (7,)


def test_suspending_frees_everything_and_goes_on_from_the_checkpoints():
    curves = SyntheticCurves(total=TOTAL)
    script = [(1000.0, JobSuspended), (50_000.0, JobResumed)]
    played = simulate(make_job(stopping=[]), curves, seed=1, script=script)
    quiet = [record for record in played.records if 1000.0 < record.time < 50_000.0]
    assert quiet == []
    assert played.view.finished == "TrialsCompleted"
    assert max(trial.attempt for trial in played.view.trials) == 2
    undisturbed = simulate(make_job(stopping=[]), curves, seed=1)
    assert [one.result for one in played.view.trials] == [one.result for one in undisturbed.view.trials]


def test_a_suspended_job_waits():
    played = simulate(make_job(), SyntheticCurves(total=TOTAL), seed=1, script=[(1000.0, JobSuspended)])
    assert played.view.finished is None
    assert played.view.suspended
    assert played.view.states["Paused"] == 4


def test_cancelling_keeps_what_was_found():
    played = simulate(make_job(), SyntheticCurves(total=TOTAL), seed=1, script=[(5000.0, JobCancelled)])
    assert played.view.finished == "Cancelled"
    assert played.view.reasons["Cancelled"] == 4
    assert played.view.best is not None


def test_the_target_ends_the_job_for_everybody():
    job = make_job(objective={"metric": "eval_loss", "target": 0.4}, audit=0.0)
    view = simulate(job, SyntheticCurves(total=TOTAL), seed=1).view
    assert view.finished == "TargetReached"
    assert view.reasons["TargetReached"] == 1
    assert view.best.reason is EndReason.TARGET_REACHED
    assert view.best.result <= 0.4
    assert view.reasons["Cancelled"] == 3


def test_a_finished_job_goes_on_when_its_budget_is_raised():
    curves = SyntheticCurves(total=TOTAL)
    search = {"algorithm": "Random", "seed": 7}
    small = simulate(make_job(search=search, budget={"trials": 6, "parallel": 2}), curves, seed=1)
    assert small.view.finished == "TrialsCompleted"
    raised = make_job(search=search, budget={"trials": 9, "parallel": 2})
    large = simulate(raised, curves, seed=1, records=small.records, script=[])
    assert large.view.finished == "TrialsCompleted"
    whole = simulate(raised, curves, seed=1)
    assert proposals(large) == proposals(whole)


def test_hours_of_tuning_end_by_the_clock_and_go_on_with_more_of_it():
    curves = SyntheticCurves(total=TOTAL)
    small = simulate(make_job(budget={"trials": 20, "parallel": 2, "duration": "2h"}), curves, seed=1)
    assert small.view.finished == "BudgetExhausted"
    assert small.view.updated == pytest.approx(7200.0)
    assert small.view.reasons["BudgetExhausted"] == 2
    more = make_job(budget={"trials": 20, "parallel": 2, "duration": "3h"})
    large = simulate(more, curves, seed=1, records=small.records)
    assert large.view.finished == "BudgetExhausted"
    assert large.view.updated == pytest.approx(10_800.0)


def test_gpu_hours_are_counted_over_all_trials():
    job = make_job(budget={"trials": 20, "parallel": 2, "gpuHours": 3.0})
    view = simulate(job, SyntheticCurves(total=TOTAL), seed=1, gpus=2).view
    assert view.finished == "BudgetExhausted"
    assert 3.0 <= view.gpu_hours < 3.2


def test_a_log_with_running_trials_is_not_taken_up():
    played = simulate(make_job(), SyntheticCurves(total=TOTAL), seed=1)
    half = played.records[: len(played.records) // 2]
    with pytest.raises(BackendError, match="are running"):
        simulate(make_job(), SyntheticCurves(total=TOTAL), seed=1, records=half)
