from __future__ import annotations

from typing import Any

import pytest

from tuning_operator.api.trial import Desired
from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.backends.kubernetes.job_log import JobLog
from tuning_operator.backends.kubernetes.job_view import view_objects
from tuning_operator.backends.kubernetes.trial_log import TrialLog
from tuning_operator.curves.marks import MarkValue
from tuning_operator.engine.events import AttemptStarted, JobStarted, MarkReached, TrialProposed
from tuning_operator.engine.identity import fixed_parts
from tuning_operator.engine.view import TrialState
from tuning_operator.engine.wanted import Wanted
from tuning_operator.errors import LogError

SPEC: dict[str, Any] = {
    "objective": {"metric": "accuracy", "direction": "Maximize"},
    "axis": {"total": 100},
    "parameters": [{"name": "lr", "type": "Float", "min": 0.0, "max": 1.0}],
}
ACCEPTED = {"type": "Accepted", "status": "True", "reason": "Valid", "message": ""}


def tuning_job(*, conditions: Any = (ACCEPTED,), **status: Any) -> dict[str, Any]:
    spec = TuningJobSpec.model_validate(SPEC)
    log = JobLog([JobStarted(sequence=40, time=100.0, fixed=fixed_parts(spec))])
    return {
        "metadata": {"name": "digits", "uid": "one", "generation": 2},
        "spec": dict(SPEC),
        "status": {"records": log.status(), "conditions": list(conditions), "observedGeneration": 2, **status},
    }


def trial(number: int = 0, *, marks: int = 3, uid: str = "one", **status: Any) -> dict[str, Any]:
    log = TrialLog(TrialProposed(sequence=80 + number, time=101.0, trial=number, parameters={"lr": 0.5}, seed=1))
    if marks:
        log.add(AttemptStarted(sequence=200, time=102.0, trial=number, attempt=1))
    for mark in range(1, marks + 1):
        at = MarkValue(mark=mark, value=-0.1 * mark, best=-0.1 * mark, mean=-0.1, learning_rate=0.5)
        log.add(MarkReached(sequence=200 + 40 * mark, time=102.0 + mark, trial=number, attempt=1, at=at))
    return {
        "metadata": {"name": f"digits-{number:04d}", "ownerReferences": [{"uid": uid}]},
        "spec": log.spec(job="digits", wanted=Wanted(desired=Desired.RUNNING)),
        "status": {**log.status(), **status},
    }


def running(reason: str, message: str = "") -> list[dict[str, str]]:
    return [{"type": "Running", "status": "False", "reason": reason, "message": message}]


def test_what_a_trial_shows_lies_over_what_is_recorded() -> None:
    status = {"value": "0.45", "best": "0.5", "fraction": "0.0723", "learningRate": "0.25", "revision": 2}
    view = view_objects(tuning_job(), [trial(**status, gpuSeconds="7200.0", checkpoint="s3://c")], time=150.0)
    (shown,) = view.trials
    assert (shown.value, shown.best, shown.fraction, shown.learning_rate) == (0.45, 0.5, 0.0723, 0.25)
    assert (shown.applied_revision, shown.gpu_seconds, shown.checkpoint) == (2, 7200.0, "s3://c")
    assert [point.value for point in shown.points] == pytest.approx([0.1, 0.2, 0.3])
    assert (view.started, view.updated) == (100.0, 150.0)
    assert (view.notice, shown.message) == ("", "")


def test_gpu_hours_are_those_that_the_operator_counted() -> None:
    assert view_objects(tuning_job(gpuHoursUsed="2.5"), [], time=150.0).gpu_hours == 2.5


def test_a_trial_that_waits_says_for_what() -> None:
    waits = trial(0, marks=0, conditions=running("Unschedulable", "0/3 nodes are available"))
    view = view_objects(tuning_job(), [waits, trial(1, marks=0, conditions=running("Pending"))], time=150.0)
    assert [one.state for one in view.trials] == [TrialState.PENDING, TrialState.PENDING]
    assert [one.message for one in view.trials] == ["0/3 nodes are available", ""]
    restarts = trial(conditions=running("Restarting"))
    assert view_objects(tuning_job(), [restarts], time=150.0).trials[0].message == "Restarting"


def test_trials_of_an_earlier_job_of_the_same_name_are_left_out() -> None:
    view = view_objects(tuning_job(), [trial(0), trial(1, uid="another")], time=150.0)
    assert [one.number for one in view.trials] == [0]


def test_what_keeps_a_job_from_going_on_is_a_notice() -> None:
    refused = {"type": "Accepted", "status": "False", "reason": "TrialRefused", "message": "no image"}
    assert view_objects(tuning_job(conditions=[refused]), [], time=1.0).notice == "the operator refused it: no image"
    assert "no operator has taken it up yet" in view_objects({**tuning_job(), "status": {}}, [], time=1.0).notice
    assert "newest change" in view_objects(tuning_job(observedGeneration=1), [], time=1.0).notice
    leaving = tuning_job()
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert view_objects(leaving, [], time=1.0).notice == "it is being deleted"
    ending = tuning_job()
    ending["spec"]["cancel"] = True
    assert "it is being stopped" in view_objects(ending, [trial()], time=1.0).notice


def test_objects_that_cannot_be_read_are_told() -> None:
    newer = tuning_job()
    newer["spec"]["brandNew"] = 1
    with pytest.raises(LogError, match="install the version of the operator"):
        view_objects(newer, [], time=1.0)
    refused = {"type": "Accepted", "status": "False", "reason": "Invalid", "message": "spec.brandNew: no such field"}
    newer["status"]["conditions"] = [refused]
    with pytest.raises(LogError, match=r"the operator refused digits: spec\.brandNew: no such field"):
        view_objects(newer, [], time=1.0)


def test_a_trial_whose_end_is_about_to_be_recorded_has_no_remark() -> None:
    over = trial(conditions=running("Completed", "it is over"), reason="Completed")
    assert view_objects(tuning_job(), [over], time=150.0).trials[0].message == ""
