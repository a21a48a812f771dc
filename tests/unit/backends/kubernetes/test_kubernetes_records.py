from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tuning_operator.api.metadata import ObjectMeta
from tuning_operator.api.record import MAX_JOB_RECORDS
from tuning_operator.api.trial import Desired, Trial
from tuning_operator.api.tuning_job import TuningJob, TuningJobSpec
from tuning_operator.backends.kubernetes.job_log import JobLog, belongs_to_job
from tuning_operator.backends.kubernetes.mark_lines import read_mark, write_mark
from tuning_operator.backends.kubernetes.trial_log import TrialLog, is_told_by_lifecycle
from tuning_operator.backends.simulation.simulation import Played, simulate
from tuning_operator.backends.simulation.synthetic import SyntheticCurves
from tuning_operator.engine.codec import encode
from tuning_operator.engine.decisions import Decision
from tuning_operator.engine.engine import Engine
from tuning_operator.engine.events import (
    AlarmRaised,
    AttemptStarted,
    EndReason,
    Event,
    JobResumed,
    JobStarted,
    JobSuspended,
    MarkReached,
    TrialEnded,
    TrialProposed,
)
from tuning_operator.engine.restore import in_order
from tuning_operator.errors import LogError

RULES: dict[str, Any] = {
    "control": [{"rule": "BackOff"}, {"rule": "CoolDown"}],
    "stopping": [{"rule": "Percentile", "percentile": 50, "minimumTrials": 1}, {"rule": "Divergence"}],
}


def job(**changes: Any) -> TuningJob:
    manifest: dict[str, Any] = {
        "objective": {"metric": "eval_loss"},
        "axis": {"total": 1000},
        "parameters": [
            {"name": "lr", "type": "Float", "min": 1e-5, "max": 1.0, "scale": "Log"},
            {"name": "width", "type": "Int", "min": 1, "max": 8},
            {"name": "flag", "type": "Categorical", "choices": [True, "on", 1.0, 2]},
        ],
        "search": {"algorithm": "Random", "seed": 7, "initial": [{"lr": 1.0, "flag": 1.0}]},
        "audit": 0.2,
        "budget": {"trials": 6, "parallel": 3, "failedTrials": 3},
    }
    spec = TuningJobSpec.model_validate(manifest | RULES | changes)
    return TuningJob(metadata=ObjectMeta(name="job"), spec=spec)


def through_an_api_server(body: Any) -> Any:
    """What JSON makes of an object in Go: 1.0 comes back as 1."""

    def go(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: go(one) for name, one in value.items()}
        if isinstance(value, list):
            return [go(one) for one in value]
        return int(value) if isinstance(value, float) and value.is_integer() else value

    return json.loads(json.dumps(go(body), allow_nan=False))


