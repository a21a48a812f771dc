"""The whole operator with exactly the rights of its role, beside the real Job controller; tests play the kubelet."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.controlplane.played_trials import KEYS, TOTAL
from tests.controlplane.studies import manifest
from tests.testbed.controlplane import ControlPlane

from trial_protocol.result import Outcome, TrialResult
from tuning_operator.backends.kubernetes import labels
from tuning_operator.backends.kubernetes.access import OWN_RIGHTS, RIGHTS, Right, role
from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.errors import NotFound
from tuning_operator.backends.kubernetes.keys import load_key_pair
from tuning_operator.backends.kubernetes.leader import Leadership
from tuning_operator.backends.kubernetes.options import Options
from tuning_operator.backends.kubernetes.process import run_operator
from tuning_operator.backends.kubernetes.reflector import Change, Reflector
from tuning_operator.backends.kubernetes.resources import JOBS, PODS, TRIALS, TUNING_JOBS, Object, Resource, name_of
from tuning_operator.backends.kubernetes.service import Service


def operator_user(plane: ControlPlane, namespace: str, *, rights: Sequence[Right] = RIGHTS) -> Path:
    """A user with the operator's rights in one namespace, and none elsewhere."""
    user = f"operator-{namespace}"
    let(plane, user, namespace, serve=rights, lead=OWN_RIGHTS)
    return plane.user(user)


