"""What is done about a Trial, as tables: what is wanted and seen, and the verdict."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.backends.kubernetes.objects import spec, trial

from trial_protocol.result import Outcome, TrialResult
from tuning_operator.api.trial import StopReason, TrialStatus
from tuning_operator.backends.kubernetes import labels
from tuning_operator.backends.kubernetes.lifecycle import judge
from tuning_operator.backends.kubernetes.sightings import Sight
from tuning_operator.backends.kubernetes.trial_state import Seen, State, Verdict
from tuning_operator.backends.kubernetes.trial_status import LONGEST_MESSAGE, render_status, with_log
from tuning_operator.engine.events import EndReason

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def job(*conditions: str, going: bool = False, nodes: int = 1, since: float = 60, **fields: Any) -> dict[str, Any]:
    metadata = {"name": "digits-0003", "namespace": "team", "uid": "j-1"}
    if going:
        metadata["deletionTimestamp"] = ago(1)
    made = [{"type": one, "status": "True", "reason": "R", "lastTransitionTime": ago(since)} for one in conditions]
    body = {"parallelism": nodes, "backoffLimit": 0, **fields}
    return {"metadata": metadata, "spec": body, "status": {"conditions": made}}


def sight(
    name: str = "p",
    phase: str = "Running",
    *,
    code: int | None = None,
    gone: bool = False,
    age: float = 100,
    going: float | None = None,
    owner: str = "j-1",
    rank: int = 0,
    gpus: int = 1,
    ended: float = 10,
    waiting: str = "",
    conditions: Iterable[Any] = (),
    **terminated: Any,
) -> Sight:
    state: dict[str, Any] = {"waiting": {"reason": waiting}} if waiting else {}
    if code is not None:
        state = {"terminated": {"exitCode": code, "finishedAt": ago(ended), **terminated}}
    elif phase == "Running":
        state = {"running": {}}
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": "team",
        "creationTimestamp": ago(age),
        "ownerReferences": [{"uid": owner}],
        "annotations": {labels.ANNOTATION_INDEX: str(rank)},
    }
    if going is not None:
        metadata["deletionTimestamp"] = ago(going)
    status: dict[str, Any] = {"phase": phase, "conditions": list(conditions)}
    if state:
        status["containerStatuses"] = [{"name": "train", "state": state}]
    if phase != "Pending":
        status["startTime"] = ago(age)
    limits = {"nvidia.com/gpu": str(gpus)}
    body = {"nodeName": "n1", "containers": [{"name": "train", "resources": {"limits": limits}}]}
    return Sight({"metadata": metadata, "spec": body, "status": status}, NOW if gone else None)


def result(outcome: Outcome, **fields: Any) -> str:
    return TrialResult(outcome=outcome, **fields).to_json()


def seen(
    *pods: Sight,
    job: Any = None,
    status: Any = None,
    known: bool = True,
    now: datetime = NOW,
    has_service: bool = True,
    **wanted: Any,
) -> Seen:
    body = trial(**wanted)
    body["metadata"]["generation"] = 1
    if status:
        body["status"] = status
    wanted_by = spec(retries=0) if known else None
    return Seen(trial=body, spec=wanted_by, job=job, pods=pods, now=now, has_service=has_service)


def recorded(state: str, **fields: Any) -> dict[str, Any]:
    return {"conditions": [{"type": "Running", "status": "False", "reason": state}], **fields}


def over(seconds: float) -> dict[str, Any]:
    finished = {"type": "Finished", "status": "True", "reason": "Failed", "lastTransitionTime": ago(seconds)}
    return {"reason": "Failed", "conditions": [finished]}


def readiness(*, containers: str = "True", **reason: str) -> list[dict[str, Any]]:
    return [{"type": "Ready", "status": "False", **reason}, {"type": "ContainersReady", "status": containers}]


UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (seen(), {"state": State.PENDING, "create": True}),
        (seen(known=False), {"state": State.PENDING, "create": False}),
        (seen(job=job()), {"state": State.PENDING}),
        (seen(sight(phase="Pending"), job=job()), {"state": State.STARTING}),
        (seen(sight(), job=job()), {"state": State.RUNNING}),
        (seen(sight(conditions=readiness()), job=job()), {"state": State.NODE_LOST}),
        (seen(sight(conditions=readiness(containers="False")), job=job()), {"state": State.RUNNING}),
        (seen(sight(conditions=readiness(reason="ReadinessGatesNotReady")), job=job()), {"state": State.RUNNING}),
        (seen(sight(), job=job(nodes=2)), {"state": State.STARTING}),
        (seen(sight(), sight("q", rank=1), job=job(nodes=2)), {"state": State.RUNNING}),
        (seen(sight(owner="j-0"), job=job()), {"state": State.PENDING}),
        (seen(job=job(suspend=True)), {"state": State.QUEUED}),
        (seen(sight(phase="Pending", conditions=[UNSCHEDULABLE]), job=job()), {"state": State.UNSCHEDULABLE}),
        (seen(sight(phase="Pending", conditions=[UNSCHEDULABLE], age=1e6), job=job()), {"state": State.UNSCHEDULABLE}),
        (seen(sight(code=1, phase="Failed"), job=job(backoffLimit=1)), {"state": State.RESTARTING}),
        # It ended, and the Job controller has not said so yet.
        (seen(sight(code=1, phase="Failed"), job=job()), {"state": None, "end": None}),
        (seen(sight(code=0, phase="Succeeded"), job=job()), {"state": None, "end": None}),
        (
            seen(sight(code=143, phase="Failed"), sight("b", code=1, phase="Failed", age=9), job=job(backoffLimit=1)),
            {"state": State.RESTARTING},
        ),
        (seen(sight(code=1, phase="Failed"), sight("q", age=5), job=job()), {"state": State.RUNNING}),
        (seen(sight(gone=True), job=job()), {"state": State.RESTARTING}),
        (seen(sight(going=10), job=job()), {"state": State.RESTARTING, "again": 20}),
        (seen(sight(going=31), job=job()), {"state": State.NODE_LOST}),
        # Gone Jobs, and Jobs on their way.
        (seen(job=job(going=True)), {"state": State.PENDING, "create": False}),
        (seen(sight(owner="j-0"), status=recorded("Paused")), {"state": State.PENDING, "create": False}),
        (seen(status=recorded("Paused")), {"state": State.PENDING, "create": True}),
        (seen(status=recorded("Running")), {"state": State.RECREATING, "create": True}),
        (seen(sight(going=1), status=recorded("Running")), {"state": State.RECREATING, "create": False}),
        # Pausing.
        (seen(sight(), job=job(), desired="Paused"), {"state": State.PAUSING, "delete": True}),
        (seen(sight(), job=job(going=True), desired="Paused"), {"state": State.PAUSING, "delete": False}),
        (seen(sight(going=1), job=None, desired="Paused"), {"state": State.PAUSING}),
        (seen(sight(gone=True), desired="Paused"), {"state": State.PAUSED, "delete": False}),
        (seen(sight(going=60), job=job(going=True), desired="Paused"), {"state": State.NODE_LOST}),
        # Stopping; its end is in another table.
        (seen(sight(), job=job(), desired="Stopped"), {"state": State.STOPPING, "delete": True, "end": None}),
        (seen(sight(going=1), job=job(going=True), desired="Stopped"), {"state": State.STOPPING, "end": None}),
        # Over: nothing but freeing what is still held.
        (seen(status={"reason": "Failed"}, job=job()), {"state": None, "delete": True}),
        (seen(status=over(2), job=job()), {"state": None, "delete": False, "again": 3}),
        (seen(status=over(5), job=job()), {"state": None, "delete": True}),
        (seen(status=over(2), job=job("Failed")), {"state": None, "delete": False, "again": None}),
        (seen(status={"reason": "Failed"}, job=job("Failed")), {"state": None, "delete": False}),
        (seen(status={"reason": "Failed"}, job=job(going=True)), {"state": None, "delete": False}),
        (seen(status={"reason": "Completed"}), {"state": None, "create": False}),
        # The watch of the pods is behind that of the Jobs.
        (seen(sight(), job=job("Complete", since=2)), {"state": None, "end": None, "again": 8}),
    ],
)
def test_what_is_done(given: Seen, expected: dict[str, Any]) -> None:
    verdict = judge(given)
    assert {name: getattr(verdict, name) for name in expected} == expected


OOM = sight("a", phase="Failed", code=137, reason="OOMKilled", rank=1, ended=12)
FOLLOWS = sight("b", phase="Failed", code=1, ended=11)


@pytest.mark.parametrize(
    ("given", "reason", "words"),
    [
        (seen(sight(phase="Succeeded", code=0), job=job("Complete")), EndReason.COMPLETED, ""),
        (seen(job=job("Complete")), EndReason.COMPLETED, ""),
        (seen(sight(phase="Failed", code=1), job=job("Failed")), EndReason.FAILED, "exit code 1"),
        (seen(sight(phase="Failed", code=1, gone=True), job=job("Failed")), EndReason.FAILED, "exit code 1"),
        (seen(job=job("Failed")), EndReason.FAILED, "R"),
        (seen(OOM, FOLLOWS, job=job("Failed", nodes=2)), EndReason.OUT_OF_MEMORY, "out of memory"),
        (
            seen(
                sight("a", phase="Failed", code=137, reason="OOMKilled", ended=500, age=900),
                sight("b", phase="Failed", code=1),
                job=job("Failed"),
            ),
            EndReason.FAILED,
            "exit code 1",
        ),
        (seen(sight(phase="Failed", code=64), job=job("Failed")), EndReason.CONFIGURATION_ERROR, "not tried again"),
        (
            seen(sight(phase="Pending", waiting="InvalidImageName"), job=job()),
            EndReason.CONFIGURATION_ERROR,
            "name is not valid",
        ),
        (
            seen(sight(phase="Pending", waiting="ImagePullBackOff", age=301), job=job()),
            EndReason.CONFIGURATION_ERROR,
            "imagePullSecrets",
        ),
        (seen(desired="Stopped"), EndReason.CANCELLED, "as decided"),
        (seen(sight(gone=True), desired="Stopped", stopReason="TargetReached"), EndReason.TARGET_REACHED, ""),
        (
            seen(sight(going=60), job=job(going=True), desired="Stopped", stopReason="StoppedEarly"),
            EndReason.STOPPED_EARLY,
            "kubectl delete pod --force",
        ),
        # It ended by itself before anybody could stop it.
        (
            seen(sight(phase="Succeeded", code=0), job=job("Complete"), desired="Stopped"),
            EndReason.COMPLETED,
            "",
        ),
        (
            seen(
                sight(phase="Succeeded", code=0, gone=True, message=result(Outcome.COMPLETED)),
                desired="Stopped",
                stopReason="StoppedEarly",
            ),
            EndReason.COMPLETED,
            "",
        ),
        (
            seen(
                sight(phase="Succeeded", code=0, gone=True, message=result(Outcome.INTERRUPTED)),
                desired="Stopped",
                stopReason="StoppedEarly",
            ),
            EndReason.STOPPED_EARLY,
            "",
        ),
        # An exit with 0 of a pod that was asked to end says nothing.
        (
            seen(sight(phase="Succeeded", code=0, gone=True), desired="Stopped", stopReason="StoppedEarly"),
            EndReason.STOPPED_EARLY,
            "",
        ),
    ],
)
def test_how_it_is_over(given: Seen, reason: EndReason, words: str) -> None:
    verdict = judge(given)
    assert verdict.end is not None
    assert verdict.end.reason is reason
    assert words in verdict.end.message
    status = render_status(given, verdict)
    assert status is not None
    assert status["reason"] == reason.value
    TrialStatus.model_validate(status)


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        (sight(phase="Failed", code=1, message=result(Outcome.NON_FINITE)), EndReason.NON_FINITE),
        (sight(phase="Failed", code=1, message=result(Outcome.OUT_OF_MEMORY)), EndReason.OUT_OF_MEMORY),
        (sight(phase="Failed", code=3, message=result(Outcome.COMPLETED)), EndReason.COMPLETED),
    ],
)
def test_what_would_end_the_same_way_is_not_tried_again(pod: Sight, reason: EndReason) -> None:
    verdict = judge(seen(pod, sight("q", phase="Pending", age=1), job=job(backoffLimit=3)))
    assert verdict.end is not None
    assert verdict.end.reason is reason
    assert verdict.log_of == (None if reason is EndReason.COMPLETED else "p")


@pytest.mark.parametrize(
    ("given", "serve"),
    [
        (seen(job=job(nodes=2)), False),
        (seen(job=job(nodes=2), has_service=False), True),
        (seen(job=job(), has_service=False), False),
        (seen(job=job(nodes=2, going=True), has_service=False), False),
        (seen(has_service=False), False),
        (seen(job=job(nodes=2), has_service=False, desired="Paused"), False),
    ],
)
def test_nodes_that_could_not_find_each_other_get_their_service_again(given: Seen, serve: bool) -> None:
    assert judge(given).serve is serve


def test_a_pod_on_its_way_out_says_who_disrupts_it() -> None:
    evicted = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "m"}
    verdict = judge(seen(sight(going=-5, conditions=[evicted]), job=job()))
    assert verdict.state is State.RESTARTING
    assert verdict.message.startswith("Preempted: the pod was disrupted (EvictionByEvictionAPI: m); another one")


def test_a_pod_that_never_starts_is_not_left_with_its_gpu() -> None:
    assert judge(seen(sight(phase="Pending", waiting="ErrImageNeverPull"), job=job())).delete


def test_before_an_image_counts_as_missing_there_is_a_deadline() -> None:
    verdict = judge(seen(sight(phase="Pending", waiting="ErrImagePull", age=290), job=job()))
    assert (verdict.state, verdict.end, verdict.again) == (State.STARTING, None, 10)


def test_an_interrupted_training_that_counts_as_complete_goes_on() -> None:
    interrupted = sight(phase="Succeeded", code=0, message=result(Outcome.INTERRUPTED))
    verdict = judge(seen(interrupted, job=job("Complete")))
    assert (verdict.state, verdict.end, verdict.delete) == (State.RESTARTING, None, True)


def test_an_interruption_before_the_end_is_history() -> None:
    interrupted = sight("a", phase="Succeeded", code=0, ended=90, message=result(Outcome.INTERRUPTED))
    completed = sight("b", phase="Succeeded", code=0, age=50, message=result(Outcome.COMPLETED))
    verdict = judge(seen(interrupted, completed, job=job("Complete")))
    assert verdict.end is not None
    assert (verdict.end.reason, verdict.delete) == (EndReason.COMPLETED, False)


def test_a_trial_that_is_going_is_left_to_the_garbage_collector() -> None:
    given = seen(sight(), job=job(), desired="Stopped")
    given.trial["metadata"]["deletionTimestamp"] = ago(0)
    assert judge(given) == Verdict()


def test_retries_are_told_of() -> None:
    over = job("Failed", backoffLimit=3)
    over["status"]["conditions"][0]["reason"] = "BackoffLimitExceeded"
    verdict = judge(seen(sight(phase="Failed", code=1), job=over))
    assert verdict.end is not None
    assert verdict.end.message.endswith("; given up after 3 retries")
    assert verdict.log_of == "p"


def test_every_stop_reason_is_a_reason_of_an_end() -> None:
    for reason in StopReason:
        assert judge(seen(desired="Stopped", stopReason=reason.value)).end is not None


def carry_on(before: Any, *pods: Sight, at: datetime = NOW, **fields: Any) -> dict[str, Any]:
    given = seen(*pods, job=job(backoffLimit=3), status=before, now=at, **fields)
    written = render_status(given, judge(given))
    return {**(before or {}), **(written or {})}


def test_attempts_and_seconds_are_carried_on_when_pods_are_forgotten() -> None:
    status = carry_on(None, sight("a", age=50, gpus=2))
    assert (status["attempt"], status["pod"], status["computeSeconds"]) == (1, "a", "50.0")
    assert status["gpuSeconds"] == "100.0"
    later = NOW + timedelta(seconds=30)
    first = sight("a", phase="Failed", code=1, age=50, ended=-20, gpus=2)
    status = carry_on(status, first, at=later)
    assert (status["attempt"], status["gpuSeconds"]) == (1, "140.0")
    # A new process has not seen the first pod, which is gone by now.
    status = carry_on(status, sight("b", age=-35, gpus=2), at=NOW + timedelta(seconds=45))
    assert (status["attempt"], status["pod"], status["gpuSeconds"]) == (2, "b", "160.0")
    assert status["startTime"] == ago(50)


def test_of_two_pods_made_within_one_second_the_one_that_is_there_is_the_newer() -> None:
    status = carry_on(None, sight("z"))
    status = carry_on(status, sight("z", gone=True), sight("a"))
    assert (status["attempt"], status["pod"]) == (2, "a")


def test_a_pod_that_merely_goes_on_is_not_worth_a_write() -> None:
    status = carry_on(None, sight())
    given = seen(sight(), job=job(), status=status, now=NOW + timedelta(hours=1))
    assert render_status(given, judge(given)) is None


def test_a_condition_keeps_the_time_of_its_last_change() -> None:
    waiting = carry_on(None, sight(phase="Pending"))
    later = NOW + timedelta(seconds=5)
    times = {one["type"]: one["lastTransitionTime"] for one in carry_on(waiting, sight(), at=later)["conditions"]}
    assert times == {"Finished": ago(0), "Running": ago(-5)}


def test_a_log_stands_behind_the_cause_and_loses_its_beginning() -> None:
    text = with_log("the cause", "x" * 5000 + "\nthe end\n")
    assert text.startswith("the cause\n---")
    assert text.endswith("the end")
    assert len(text) == LONGEST_MESSAGE
    assert with_log("the cause", " \n") == "the cause"
    assert len(with_log("c" * 5000, "log")) == LONGEST_MESSAGE