def into_objects(tuning_job: TuningJob, records: list[Event]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    logs: dict[int, TrialLog] = {}
    whole = JobLog()
    for record in records:
        if belongs_to_job(record):
            whole.add(record)
        elif isinstance(record, TrialProposed):
            logs[record.trial] = TrialLog(record)
        else:
            logs[record.trial].add(record)  # type: ignore[attr-defined]
    engine = Engine.restore(name="job", spec=tuning_job.spec, records=records)
    trials = []
    for number, log in logs.items():
        body = {
            "metadata": {"name": f"job-{number:04d}"},
            "spec": log.spec(job="job", wanted=engine.wanted(number)),
            "status": log.status(),
        }
        trials.append(through_an_api_server(body))
    return through_an_api_server({"metadata": {"name": "job"}, "status": {"records": whole.status()}}), trials


def out_of_objects(tuning_job: TuningJob, body: dict[str, Any], trials: list[dict[str, Any]]) -> list[Event]:
    found = JobLog.read(body, tuning_job.spec).records()
    for trial in reversed(trials):
        found += TrialLog.read(trial, tuning_job.spec).records()
    return in_order(found)


def superseded(records: list[Event]) -> set[int]:
    """Marks that the trial has reached again, or gone back before."""
    gone = set()
    marks: dict[int, list[MarkReached]] = {}
    for record in records:
        if isinstance(record, MarkReached):
            known = marks.setdefault(record.trial, [])
            gone |= {one.sequence for one in known if one.at.mark >= record.at.mark}
            known[:] = [one for one in known if one.at.mark < record.at.mark] + [record]
    return gone


@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    seed=st.integers(0, 1000),
    crashes=st.sampled_from([0.0, 0.3]),
    maximize=st.booleans(),
    budget=st.sampled_from([{}, {"duration": "40m"}, {"parallel": 1, "failedTrials": 0}]),
    suspended=st.booleans(),
    cut=st.floats(0.05, 1.0),
)
def test_any_log_comes_back_from_the_objects(
    seed: int, crashes: float, maximize: bool, budget: dict[str, Any], suspended: bool, cut: float
) -> None:
    direction = "Maximize" if maximize else "Minimize"
    tuning_job = job(
        objective={"metric": "score", "direction": direction},
        budget={"trials": 6, "parallel": 3, "failedTrials": 3} | budget,
        evaluation={"top": 1, "seeds": [1, 2]},
    )
    curves = SyntheticCurves(total=1000.0, seed=seed, crashes=crashes, maximize=maximize)
    script = [(600.0, JobSuspended), (1200.0, JobResumed)] if suspended else []
    played: Played = simulate(tuning_job, curves, seed=seed, script=script)
    records = played.records[: max(int(len(played.records) * cut), 1)]

    body, trials = into_objects(tuning_job, records)
    for trial in trials:
        Trial.model_validate(
            {"metadata": {"name": trial["metadata"]["name"]}, **{k: trial[k] for k in ("spec", "status")}}
        )
    found = out_of_objects(tuning_job, body, trials)

    gone = superseded(records)
    written = [encode(record) for record in in_order(records) if record.sequence not in gone]
    assert [encode(record) for record in found] == written
    time = 1e6
    original = Engine.restore(name="job", spec=tuning_job.spec, records=records)
    again = Engine.restore(name="job", spec=tuning_job.spec, records=found)
    assert repr(again.view(time=time)) == repr(original.view(time=time))
    assert list(map(encode, again.pending_decisions())) == list(map(encode, original.pending_decisions()))
    assert list(map(encode, again.propose(time=time))) == list(map(encode, original.propose(time=time)))
    assert [again.wanted(number) for number in again.active()] == [original.wanted(n) for n in original.active()]


def test_the_spec_says_what_follows_from_the_decisions() -> None:
    played = simulate(job(), SyntheticCurves(total=1000.0, seed=3), seed=3)
    _, trials = into_objects(job(), played.records)
    stopped = [decision for decision in played.view.decisions if decision.action == "Stop" and decision.enforced]
    changed = [decision for decision in played.view.decisions if decision.revision]
    assert stopped
    assert changed
    for decision in stopped:
        spec = trials[decision.trial or 0]["spec"]
        assert spec["desired"] == Desired.STOPPED
        assert spec["stopReason"] == decision.reason
        assert spec["decisions"][-1]["sentence"] == decision.sentence
    last = {decision.trial: decision for decision in changed}
    for number, decision in last.items():
        control = trials[number or 0]["spec"]["control"]
        assert (control["revision"], control["learningRateScale"]) == (decision.revision, decision.scale)


def test_marks_that_were_written_together_with_the_one_a_trial_is_stopped_for_are_forgotten() -> None:
    """Else what the object says would depend on how many marks a look happened to bring."""
    played = simulate(job(), SyntheticCurves(total=1000.0, seed=3), seed=3)
    stop = next(one for one in played.view.decisions if one.action == "Stop" and one.enforced)
    _, trials = into_objects(job(), [one for one in played.records if one.sequence <= stop.sequence])
    trial = trials[stop.trial or 0]
    newest = trial["status"]["marks"][-1]
    last = read_mark(newest, trial=0)
    beyond = replace(last, sequence=stop.sequence + 1, at=replace(last.at, mark=last.at.mark + 1))
    trial["status"]["marks"].append(write_mark(beyond))
    again = TrialLog.read(trial, job().spec)
    assert again.status()["marks"][-1] == newest
    assert {record.sequence for record in again.records()} & {beyond.sequence} == set()


