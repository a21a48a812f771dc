"""Every way in which a trial on a real node ends: its reason, and a message that names the cause and the fix."""

from __future__ import annotations

import json
from typing import Any

from tests.cluster.bed import STUDY, Bed, condition, is_true
from tests.testbed.node import Cluster

from tuning_operator.backends.kubernetes.resources import JOBS, TUNING_JOBS, name_of

TRIAL = f"{STUDY}-0000"


async def over(here: Bed, reason: str) -> str:
    """Wait for the end, see that all who tell of it agree, and return its message."""
    status = await here.ends()
    assert status["reason"] == status["end"]["reason"] == reason, status["message"]
    finished = condition(here.trial(), "Finished")
    assert (finished["status"], finished["reason"]) == ("True", reason)
    message = str(status.get("message", ""))
    assert message.startswith(finished["message"])
    assert status["end"]["message"] == message
    told = await here.event(reason)
    assert told == finished["message"] or told == reason
    await here.until("no pod holds anything", lambda: all(is_over(pod) for pod in here.pods()), 20)
    return message


def is_over(pod: dict[str, Any]) -> bool:
    return pod["status"].get("phase") in ("Succeeded", "Failed")


async def test_out_of_memory_is_not_tried_again_and_says_which_limit(here: Bed) -> None:
    await here.apply("memory", trial={"retries": 3}, container={"resources": {"limits": {"memory": "96Mi"}}})
    message = await over(here, "OutOfMemory")
    assert message.startswith(
        "out of memory (exit code 137); its limit is 96Mi: raise it, or tune smaller batches and models; "
        "it is not tried again"
    )
    assert message.endswith("--- last lines of its output ---\nstarting at step 0 of 60")
    assert here.status()["attempt"] == 1
    await here.until("nothing tries again", lambda: not here.all(JOBS), 20)
    assert condition(here.all(TUNING_JOBS)[0], "Complete")["status"] == "True"


async def test_a_failure_uses_up_its_retries_and_keeps_the_last_lines(here: Bed) -> None:
    await here.apply("raises", trial={"retries": 1})
    restarting = await here.event("Restarting", seconds=40)
    assert restarting == (
        "Failed: the trainer ended with exit code 1; it said: RuntimeError: the data loader found a bad batch"
    )
    message = await over(here, "Failed")
    cause, _, log = message.partition("\n--- last lines of its output ---\n")
    assert cause == (
        "the trainer ended with exit code 1; it said: RuntimeError: the data loader found a bad batch; "
        "given up after 1 retry"
    )
    assert log.startswith("starting at step 0 of 60\nTraceback (most recent call last)")
    assert log.endswith("RuntimeError: the data loader found a bad batch")
    assert here.status()["attempt"] == 2
    # The Job failed by itself: it stays for whoever wants the whole log, until the Trial goes.
    assert [name_of(job) for job in here.all(JOBS)] == [TRIAL]
    newest = here.pods()[-1]
    whole = await here.client.read_log(namespace=here.namespace, pod=name_of(newest), container="train", lines=1000)
    assert whole.strip() == log


async def test_exit_64_is_a_configuration_error_at_once(here: Bed) -> None:
    await here.apply("refuses", trial={"retries": 3})
    message = await over(here, "ConfigurationError")
    assert message == (
        "the trainer refused its configuration (exit code 64); it is not tried again; "
        "it said: lr must be smaller than the moon\n--- last lines of its output ---\n"
        "starting at step 0 of 60\nlr must be smaller than the moon"
    )
    assert (here.status()["attempt"], len(here.pods())) == (1, 1)
    await here.until("the Job fails by itself", lambda: is_true(here.all(JOBS)[0], "Failed"), 20)


async def test_a_loss_that_is_not_finite_is_not_tried_again(here: Bed) -> None:
    await here.apply("nan", trial={"retries": 3})
    message = await over(here, "NonFinite")
    assert message.startswith(
        "the loss is not finite any more; it is not tried again; it said: the loss is nan at step 10"
    )
    assert here.status()["attempt"] == 1
    await here.until("nothing tries again", lambda: not here.all(JOBS), 20)


async def test_a_wrong_image_is_said_at_once_and_ends_the_trial_in_time(here: Bed) -> None:
    image = "registry.invalid/team/trainer:typo"
    await here.apply(container={"image": image}, metrics={"interval": "500ms", "firstWithin": "10s"})
    told = await here.until(
        "it says what it waits for",
        lambda: "pulled" in (text := condition(here.trial(), "Running").get("message", "")) and text,
    )
    assert "the image cannot be pulled: check its name, the registry and imagePullSecrets" in told
    message = await over(here, "ConfigurationError")
    assert message.startswith(f"pod {here.status()['pod']} does not start" if here.status().get("pod") else "pod ")
    assert "does not start: " in message
    assert image in message
    await here.until("the GPU is free", lambda: not here.all(JOBS) and not here.pods(), 20)


async def test_a_wrong_command_is_not_tried_again(here: Bed) -> None:
    await here.apply(container={"command": ["/usr/bin/trian"]}, trial={"retries": 3})
    message = await over(here, "ConfigurationError")
    assert message.startswith("the command cannot be started (exit code 128: ")
    assert '"/usr/bin/trian"' in message
    assert message.endswith("check that it exists in the image and may be executed")


async def test_an_evicted_trial_goes_on_from_its_checkpoint_and_has_not_failed(here: Bed) -> None:
    here.claim()
    await here.apply("pause=0.1", trial={"checkpoint": {"claim": "checkpoints"}})
    first = await here.runs(step=20)
    evict(here.cluster, here.namespace, name_of(first))
    told = await here.event("Restarting")
    assert told.startswith("Preempted: the pod was disrupted (EvictionByEvictionAPI: ")
    await over(here, "Completed")
    began, went_on = here.starts()
    assert began == 0
    assert went_on >= 20
    assert here.status()["attempt"] == 2


async def test_an_evicted_trial_that_exits_with_0_goes_on_too(here: Bed) -> None:
    here.claim()
    await here.apply("pause=0.1", "exits-0", trial={"checkpoint": {"claim": "checkpoints"}})
    first = await here.runs(step=20)
    evict(here.cluster, here.namespace, name_of(first))
    await over(here, "Completed")
    began, went_on = here.starts()
    assert began == 0
    assert went_on >= 20
    assert here.status()["end"]["fraction"] == "1.0"


def evict(cluster: Cluster, namespace: str, pod: str) -> None:
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
    cluster.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
