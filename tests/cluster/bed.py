"""A TuningJob of stand-in trials on a real node: the operator with the rights of its role, and eyes on every object."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.cluster.stand_in import COMMAND, IMAGE
from tests.controlplane.operators import arguments
from tests.controlplane.test_service import operator_user
from tests.nursery import Nursery
from tests.testbed.controlplane import answers, free_ports
from tests.testbed.node import Cluster
from tests.testbed.processes import wait_until

from tuning_operator.backends.kubernetes import labels
from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.reflector import Reflector
from tuning_operator.backends.kubernetes.resources import (
    EVENTS,
    JOBS,
    PODS,
    SERVICES,
    TRIALS,
    TUNING_JOBS,
    Object,
    Resource,
    name_of,
)

STUDY = "study"
CLAIM = "checkpoints"


class Bed:
    """One namespace, its objects as they change, and what a user does to them.

    Attributes:
        volume: Folder on this machine behind the claim `CLAIM`.
    """

    def __init__(self, cluster: Cluster, client: Client, namespace: str, volume: Path) -> None:
        self.cluster = cluster
        self.client = client
        self.namespace = namespace
        self.volume = volume
        self._changed = asyncio.Event()
        kinds = (TUNING_JOBS, TRIALS, JOBS, PODS, SERVICES, EVENTS)
        self.seen = {kind: Reflector(client, kind, namespace=namespace) for kind in kinds}
        self.states: dict[str, list[tuple[str, str]]] = {}
        for reflector in self.seen.values():
            reflector.listen(lambda *_: self._changed.set())
        self.seen[TRIALS].listen(lambda _, body: self._note(body))

    def _note(self, body: Object) -> None:
        told = condition(body, "Running")
        state = (told.get("reason", ""), told.get("message", ""))
        known = self.states.setdefault(name_of(body), [])
        if not known or known[-1] != state:
            known.append(state)

    def all(self, kind: Resource) -> list[Object]:
        """Return the objects of a kind that are there now, by name."""
        return sorted(self.seen[kind].objects.values(), key=name_of)

    def trial(self, number: int = 0) -> Object:
        """Return a Trial as it is now; empty if it is not there."""
        return self.seen[TRIALS].get(self.namespace, f"{STUDY}-{number:04d}") or {}

    def status(self, number: int = 0) -> dict[str, Any]:
        """Return the status of a Trial."""
        return self.trial(number).get("status") or {}

    def state(self, number: int = 0) -> str:
        """Return what a Trial says that it does."""
        return str(condition(self.trial(number), "Running").get("reason", ""))

    def pods(self, number: int = 0) -> list[Object]:
        """Return the pods of a Trial, the oldest first."""
        name = f"{STUDY}-{number:04d}"
        found = [pod for pod in self.all(PODS) if (pod["metadata"].get("labels") or {}).get(labels.LABEL_TRIAL) == name]
        return sorted(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def events(self, reason: str = "", about: str = "") -> list[str]:
        """Return notes of Events, by time, of one reason or about one object."""
        found = sorted(self.seen[EVENTS].objects.values(), key=lambda event: str(event.get("eventTime") or ""))
        return [
            str(event.get("note", ""))
            for event in found
            if event.get("reportingController", "").startswith("tuning-operator")
            and (not reason or event.get("reason") == reason)
            and (not about or event.get("regarding", {}).get("name") == about)
        ]

    async def until(self, what: str, holds: Callable[[], Any], seconds: float = 60.0) -> Any:
        """Return what `holds` returns, once that is true; it is asked at every change."""
        try:
            async with asyncio.timeout(seconds):
                while not (found := holds()):
                    self._changed.clear()
                    await self._changed.wait()
                return found
        except TimeoutError:
            raise AssertionError(f"never: {what}; {self.summary()}") from None

    def summary(self) -> str:
        """Return what everything is doing."""
        trials = {
            name_of(one): (one.get("status") or {}).get("reason") or self.states.get(name_of(one))
            for one in self.all(TRIALS)
        }
        pods = {name_of(one): one["status"].get("phase") for one in self.all(PODS)}
        jobs = [name_of(one) for one in self.all(JOBS)]
        told = [one.get("status", {}).get("conditions") for one in self.all(TUNING_JOBS)]
        return f"trials {trials}; jobs {jobs}; pods {pods}; TuningJob {told}; events {self.events()[-8:]}"

    async def apply(
        self, *mode: str, metadata: Object | None = None, container: Object | None = None, **spec: Any
    ) -> None:
        """Apply a TuningJob whose trials run the stand-in; `container` and `spec` change fields of it."""
        trial = {"gracePeriod": "5s", "retries": 0, **spec.pop("trial", {})}
        pod = trial.pop("pod", {})
        made = {
            "name": "train",
            "image": IMAGE,
            "command": [*COMMAND, *mode],
            "resources": {"limits": {"memory": "192Mi"}},
            **(container or {}),
        }
        body = {
            "metadata": {"name": STUDY, "namespace": self.namespace, **(metadata or {})},
            "spec": {
                "objective": {"metric": "eval_loss"},
                "axis": {"total": 60},
                "parameters": [{"name": "lr", "type": "Float", "min": 0.1, "max": 1.0}],
                "search": {"algorithm": "Random", "seed": 3},
                "metrics": {"interval": "500ms"},
                "budget": {"trials": 1, "parallel": 1, "failedTrials": 1},
                "trial": {**trial, "template": {"spec": {**pod, "containers": [made]}}},
                **spec,
            },
        }
        await self.client.apply(TUNING_JOBS, body)

    async def patch(self, **spec: Any) -> None:
        """Change fields of the TuningJob, as `kubectl edit` would."""
        await self.client.patch(TUNING_JOBS, {"spec": spec}, namespace=self.namespace, name=STUDY)

    async def runs(self, number: int = 0, *, step: int = 1, seconds: float = 60.0) -> Object:
        """Wait until a Trial trains and has come to a step; return its pod."""

        def trains() -> Any:
            fraction = float(self.status(number).get("fraction") or 0)
            return self.state(number) == "Running" and fraction * 60 >= step

        await self.until(f"trial {number} is at step {step}", trains, seconds)
        return self.pods(number)[-1]

    async def ends(self, number: int = 0, seconds: float = 60.0) -> dict[str, Any]:
        """Wait until a Trial is over and its last record is written; return its status."""
        await self.until(f"trial {number} ends", lambda: self.status(number).get("end"), seconds)
        return self.status(number)

    async def event(self, reason: str, words: str = "", seconds: float = 20.0) -> str:
        """Wait for an Event of ours and return its note."""
        what = f"an Event {reason} with {words!r}"
        found = await self.until(what, lambda: [one for one in self.events(reason) if words in one], seconds)
        return str(found[-1])

    def starts(self, number: int = 0) -> list[int]:
        """Return the steps from which the attempts of a Trial went on, from its folder behind the claim."""
        (folder,) = self.volume.glob(f"{STUDY}-{number:04d}-*")
        return [int(line) for line in (folder / "starts").read_text().split()]

    def claim(self) -> None:
        """Make the claim `CLAIM` on a folder of this machine."""
        name = f"{self.namespace}-{CLAIM}"
        common = {"storageClassName": "", "accessModes": ["ReadWriteMany"]}
        self.volume.mkdir(mode=0o777)
        volume = {"path": str(self.volume), "type": "Directory"}
        reference = {"namespace": self.namespace, "name": CLAIM}
        self.cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": name},
                "spec": {**common, "capacity": {"storage": "1Gi"}, "hostPath": volume, "claimRef": reference},
            },
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": reference,
                "spec": {**common, "volumeName": name, "resources": {"requests": {"storage": "1Gi"}}},
            },
        )


def condition(body: Object, kind: str) -> dict[str, Any]:
    """Return a condition of an object; empty if it has none of this type."""
    found = (body.get("status") or {}).get("conditions") or ()
    return next((dict(one) for one in found if one["type"] == kind), {})


def is_true(body: Object, kind: str) -> bool:
    """Return whether a condition of an object is true."""
    return condition(body, kind).get("status") == "True"


def seconds_between(earlier: str, later: str) -> float:
    """Return the seconds between two times as Kubernetes writes them."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