def test_a_first_start_that_is_not_yet_recorded_is_read_from_the_lifecycle_and_nothing_of_it_is_lost_later() -> None:
    log = TrialLog(TrialProposed(sequence=80, time=99.0, trial=1, parameters={"lr": 0.5}, seed=1))
    wanted = Engine.restore(name="job", spec=job().spec, records=log.records()).wanted(1)
    body = {"spec": log.spec(job="job", wanted=wanted), "status": {"attempt": 1, "startTime": "2026-01-01T00:00:05Z"}}
    again = TrialLog.read(through_an_api_server(body), job().spec)
    assert again.attempts == [AttemptStarted(sequence=81, time=1767225605.0, trial=1, attempt=1)]
    assert is_told_by_lifecycle(again.attempts[0])
    second = AttemptStarted(sequence=120, time=1767225700.0, trial=1, attempt=2)
    assert not is_told_by_lifecycle(second)
    again.add(second)
    body["status"] = {"attempt": 2, "startTime": "2026-01-01T00:00:05Z", **again.status()}
    assert TrialLog.read(through_an_api_server(body), job().spec).attempts == again.attempts
    body["status"] = {"attempt": 0}
    assert TrialLog.read(through_an_api_server(body), job().spec).attempts == []


def test_another_spec_is_not_taken_for_the_same_job() -> None:
    tuning_job = job()
    body, trials = into_objects(tuning_job, simulate(tuning_job, SyntheticCurves(total=1000.0), seed=1).records)
    other = job(axis={"total": 2000})
    with pytest.raises(LogError, match=r"spec\.axis has changed since this job started"):
        Engine.restore(name="job", spec=other.spec, records=out_of_objects(other, body, trials))


def test_a_broken_object_is_named() -> None:
    body = {"metadata": {"name": "job-0001"}, "spec": {"number": 1, "parameters": {}, "seed": 1, "decisions": [{}]}}
    with pytest.raises(LogError, match="job-0001"):
        TrialLog.read(body, job().spec)


def test_lists_stay_within_their_bounds_and_keep_what_counts() -> None:
    log = TrialLog(TrialProposed(sequence=40, time=0.0, trial=1, parameters={"lr": 0.5}, seed=1))
    for attempt in range(1, 60):
        log.add(AttemptStarted(sequence=attempt * 100, time=float(attempt), trial=1, attempt=attempt))
        log.add(
            AlarmRaised(
                sequence=attempt * 100 + 40,
                time=0.0,
                trial=1,
                attempt=attempt,
                rule="Divergence",
                alarm="NonFinite",
                fraction=0.1,
                numbers={},
            )
        )
    end = TrialEnded(
        sequence=9999,
        time=1.0,
        trial=1,
        attempt=59,
        reason=EndReason.FAILED,
        value=None,
        fraction=0.5,
        compute_seconds=1.0,
        message="x" * 10_000,
        checkpoint="y" * 5000,
    )
    log.add(end)
    engine = Engine.restore(name="job", spec=job().spec, records=log.records())
    body = {"spec": log.spec(job="job", wanted=engine.wanted(1)), "status": log.status()}
    Trial.model_validate({"metadata": {"name": "job-0001"}, **body})
    assert [one.attempt for one in log.attempts][:2] == [1, 45]
    assert engine.trial(1).attempt == 59
    assert engine.trial(1).started == 1.0
    assert log.alarms[-1].attempt == 59


def test_a_job_that_is_suspended_often_keeps_its_start_and_its_last_words() -> None:
    log = JobLog([JobStarted(sequence=40, time=0.0, fixed={})])
    for number in range(1, 200):
        log.add(JobSuspended(sequence=number * 100, time=1.0))
        log.add(JobResumed(sequence=number * 100 + 40, time=2.0))
    records = log.records()
    assert len(records) <= MAX_JOB_RECORDS
    assert isinstance(records[0], JobStarted)
    assert isinstance(records[1], JobSuspended)
    assert records[-1].sequence == 199 * 100 + 40


def test_numbers_that_are_not_finite_come_back() -> None:
    played = simulate(job(), SyntheticCurves(total=1000.0, seed=3, limit=0.1), seed=3)
    decisions = [record for record in played.records if isinstance(record, Decision)]
    changed = replace(decisions[0], inputs={"a": float("inf"), "b": float("nan"), "c": -0.0, "d": 1e-300})
    log = TrialLog(next(one for one in played.records if isinstance(one, TrialProposed) and one.trial == changed.trial))
    log.add(changed)
    body = {"metadata": {"name": "t"}, "spec": log.spec(job="job", wanted=played.engine.wanted(changed.trial or 0))}
    found = TrialLog.read(through_an_api_server(body), job().spec).decisions[0]
    assert repr(found) == repr(changed)