def let(plane: ControlPlane, user: str, namespace: str, **roles: Sequence[Right]) -> None:
    """Give a user rights in a namespace, by roles of these names."""
    subject = {"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}
    for name, rights in roles.items():
        reference = {"kind": "Role", "name": name, "apiGroup": "rbac.authorization.k8s.io"}
        metadata = {"name": name, "namespace": namespace}
        binding = {"kind": "RoleBinding", "apiVersion": "rbac.authorization.k8s.io/v1", "metadata": metadata}
        plane.apply(role(name, namespace=namespace, rights=rights))
        plane.apply({**binding, "roleRef": reference, "subjects": [subject]})


class Kubelet:
    """Says of pods what a kubelet would say: the first pod of trial 2 fails, all others train and end well."""

    def __init__(self, client: Client, pods: Reflector) -> None:
        self._client = client
        self._pods = pods
        self._holds = True
        self._work: asyncio.Queue[Object] = asyncio.Queue()
        pods.listen(lambda change, pod: None if change is Change.DELETED else self._work.put_nowait(pod))

    def let_end(self) -> None:
        """From now on every training ends as soon as it runs."""
        self._holds = False
        for pod in self._pods.objects.values():
            self._work.put_nowait(pod)

    async def run(self) -> None:
        while True:
            pod = await self._work.get()
            phase, trial = pod["status"].get("phase"), pod["metadata"]["labels"][labels.LABEL_TRIAL]
            with suppress(NotFound):
                if phase == "Pending" and not pod["metadata"].get("deletionTimestamp"):
                    await self._say(pod, "Running", {"running": {"startedAt": now()}}, podIP="10.9.9.9")
                elif phase == "Running" and not self._holds and not pod["metadata"].get("deletionTimestamp"):
                    await self._end(pod, trial)

    async def _end(self, pod: Object, trial: str) -> None:
        variables = {one["name"]: one.get("value") for one in pod["spec"]["containers"][0]["env"]}
        rate = float(variables["TUNING_PARAM_LR"])
        value = 1.0 + abs(math.log10(rate) + 1)
        result = TrialResult(outcome=Outcome.COMPLETED, step=TOTAL, values={"eval_loss": value}, checkpoint="s3://b/c")
        is_broken = trial.endswith("0002")
        ended = {"exitCode": int(is_broken), "startedAt": now(), "finishedAt": now()}
        if not is_broken:
            ended["message"] = result.to_json()
        await self._say(pod, "Failed" if is_broken else "Succeeded", {"terminated": ended})

    async def _say(self, pod: Object, phase: str, state: Object, **status: Any) -> None:
        container = {"name": "train", "image": "trainer", "imageID": "", "ready": False, "restartCount": 0}
        body = {"phase": phase, "startTime": now(), "containerStatuses": [{**container, "state": state}], **status}
        await self._client.patch(
            PODS, {"status": body}, namespace=pod["metadata"]["namespace"], name=name_of(pod), subresource="status"
        )


def now() -> str:
    return datetime.now(UTC).replace(microsecond=0).isoformat()


@asynccontextmanager
async def running(*parts: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        yield
    finally:
        broken = [task.exception() for task in tasks if task.done() and not task.cancelled()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert broken == []


async def until(what: str, client: Client, namespace: str, holds: Any, seconds: float = 40.0) -> Object:
    """Follow the TuningJob until something holds of its status."""
    status: Object = {}
    try:
        async with asyncio.timeout(seconds):
            items, version = await client.list(TUNING_JOBS, namespace=namespace)
            for body in items:
                status = body.get("status") or {}
            if holds(status):
                return status
            async for event in client.watch(TUNING_JOBS, since=version, namespace=namespace):
                status = event["object"].get("status") or {}
                if holds(status):
                    return status
    except TimeoutError:
        pass
    raise AssertionError(f"never: {what}; {status}")


def condition(status: Object, kind: str) -> Object:
    return next((one for one in status.get("conditions") or () if one["type"] == kind), {})


def is_true(status: Object, kind: str) -> bool:
    return bool(condition(status, kind).get("status") == "True")


async def gone(client: Client, namespace: str, resource: Resource) -> None:
    """Wait until there is no object of a kind any more."""
    async with asyncio.timeout(20):
        items, version = await client.list(resource, namespace=namespace)
        left = {name_of(item) for item in items}
        watch = client.watch(resource, since=version, namespace=namespace)
        while left:
            event = await anext(watch)
            if event["type"] == "DELETED":
                left.discard(name_of(event["object"]))
        await watch.aclose()


async def test_a_job_runs_with_the_rights_of_the_role(
    crds: ControlPlane, namespace: str, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    body = manifest(
        namespace,
        budget={"trials": 3, "parallel": 2, "failedTrials": 3},
        trial={**manifest(namespace)["spec"]["trial"], "nodes": 2, "retries": 0},
        metrics={"interval": "200ms"},
    )
    pods = Reflector(client, PODS, namespace=namespace)
    kubelet = Kubelet(client, pods)
    kubeconfig = str(operator_user(crds, namespace))
    async with await Client.connect(kubeconfig=kubeconfig) as limited:
        leadership = Leadership(limited, namespace=namespace, name="op", identity="test")
        await leadership.acquire()
        service = Service(limited, keys=KEYS, instance="test", namespace=namespace)
        async with running(pods.run(), kubelet.run(), service.run()):
            await client.apply(TUNING_JOBS, body)
            await until("two run", client, namespace, lambda status: status.get("trials", {}).get("running") == 2)
            body["spec"]["suspend"] = True
            await client.apply(TUNING_JOBS, body)
            await until("suspended", client, namespace, lambda status: is_true(status, "Suspended"))
            await gone(client, namespace, JOBS)
            body["spec"]["suspend"] = False
            await client.apply(TUNING_JOBS, body)
            kubelet.let_end()
            status = await until("complete", client, namespace, lambda status: is_true(status, "Complete"))
            async with asyncio.timeout(10):
                await service.events.drain()
        await leadership.release()

    assert "cannot get resource" not in caplog.text
    assert status["trials"] == {
        "pending": 0,
        "running": 0,
        "paused": 0,
        "completed": 2,
        "stoppedEarly": 0,
        "failed": 1,
    }
    assert status["best"]["name"] == "digits-0000"
    trial = await client.get(TRIALS, namespace=namespace, name="digits-0000")
    assert trial["status"]["end"]["checkpoint"] == "s3://b/c"
    assert trial["status"]["end"]["fraction"] == "1.0"
    assert [one["attempt"] for one in trial["status"]["attempts"]] == [1, 2]
    broken = await client.get(TRIALS, namespace=namespace, name="digits-0002")
    assert broken["status"]["end"]["reason"] == "Failed"
    assert "exit code 1" in broken["status"]["end"]["message"]


async def test_the_process_leads_refuses_what_cannot_run_and_gives_the_lease_back(
    crds: ControlPlane, namespace: str, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig = str(operator_user(crds, namespace))
    monkeypatch.setenv("KUBECONFIG", kubeconfig)
    options = Options(
        own_namespace=namespace,
        namespaces=(namespace,),
        identity="process",
        key_file=tmp_path / "keys" / "key.pem",
        kubeconfig=kubeconfig,
        probes=("127.0.0.1", 0),
    )
    stop = asyncio.Event()
    task = asyncio.create_task(run_operator(options, stop=stop))
    try:
        body = manifest(namespace)
        body["spec"]["trial"] = {"template": {"spec": {"restartPolicy": "Always", "containers": [{"name": "train"}]}}}
        await client.apply(TUNING_JOBS, body)
        status = await until(
            "refused", client, namespace, lambda s: condition(s, "Accepted").get("reason") == "TrialRefused", 20
        )
        assert "restartPolicy" in condition(status, "Accepted")["message"]
        body["spec"]["trial"]["template"]["spec"]["restartPolicy"] = "Never"
        body["spec"]["trial"]["template"]["spec"]["containers"][0]["image"] = "trainer"
        began = time.monotonic()
        await client.apply(TUNING_JOBS, body)
        await until("accepted", client, namespace, lambda s: condition(s, "Accepted").get("status") == "True", 20)
        assert time.monotonic() - began < 10
    finally:
        stop.set()
        assert await asyncio.wait_for(task, 20) == 0
    assert load_key_pair(options.key_file) == load_key_pair(options.key_file)
    assert options.key_file.stat().st_mode & 0o777 == 0o600
