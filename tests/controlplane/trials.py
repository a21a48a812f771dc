"""A trial controller beside a real control plane, and hands that play the kubelet."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.testbed.controlplane import ControlPlane

from tuning_operator.backends.kubernetes import labels
from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.reflector import Reflector
from tuning_operator.backends.kubernetes.resources import JOBS, PODS, SERVICES, TRIALS, TUNING_JOBS, Object, name_of
from tuning_operator.backends.kubernetes.sightings import trim_pod, trim_service
from tuning_operator.backends.kubernetes.trial_controller import TrialController

OURS = f"app.kubernetes.io/managed-by={labels.MANAGED_BY}"
STUDY = "digits"


class Clock:
    """The time of day, which can be set forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class World:
    """One namespace with a TuningJob, watched by a controller."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.client = client
        self.namespace = namespace
        self.clock = Clock()
        self.calls: Counter[tuple[str, str]] = Counter()
        self.told: list[tuple[str, str, str]] = []
        self._changed = asyncio.Event()
        watch = {"namespace": namespace}
        self.trials = Reflector(client, TRIALS, **watch)
        self.tuning_jobs = Reflector(client, TUNING_JOBS, **watch)
        self.jobs = Reflector(client, JOBS, labels=OURS, **watch)
        self.pods = Reflector(client, PODS, labels=OURS, trim=trim_pod, **watch)
        self.services = Reflector(client, SERVICES, labels=OURS, trim=trim_service, **watch)
        self.reflectors = (self.trials, self.tuning_jobs, self.jobs, self.pods, self.services)
        self.controller = self.another_controller()
        for reflector in self.reflectors:
            reflector.listen(lambda *_: self._changed.set())

    def another_controller(self) -> TrialController:
        return TrialController(
            self.client,
            trials=self.trials,
            jobs=self.jobs,
            pods=self.pods,
            services=self.services,
            tuning_jobs=self.tuning_jobs,
            public_key="PEM",
            clock=self.clock,
            notify=self._hear,
        )

    def _hear(self, _trial: Object, kind: str, reason: str, message: str) -> None:
        self.told.append((kind, reason, message))
        self._changed.set()

    async def until(self, what: str, holds: Callable[[], Any], seconds: float = 20.0) -> Any:
        """Return what `holds` returns, once that is true; it is asked at every change."""
        try:
            async with asyncio.timeout(seconds):
                while not (found := holds()):
                    self._changed.clear()
                    await self._changed.wait()
                return found
        except TimeoutError:
            raise AssertionError(f"never: {what}; {self.summary()}") from None

    async def settle(self) -> None:
        """Wait until the controller has nothing to do."""
        async with asyncio.timeout(30):
            await self.controller.queue.join()

    def summary(self) -> str:
        states = {name: (self.state(name), self.of(name).get("message")) for _, name in self.trials.objects}
        return f"trials {states}, jobs {list(self.jobs.objects)}, pods {list(self.pods.objects)}"

    async def study(self, *, metadata: Object | None = None, **trial: Any) -> None:
        container: Object = {"name": "train", "image": "trainer", "command": ["train"]}
        container["resources"] = {"limits": {"memory": "1Gi", "nvidia.com/gpu": "2"}}
        template = {"metadata": {"annotations": {}}, "spec": {"containers": [container]}}
        spec = {
            "objective": {"metric": "eval_loss"},
            "axis": {"total": 100},
            "parameters": [{"name": "lr", "type": "Float", "min": 0.1, "max": 1}],
            "trial": {"template": template, "retries": 0, **trial},
        }
        body = {"metadata": {"name": STUDY, "namespace": self.namespace, **(metadata or {})}, "spec": spec}
        await self.client.apply(TUNING_JOBS, body)

    async def want(self, number: int = 0, **spec: Any) -> str:
        name = f"{STUDY}-{number:04d}"
        body = {
            "metadata": {"name": name, "namespace": self.namespace, "labels": labels.trial_labels(STUDY, name)},
            "spec": {"job": STUDY, "number": number, "parameters": {"lr": 0.5}, "seed": 1, **spec},
        }
        await self.client.apply(TRIALS, body)
        return name

    def of(self, name: str) -> dict[str, Any]:
        return (self.trials.get(self.namespace, name) or {}).get("status") or {}

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        return next((one for one in self.of(name).get("conditions") or () if one["type"] == kind), {})

    def state(self, name: str) -> str | None:
        return self.condition(name, "Running").get("reason")

    def job(self, name: str) -> Object | None:
        return self.jobs.get(self.namespace, name)

    def pods_of(self, name: str) -> list[Object]:
        pods = (body for (namespace, _), body in self.pods.objects.items() if namespace == self.namespace)
        return [body for body in pods if body["metadata"].get("labels", {}).get(labels.LABEL_TRIAL) == name]

    async def pod(self, name: str, *, beside: tuple[str, ...] = ()) -> Object:
        """Wait for a pod of the trial that is none of `beside`."""
        found = await self.until(
            f"a pod of {name}", lambda: [pod for pod in self.pods_of(name) if name_of(pod) not in beside]
        )
        return dict(found[0])

    async def becomes(self, name: str, state: str) -> dict[str, Any]:
        await self.until(f"{name} is {state}", lambda: self.state(name) == state)
        return self.of(name)

    async def play(self, pod: Object, phase: str, *, state: Object | None = None, **status: Any) -> None:
        """Say of a pod what a kubelet would say."""
        container = {"name": "train", "image": "trainer", "imageID": "", "ready": False, "restartCount": 0}
        body = {"phase": phase, "containerStatuses": [{**container, "state": state or {}}], **status}
        await self.client.patch(
            PODS, {"status": body}, namespace=self.namespace, name=name_of(pod), subresource="status"
        )

    async def start(self, pod: Object, at: datetime | None = None) -> datetime:
        began = (at or self.clock()).replace(microsecond=0)
        stamp = began.isoformat()
        await self.play(pod, "Running", state={"running": {"startedAt": stamp}}, startTime=stamp, podIP="10.9.9.9")
        return began

    async def end(self, pod: Object, code: int, *, at: datetime | None = None, **terminated: Any) -> None:
        finished = (at or self.clock()).replace(microsecond=0).isoformat()
        state = {"terminated": {"exitCode": code, "startedAt": finished, "finishedAt": finished, **terminated}}
        await self.play(pod, "Failed" if code else "Succeeded", state=state)


@asynccontextmanager
async def world(plane: ControlPlane, namespace: str, *, controllers: int = 1) -> AsyncIterator[World]:
    calls: Counter[tuple[str, str]] = Counter()
    options = {"observer": lambda verb, resource, _code, _seconds: calls.update([(verb, resource)])}
    async with await Client.connect(kubeconfig=str(plane.kubeconfig), **options) as client:
        made = World(client, namespace)
        made.calls = calls
        running = [made.controller, *(made.another_controller() for _ in range(controllers - 1))]
        tasks = [asyncio.create_task(one.run()) for one in (*made.reflectors, *running)]
        try:
            async with asyncio.timeout(30):
                for reflector in made.reflectors:
                    await reflector.wait_synced()
            yield made
            broken = [task.exception() for task in tasks if task.done() and not task.cancelled()]
            assert not broken
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