@asynccontextmanager
async def bed(cluster: Cluster, nursery: Nursery | None) -> AsyncIterator[Bed]:
    """Make a namespace, and run an operator for it unless a test wants to do that itself."""
    namespace = f"test-{uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", namespace)
    account = ("get", "serviceaccount", "default", "-n", namespace, "--ignore-not-found", "-o", "name")
    wait_until("the namespace has its service account", lambda: bool(cluster.kubectl(*account).strip()), 20)
    volume = cluster.instance.folder / f"volume-{namespace}"
    async with await Client.connect(kubeconfig=str(cluster.kubeconfig)) as client:
        made = Bed(cluster, client, namespace, volume)
        tasks = [asyncio.create_task(one.run()) for one in made.seen.values()]
        try:
            with operating(cluster, namespace, nursery) if nursery else nullcontext():
                async with asyncio.timeout(30):
                    for reflector in made.seen.values():
                        await reflector.wait_synced()
                yield made
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            cluster.kubectl("delete", "namespace", namespace, "--wait=false")
            cluster.kubectl("delete", "pv", f"{namespace}-{CLAIM}", "--ignore-not-found", "--wait=false")
            shutil.rmtree(volume, ignore_errors=True)


@contextmanager
def operating(cluster: Cluster, namespace: str, nursery: Nursery, *, port: int | None = None) -> Iterator[None]:
    """Run the operator as a process of its own, with the rights of its role in one namespace."""
    port = port or free_ports(1)[0]
    user = operator_user(cluster, namespace)
    command = arguments(cluster.instance.folder, kubeconfig=user, own_namespace=namespace, lease=15, port=port)
    log = cluster.logs / f"operator-{namespace}.log"
    pid = nursery.start(command, log=log)
    try:
        wait_until(f"the operator is ready ({log})", lambda: answers(f"http://127.0.0.1:{port}/readyz"), 30)
        yield
    finally:
        code = nursery.end(pid)
    assert code == 0, f"the operator ended with {code}: {log}"
    # kopf complains of its own first requests if it is ended while it starts.
    ended = ("Connector is closed.", "TCP closed; will re-authenticate")
    errors = [one for one in log.read_text().splitlines() if " ERROR " in one and not any(it in one for it in ended)]
    assert errors == [], log
