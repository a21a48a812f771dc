"""A whole job in lockstep: the operator as it runs, the real Job controller, and trials that wait until they are heard.

A trial makes its next evaluation only when all that was said before is recorded, judged and obeyed, whatever happened
to operator and API server meanwhile. So nothing that is decided may depend on when it was decided, and the records of
two runs can be compared to the last digit. What this leaves open is how long things take and how often they are tried.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.controlplane.trainings import STRIDE, TOTAL, Curve, Site, Training, newest_mark
from tests.testbed.controlplane import free_ports

from trial_protocol import names
from tuning_operator.backends.kubernetes import labels
from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.errors import Conflict, NotFound
from tuning_operator.backends.kubernetes.outcome import EXIT_TERMINATED
from tuning_operator.backends.kubernetes.reflector import Reflector
from tuning_operator.backends.kubernetes.resources import PODS, TRIALS, TUNING_JOBS, Object, name_of

JOB = "digits"
_POLL = 0.02


@dataclass(frozen=True, kw_only=True)
class Mishaps:
    """What happens to trials, by number."""

    misconfigured: frozenset[int] = frozenset()
    """Their pods exit with 64 at once."""
    evicted: frozenset[int] = frozenset()
    """Their first pod is evicted when it has evaluated twice."""


class Lockstep:
    """The trials of one job in one namespace, and the kubelet of their pods.

    Args:
        together: Step up to which trials go on side by side. Beyond it one goes on at a time, so that no two end at
            once: which of two ended first is nobody's decision, and may be seen in what is proposed next.
        evaluations: Trials that follow when the search has ended.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        curve: Curve,
        *,
        trials: int,
        parallel: int,
        evaluations: int = 0,
        together: int = 26,
        mishaps: Mishaps | None = None,
    ) -> None:
        self.trainings: dict[str, Training] = {}
        self.jobs_seen: dict[str, set[str]] = {}
        """The uids of all Jobs that a trial ever had, by its identity."""
        self.twins: list[str] = []
        """Trials that had two pods at once."""
        self.moves = 0
        self.port = free_ports(1)[0]
        """At which trials answer, each on an address of its own."""
        self._client = client
        self._namespace = namespace
        self._trials = Reflector(client, TRIALS, namespace=namespace)
        self._pods = Reflector(client, PODS, namespace=namespace)
        self._changed = asyncio.Event()
        self._pods_changed = asyncio.Event()
        self._trials.listen(lambda *_: self._changed.set())
        self._pods.listen(lambda *_: self._pods_changed.set())
        self._curve = curve
        self._searched = trials
        self._all = trials + evaluations
        self._parallel = parallel
        self._together = together
        self._mishaps = mishaps or Mishaps()
        self._sites: dict[str, Site] = {}
        self._evicted: dict[str, float] = {}
        self._addresses = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch the objects and play the kubelet."""
        tasks = [asyncio.create_task(one) for one in (self._trials.run(), self._pods.run(), self.serve_pods())]
        try:
            yield
            for task in tasks:
                assert not task.done(), task.exception()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for site in self._sites.values():
                await site.close()

    async def moves_made(self) -> AsyncIterator[int]:
        """Let the job go on move by move, until it is complete; yield after each move, before anybody has seen it."""
        while True:
            active = await self.settle()
            if active is None:
                return
            await self._move(sorted(active, key=lambda training: (training.step, training.name)))
            self.moves += 1
            yield self.moves

    async def settle(self, seconds: float = 120.0) -> list[Training] | None:
        """Wait until everything that was said is recorded, judged and obeyed; return what trains, None at the end."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    self._changed.clear()
                    active = self._active()
                    if self._is_settled(active):
                        # A cache may be behind: what was looked at since may have been judged.
                        looks = {name: training.looks for name, training in self.trainings.items()}
                        active = [await self._read(trial) for trial in active]
                        if self._is_settled(active, looks):
                            return [self.trainings[name_of(trial)] for trial in active]
                    elif not active and self._trials.objects and await self._is_complete():
                        return None
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), _POLL)
        except TimeoutError:
            raise AssertionError(f"nothing goes on any more: {self._tell()}") from None

    def _active(self) -> list[Object]:
        return [trial for trial in self._trials.objects.values() if "end" not in (trial.get("status") or {})]

    async def _read(self, trial: Object) -> Object:
        return await self._client.get(TRIALS, namespace=self._namespace, name=name_of(trial))

    def _is_settled(self, active: list[Object], looks: dict[str, int] | None = None) -> bool:
        ended = len(self._trials.objects) - len(active)
        left = (self._searched if ended < self._searched else self._all) - ended
        if not active or len(active) != min(self._parallel, left):
            return False
        heard = [self._is_heard(trial, looks) for trial in active]
        return all(heard)

    def _is_heard(self, trial: Object, looks: dict[str, int] | None) -> bool:
        training, status = self.trainings.get(name_of(trial)), trial.get("status") or {}
        if (
            "end" in status
            or training is None
            or trial["spec"]["desired"] != "Running"
            or status.get("pod") != training.pod
        ):
            return False
        if trial["spec"]["control"]["revision"] != training.revision:
            return False
        if newest_mark(status) != training.mark:
            training.needed = training.looks + 2
            return False
        return (training.looks if looks is None else looks.get(training.name, 0)) >= training.needed

    async def _is_complete(self) -> bool:
        job = await self._client.get(TUNING_JOBS, namespace=self._namespace, name=JOB)
        conditions = (job.get("status") or {}).get("conditions") or ()
        return any(one["type"] == "Complete" and one["status"] == "True" for one in conditions)

    async def _move(self, active: list[Training]) -> None:
        whole = [training for training in active if training.step == TOTAL]
        if whole:
            pod, whole[0].pod = whole[0].pod, ""
            await self._end(pod, "Succeeded", 0, whole[0].result().to_json())
            return
        for training in active:
            number = int(training.name.rpartition("-")[2])
            if number in self._mishaps.evicted and training.life == 0 and len(training.records) == 2:
                training.go_back()
                self._evicted[training.name] = asyncio.get_running_loop().time()
                disrupted = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
                pod, training.pod = training.pod, ""
                await self._end(pod, "Failed", EXIT_TERMINATED, "", conditions=[disrupted])
                return
        early = [training for training in active if training.step + STRIDE <= self._together]
        for training in early or active[:1]:
            training.advance(self._curve)

    async def until(self, name: str, holds: Callable[[Object], bool]) -> None:
        """Wait until something holds of a Trial."""
        async with asyncio.timeout(30):
            while not holds(self._trials.get(self._namespace, name) or {}):
                self._changed.clear()
                await self._changed.wait()

    def forget(self, name: str) -> None:
        """Take a trial for gone; another one may get its name."""
        del self.trainings[name]

    # The kubelet.

    async def serve_pods(self) -> None:
        """Say of pods what a kubelet would say, until cancelled."""
        while True:
            self._pods_changed.clear()
            await self._serve_pods()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._pods_changed.wait(), 0.3)

    async def _serve_pods(self) -> None:
        pods = self._pods.objects.values()
        there = {name_of(pod) for pod in pods}
        for name in [name for name in self._sites if name not in there]:
            await self._sites.pop(name).close()
        living: list[str] = []
        for pod in list(pods):
            trial, phase = pod["metadata"]["labels"][labels.LABEL_TRIAL], pod["status"].get("phase")
            owner = pod["metadata"]["ownerReferences"][0]["uid"]
            self.jobs_seen.setdefault(_variables(pod)[names.ENV_IDENTITY], set()).add(owner)
            if phase not in ("Succeeded", "Failed") and not pod["metadata"].get("deletionTimestamp"):
                living.append(trial)
                if phase == "Pending":
                    await self._start(pod, trial)
        self.twins += [trial for trial in set(living) if living.count(trial) > 1]

    async def _start(self, pod: Object, trial: str) -> None:
        name, number = name_of(pod), int(trial.rpartition("-")[2])
        if number in self._mishaps.misconfigured:
            await self._end(name, "Failed", names.EXIT_CONFIGURATION_ERROR, "no such data set")
            return
        if asyncio.get_running_loop().time() - self._evicted.get(trial, 0.0) < 1.1:
            return  # Pods tell their start in whole seconds.
        variables = _variables(pod)
        training = self.trainings.setdefault(trial, Training(trial, variables))
        training.pod = name
        if name not in self._sites:
            self._addresses += 1
            address = f"127.9.{self._addresses // 250}.{self._addresses % 250 + 1}"
            site = self._sites[name] = Site(
                training, address=address, port=self.port, public_key=variables[names.ENV_PUBLIC_KEY]
            )
            await site.open()
        await self._say(name, "Running", {"running": {"startedAt": _now()}}, podIP=self._sites[name].address)

    async def _end(self, pod: str, phase: str, code: int, message: str, **status: Any) -> None:
        ended = {"exitCode": code, "startedAt": _now(), "finishedAt": _now(), "message": message}
        site = self._sites.pop(pod, None)
        if site is not None:
            await site.close()
        await self._say(pod, phase, {"terminated": ended}, **status)

    async def _say(self, pod: str, phase: str, state: Object, **status: Any) -> None:
        container = {"name": "train", "image": "trainer", "imageID": "", "ready": False, "restartCount": 0}
        body = {"phase": phase, "startTime": _now(), "containerStatuses": [{**container, "state": state}], **status}
        with suppress(NotFound, Conflict):
            await self._client.patch(PODS, {"status": body}, namespace=self._namespace, name=pod, subresource="status")

    def _tell(self) -> str:
        told = []
        for trial in self._active():
            status = dict(trial.get("status") or {})
            marks = status.pop("marks", [])
            told.append(f"{trial['spec']} {status} {marks[-1:]} {self.trainings.get(name_of(trial))}")
        return "; ".join(told) or "no trial is active"


def _variables(pod: Object) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in pod["spec"]["containers"][0]["env"]}


def _now() -> str:
    return datetime.now(UTC).replace(microsecond=0).isoformat()


@asynccontextmanager
async def lockstep(client: Client, namespace: str, curve: Curve, **options: Any) -> AsyncIterator[Lockstep]:
    made = Lockstep(client, namespace, curve, **options)
    async with made.running():
        yield made
