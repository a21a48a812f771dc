"""The trial controller against the real Job controller and garbage collector; the tests play the kubelet."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from tests.controlplane.trials import STUDY, World, world
from tests.testbed.controlplane import ControlPlane

from trial_protocol.result import Outcome, TrialResult
from tuning_operator.api.trial import TrialStatus
from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.backends.kubernetes import labels
from tuning_operator.backends.kubernetes.dry_run import dry_run_job
from tuning_operator.backends.kubernetes.pods import scraped_pod
from tuning_operator.backends.kubernetes.resources import JOBS, PODS, SERVICES, TRIALS, TUNING_JOBS, name_of


@pytest.fixture
async def here(crds: ControlPlane, namespace: str) -> AsyncIterator[World]:
    async with world(crds, namespace) as made:
        yield made


def said(outcome: Outcome = Outcome.COMPLETED, **fields: Any) -> str:
    return TrialResult(outcome=outcome, checkpoint="s3://b/c", **fields).to_json()


async def running(here: World, number: int = 0, **spec: Any) -> tuple[str, dict[str, Any]]:
    name = await here.want(number, **spec)
    pod = await here.pod(name)
    await here.start(pod)
    await here.becomes(name, "Running")
    return name, pod


async def test_a_training_runs_to_its_end(here: World) -> None:
    await here.study()
    name = await here.want()
    pod = await here.pod(name)
    await here.start(pod)
    status = await here.becomes(name, "Running")
    assert status["attempt"] == 1
    assert status["pod"] == name_of(pod)
    assert here.condition(name, "Running")["status"] == "True"
    found = scraped_pod(here.controller.used_by(here.namespace, name))
    assert found is not None
    assert found["status"]["podIP"] == "10.9.9.9"
    here.clock.ahead = timedelta(seconds=90)
    await here.end(pod, 0, message=said(step=100))
    status = await here.becomes(name, "Completed")
    assert status["reason"] == "Completed"
    assert status["checkpoint"] == "s3://b/c"
    assert 180 <= float(status["gpuSeconds"]) <= 200
    assert here.condition(name, "Finished")["status"] == "True"
    assert here.job(name) is not None
    TrialStatus.model_validate(status)


async def test_paused_frees_the_pod_and_resumed_is_another_attempt(here: World) -> None:
    await here.study()
    name, pod = await running(here)
    await here.want(desired="Paused")
    await here.becomes(name, "Paused")
    assert not here.pods_of(name)
    assert here.job(name) is None
    assert here.condition(name, "Finished")["status"] == "False"
    await here.want(desired="Running")
    second = await here.pod(name)
    await here.start(second)
    status = await here.becomes(name, "Running")
    assert status["attempt"] == 2
    assert status["pod"] == name_of(second) != name_of(pod)
    assert here.told == []


async def test_a_stop_frees_the_pod_and_says_why(here: World) -> None:
    await here.study()
    name, _ = await running(here)
    await here.want(desired="Stopped", stopReason="StoppedEarly")
    status = await here.becomes(name, "StoppedEarly")
    assert status["reason"] == "StoppedEarly"
    assert not here.pods_of(name)
    assert here.job(name) is None
    await here.want(desired="Running")
    await here.until("the wish is seen", lambda: here.trials.get(here.namespace, name)["metadata"]["generation"] == 3)  # type: ignore[index]
    await here.settle()
    assert here.job(name) is None


async def test_a_trial_that_never_ran_stops_at_once(here: World) -> None:
    await here.study()
    name = await here.want(desired="Stopped", stopReason="BudgetExhausted")
    status = await here.becomes(name, "BudgetExhausted")
    assert status["attempt"] == 0
    assert here.calls["create", "jobs"] == 0


@pytest.mark.parametrize(
    ("code", "terminated", "reason", "words"),
    [
        (64, {"message": said(Outcome.CONFIGURATION_ERROR, message="lr must be > 0")}, "ConfigurationError", "lr must"),
        (137, {"reason": "OOMKilled"}, "OutOfMemory", "1Gi: raise it"),
        (1, {"reason": "Error"}, "Failed", "exit code 1"),
        (1, {"message": said(Outcome.NON_FINITE, message="loss is NaN")}, "NonFinite", "loss is NaN"),
        (127, {"reason": "Error"}, "ConfigurationError", "cannot be started"),
    ],
)
async def test_each_failure_has_its_reason_and_keeps_its_pod(
    here: World, code: int, terminated: dict[str, Any], reason: str, words: str
) -> None:
    # Where the exit code says that it cannot work, no retry is made although there would be three.
    await here.study(retries=3 if code in (64, 127) else 0)
    name, pod = await running(here)
    await here.end(pod, code, **terminated)
    status = await here.becomes(name, reason)
    assert status["reason"] == reason
    assert words in status["message"]
    assert [name_of(kept) for kept in here.pods_of(name)] == [name_of(pod)]
    await here.settle()
    assert here.job(name) is not None
    assert here.told[-1][:2] == ("Normal" if reason == "NonFinite" else "Warning", reason)


async def test_a_disrupted_pod_is_replaced_and_counts_as_no_failure(here: World) -> None:
    await here.study(retries=0)
    name, pod = await running(here)
    disrupted = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "m"}
    state = {"terminated": {"exitCode": 143, "finishedAt": here.clock().isoformat()}}
    await here.play(pod, "Failed", state=state, conditions=[disrupted])
    second = await here.pod(name, beside=(name_of(pod),))
    await here.start(second)
    await here.until("the second attempt", lambda: here.of(name).get("attempt") == 2)
    await here.becomes(name, "Running")
    assert here.of(name).get("reason") is None


async def test_a_pod_that_is_deleted_is_replaced(here: World) -> None:
    await here.study(retries=3)
    name, pod = await running(here)
    await here.client.delete(PODS, namespace=here.namespace, name=name_of(pod))
    status = await here.becomes(name, "Restarting")
    assert "was deleted" in here.condition(name, "Running")["message"]
    assert status.get("reason") is None


async def test_a_job_that_somebody_deletes_is_made_again(here: World) -> None:
    await here.study()
    name, _ = await running(here)
    job = here.job(name)
    assert job is not None
    await here.client.delete(JOBS, namespace=here.namespace, name=name)
    again = await here.until(
        "another job", lambda: (j := here.job(name)) and j["metadata"]["uid"] != job["metadata"]["uid"]
    )
    assert again
    await here.until("it is told", lambda: [one for one in here.told if one[:2] == ("Warning", "Recreating")])
    second = await here.pod(name)
    await here.start(second)
    status = await here.becomes(name, "Running")
    assert status["attempt"] == 2


async def test_an_image_that_is_not_there_ends_the_trial(here: World) -> None:
    await here.study()
    never, slow = await here.want(0), await here.want(1)
    await here.play(await here.pod(never), "Pending", state={"waiting": {"reason": "ErrImageNeverPull"}})
    status = await here.becomes(never, "ConfigurationError")
    assert "imagePullPolicy is Never" in status["message"]
    await here.until("the gpu is free", lambda: not here.pods_of(never) and here.job(never) is None)
    pull = {"waiting": {"reason": "ImagePullBackOff", "message": "no such host"}}
    await here.play(await here.pod(slow), "Pending", state=pull)
    await here.becomes(slow, "Starting")
    assert "imagePullSecrets" in here.condition(slow, "Running")["message"]
    here.clock.ahead = timedelta(minutes=6)
    here.controller.queue.add((here.namespace, slow))
    await here.becomes(slow, "ConfigurationError")


async def test_a_trial_without_a_node_waits_and_says_for_what(here: World) -> None:
    await here.study()
    name = await here.want()
    await here.becomes(name, "Unschedulable")  # The real scheduler says so: there is no node.
    assert "no nodes available" in here.condition(name, "Running")["message"]
    here.clock.ahead = timedelta(days=2)
    here.controller.queue.add((here.namespace, name))
    await here.settle()
    assert here.of(name).get("reason") is None


async def test_a_suspended_job_is_queued_and_not_ours_to_resume(here: World) -> None:
    await here.study(metadata={"labels": {labels.LABEL_QUEUE: "gpus"}})
    name = await here.want()
    await here.becomes(name, "Queued")
    job = here.job(name)
    assert job is not None
    assert job["metadata"]["labels"][labels.LABEL_QUEUE] == "gpus"
    assert here.condition(name, "Queued")["status"] == "True"
    await here.client.patch(JOBS, {"spec": {"suspend": False}}, namespace=here.namespace, name=name)
    await here.start(await here.pod(name))
    await here.becomes(name, "Running")
    assert here.condition(name, "Queued")["status"] == "False"
    await here.client.patch(JOBS, {"spec": {"suspend": True}}, namespace=here.namespace, name=name)
    await here.becomes(name, "Queued")
    await here.want(desired="Paused")
    await here.becomes(name, "Paused")


async def test_nodes_of_one_trial_find_each_other_and_rank_0_tells(here: World) -> None:
    await here.study(nodes=2)
    name = await here.want()
    pods = await here.until("two pods", lambda: len(found := here.pods_of(name)) == 2 and found)
    service = await here.client.get(SERVICES, namespace=here.namespace, name=name)
    assert service["spec"]["clusterIP"] == "None"
    await here.client.delete(SERVICES, namespace=here.namespace, name=name)
    await here.until("it is told", lambda: [one for one in here.told if "Service was deleted" in one[2]])
    again = await here.client.get(SERVICES, namespace=here.namespace, name=name)
    assert again["metadata"]["uid"] != service["metadata"]["uid"]
    first, second = sorted(pods, key=name_of)
    await here.start(first)
    await here.becomes(name, "Starting" if here.state(name) == "Starting" else "Unschedulable")
    await here.start(second)
    status = await here.becomes(name, "Running")
    assert status["pod"] == name_of(first)
    assert status["attempt"] == 1
    await here.end(second, 137, reason="OOMKilled")
    await here.end(first, 1, reason="Error")
    assert (await here.becomes(name, "OutOfMemory"))["attempt"] == 1


async def test_a_job_that_is_refused_ends_the_trial_with_the_servers_words(here: World) -> None:
    container = {"name": "train", "image": "i", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}
    await here.study(template={"spec": {"containers": [container]}})
    name = await here.want()
    status = await here.becomes(name, "ConfigurationError")
    assert "must be less than or equal to cpu limit" in status["message"]


async def test_a_foreign_job_of_the_same_name_is_left_alone(here: World) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}}
    foreign = {"metadata": {"name": f"{STUDY}-0000", "namespace": here.namespace}, "spec": {"template": template}}
    await here.client.create(JOBS, foreign)
    await here.study()
    name = await here.want()
    await here.becomes(name, "Rejected")
    assert "does not belong to this Trial" in here.condition(name, "Running")["message"]
    await here.want(1)
    await here.until("the next one is not held up", lambda: here.job(f"{STUDY}-0001"))
    await here.client.delete(JOBS, namespace=here.namespace, name=name)
    await here.until("its own job, after a pause", lambda: here.job(name))


async def test_looking_again_writes_nothing(here: World) -> None:
    await here.study()
    name, _ = await running(here)
    await here.settle()
    before = Counter(here.calls)
    for _ in range(5):
        here.controller.queue.add((here.namespace, name))
        await here.settle()
    assert here.calls == before


async def test_two_controllers_at_once_do_no_harm(crds: ControlPlane, namespace: str) -> None:
    async with world(crds, namespace, controllers=2) as here:
        await here.study()
        name, pod = await running(here)
        await here.want(desired="Paused")
        await here.becomes(name, "Paused")
        await here.want(desired="Running")
        second = await here.pod(name)
        await here.start(second)
        await here.becomes(name, "Running")
        await here.end(second, 0, message=said())
        status = await here.becomes(name, "Completed")
        assert status["attempt"] == 2
        assert len({name_of(pod), name_of(second)}) == 2


async def test_a_new_operator_goes_on_where_the_old_one_died(crds: ControlPlane, namespace: str) -> None:
    async with world(crds, namespace) as here:
        await here.study(retries=3)
        name, pod = await running(here)
    async with world(crds, namespace) as here:
        await here.settle()
        assert here.of(name)["attempt"] == 1
        writes = {call: count for call, count in here.calls.items() if call[0] not in ("list", "watch")}
        assert writes == {}
        await here.end(pod, 0, message=said())
        await here.becomes(name, "Completed")


async def test_what_an_earlier_trial_of_the_name_left_is_not_taken_for_its_own(here: World) -> None:
    await here.study()
    name, pod = await running(here)
    await here.end(pod, 0, message=said())
    await here.becomes(name, "Completed")
    await here.client.delete(TUNING_JOBS, namespace=here.namespace, name=STUDY)
    await here.client.delete(TRIALS, namespace=here.namespace, name=name)
    await here.until("the trial is gone", lambda: here.trials.get(here.namespace, name) is None)
    await here.study()
    await here.want()
    await here.until("a new pod", lambda: [p for p in here.pods_of(name) if name_of(p) != name_of(pod)])
    await here.settle()
    assert here.of(name).get("reason") is None


async def test_what_cannot_be_better_the_next_time_is_not_tried_again(here: World) -> None:
    await here.study(retries=3)
    name, pod = await running(here)
    await here.end(pod, 137, reason="OOMKilled")
    status = await here.becomes(name, "OutOfMemory")
    assert "it is not tried again" in status["message"]
    # The Job would make another pod, so it goes, and its pod with it.
    await here.until("its Job is gone", lambda: here.job(name) is None and not here.pods_of(name), 30)
    assert here.calls["create", "jobs"] == 1


async def test_a_dry_run_says_what_a_template_lacks(here: World) -> None:
    await here.study()
    body = await here.client.get(TUNING_JOBS, namespace=here.namespace, name=STUDY)
    metadata = {"name": f"{STUDY}-0000", "namespace": here.namespace, "uid": "none"}
    trial = {"metadata": metadata, "spec": {"job": STUDY, "number": 0, "parameters": {"lr": 0.5}, "seed": 1}}

    async def ask() -> str | None:
        spec = TuningJobSpec.model_validate(body["spec"])
        return await dry_run_job(here.client, spec, trial=trial, public_key="", queue={})

    assert await ask() is None
    body["spec"]["trial"]["template"]["spec"]["containers"][0]["image"] = ""
    assert "containers[0].image: Required value" in (await ask() or "")
    body["spec"]["trial"]["template"]["spec"]["restartPolicy"] = "Always"
    assert "restartPolicy must be Never" in (await ask() or "")
    assert here.job(f"{STUDY}-0000") is None


async def test_a_trial_gets_a_job_that_goes_with_it(here: World) -> None:
    await here.study()
    name = await here.want()
    job = await here.until("its job", lambda: here.job(name))
    trial = here.trials.get(here.namespace, name)
    assert trial is not None
    (owner,) = job["metadata"]["ownerReferences"]
    assert owner["uid"] == trial["metadata"]["uid"]
    await here.client.delete(TRIALS, namespace=here.namespace, name=name)
    # The garbage collector looks for new kinds of owners every 30 s, so this is the last test: it need not wait.
    await here.until("all is gone", lambda: not here.job(name) and not here.pods_of(name), 60)
    await here.settle()
    assert here.controller.used_by(here.namespace, name) == ()
