"""The load runs: what is applied, what is waited for, and what was measured meanwhile."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.load.bed import Bed
from benchmarks.load.curves import REPORTS, TOTAL
from benchmarks.load.players import ANNOTATION
from benchmarks.load.usage import Meter, Usage

from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.errors import AlreadyExists
from tuning_operator.backends.kubernetes.jobs import render_job
from tuning_operator.backends.kubernetes.resources import JOBS, TRIALS, TUNING_JOBS, Object, Resource

NAMESPACES: Final = Resource(group="", version="v1", plural="namespaces", kind="Namespace")
ACCOUNTS: Final = Resource(group="", version="v1", plural="serviceaccounts", kind="ServiceAccount")
TEMPLATE_SECONDS: Final = 3600.0
_AT_ONCE: Final = 32
"""Requests of the plain client at once; as many as the operator allows itself."""


@dataclass
class Outcome:
    """What one load run showed.

    Attributes:
        applied: When each TuningJob was sent, seconds since the epoch.
        trials: The Trials as they were at the end.
        wall: Seconds from the first apply to the end of what was waited for.
        load: The machine's load average (one minute) before and after.
    """

    name: str
    namespace: str
    interval: float
    count: int
    applied: dict[str, float] = field(default_factory=dict)
    trials: list[Object] = field(default_factory=list)
    began: float = 0.0
    ended: float = 0.0
    wall: float = 0.0
    usage: Usage = field(default_factory=Usage)
    load: tuple[float, float] = (0.0, 0.0)


Tell = Callable[[str, int, int], None]
"""Told what is going on, how much of it is done, and of how much."""


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Carries out load runs on a bed."""

    bed: Bed
    client: Client
    tell: Tell
    patience: float = 3600.0

    async def study(
        self, name: str, *, algorithm: str, jobs: int, trials: int, parallel: int, seconds: float, interval: float
    ) -> Outcome:
        """Run TuningJobs side by side until all are complete.

        Args:
            trials: Of each job.
            seconds: How long a training takes.
        """
        out = Outcome(name=name, namespace=await self._namespace(name), interval=interval, count=jobs * trials)
        with self._measured(out):
            for number in range(jobs):
                body = manifest(
                    out.namespace,
                    f"study-{number:02d}",
                    algorithm=algorithm,
                    seed=number,
                    trials=trials,
                    parallel=parallel,
                    seconds=seconds,
                    interval=interval,
                )
                out.applied[body["metadata"]["name"]] = time.time()
                await self.client.create(TUNING_JOBS, body)
            await self._complete(out, jobs)
        await self._take_away(out, *out.applied)
        return out

    async def all_at_once(
        self, name: str, *, trials: int, seconds: float, interval: float, watch: float
    ) -> tuple[Outcome, Outcome]:
        """Apply one job whose trials all run at once; then watch them for a while.

        They are drawn at random: a model of a thousand trials takes longer than everything that is measured here.

        Returns:
            From the apply until all pods run; and from there on, with all of them alive.
        """
        starting = Outcome(name=name, namespace=await self._namespace(name), interval=interval, count=trials)
        with self._measured(starting):
            body = manifest(
                starting.namespace,
                "study-00",
                algorithm="Random",
                seed=0,
                trials=trials,
                parallel=trials,
                seconds=seconds,
                interval=interval,
            )
            starting.applied["study-00"] = time.time()
            await self.client.create(TUNING_JOBS, body)
            await self._pods(starting.namespace, trials, "pods run")
        self._until_last_start(starting, trials)
        living = Outcome(name=f"{name}, alive", namespace=starting.namespace, interval=interval, count=trials)
        with self._measured(living):
            for second in range(round(watch)):
                self.tell(f"{name}: all alive", second, round(watch))
                await asyncio.sleep(1)
        await self._take_away(living, "study-00")
        return starting, living

    async def plain(self, name: str, *, jobs: int) -> Outcome:
        """Let a plain client apply as many Jobs as an operator would make, the very same, and wait for their pods."""
        out = Outcome(name=name, namespace=await self._namespace(name), interval=0.0, count=jobs)
        body = manifest(
            out.namespace,
            "plain",
            algorithm="Random",
            seed=0,
            trials=1,
            parallel=1,
            seconds=TEMPLATE_SECONDS,
            interval=5.0,
        )
        spec = TuningJobSpec.model_validate(body["spec"])

        def apply(number: int) -> Awaitable[Object]:
            return self.client.apply(JOBS, plain_job(out.namespace, spec, number), manager="plain")

        with self._measured(out):
            await self._at_once(apply, jobs)
            await self._pods(out.namespace, jobs, "pods run")
        self._until_last_start(out, jobs)
        await self._at_once(
            lambda number: self.client.delete(JOBS, namespace=out.namespace, name=f"plain-{number:04d}"), jobs
        )
        await self._take_away(out)
        return out

    def _until_last_start(self, out: Outcome, count: int) -> None:
        """Count until the last pod was seen to run, not until this process asked for it."""
        out.wall = self.bed.summary(out.namespace)["started"][count - 1] - out.began

    async def _namespace(self, name: str) -> str:
        namespace = "load-" + "".join(letter if letter.isalnum() else "-" for letter in name.lower())
        try:
            await self.client.create(NAMESPACES, {"metadata": {"name": namespace}})
        except AlreadyExists:
            raise RuntimeError(f"two load runs are called {name}") from None
        await self._until(
            "the namespace has its service account",
            lambda: self._count(ACCOUNTS, namespace),
            lambda count: count > 0,
        )
        return namespace

    async def _pods(self, namespace: str, wanted: int, what: str) -> None:
        def count() -> Any:
            return asyncio.to_thread(lambda: len(self.bed.summary(namespace)["started"]))

        await self._until(what, count, lambda found: found >= wanted, of=wanted)

    async def _complete(self, out: Outcome, jobs: int) -> None:
        done = Counter[str]()

        async def ended() -> int:
            bodies, _ = await self.client.list(TUNING_JOBS, namespace=out.namespace)
            done.clear()
            total = 0
            for body in bodies:
                status = body.get("status") or {}
                done[_end(status)] += 1
                counts = status.get("trials") or {}
                total += sum(counts.get(kind, 0) for kind in ("completed", "stoppedEarly", "failed"))
            return total

        await self._until(
            f"{out.name}: trials ended",
            ended,
            lambda _: done["Complete"] == jobs or done["Failed"] > 0,
            of=out.count,
            pause=1.0,
        )
        if done["Failed"]:
            raise RuntimeError(f"{out.name}: {done['Failed']} jobs failed; see {self.bed.plane.logs}")

    async def _take_away(self, out: Outcome, *tuning_jobs: str) -> None:
        """Keep what the Trials say, delete everything, and wait until the pods are gone."""
        out.trials, _ = await self.client.list(TRIALS, namespace=out.namespace)
        for name in tuning_jobs:
            await self.client.delete(TUNING_JOBS, namespace=out.namespace, name=name)

        def alive() -> Any:
            return asyncio.to_thread(lambda: self.bed.summary(out.namespace)["alive"])

        await self._until(f"{out.name}: cleaning up", alive, lambda left: left == 0, of=0, pause=1.0)
        await self.client.delete(NAMESPACES, namespace=None, name=out.namespace)

    async def _at_once(self, request: Callable[[int], Awaitable[Any]], count: int) -> None:
        room = asyncio.Semaphore(_AT_ONCE)

        async def one(number: int) -> None:
            async with room:
                await request(number)

        await asyncio.gather(*(one(number) for number in range(count)))

    async def _count(self, resource: Resource, namespace: str) -> int:
        return len((await self.client.list(resource, namespace=namespace))[0])

    async def _until(
        self, what: str, ask: Callable[[], Any], holds: Callable[[int], bool], *, of: int = 1, pause: float = 0.2
    ) -> None:
        deadline = time.monotonic() + self.patience
        while not holds(found := await ask()):
            self.tell(what, found, of)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: {found} of {of} within {self.patience:.0f} s; logs: {self.bed.plane.logs}")
            await asyncio.sleep(pause)
        self.tell(what, of, of)

    @contextmanager
    def _measured(self, out: Outcome) -> Iterator[None]:
        ours = [process.pid for process in self.bed.plane.instance.processes]
        meter = Meter(operator=self.bed.operator.pid, ours=[*ours, os.getpid()], probes=self.bed.probes)
        before = os.getloadavg()[0]
        out.usage, out.began = meter.usage, time.time()
        with meter:
            yield
            out.ended = time.time()
        out.wall = out.ended - out.began
        out.load = (before, os.getloadavg()[0])


def manifest(
    namespace: str, name: str, *, algorithm: str, seed: int, trials: int, parallel: int, seconds: float, interval: float
) -> Object:
    """Return a TuningJob whose trainings take `seconds` each."""
    template = {
        "metadata": {"annotations": {ANNOTATION: f"{seconds:g}"}},
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [{"name": "train", "image": "trainer", "command": ["train"]}],
        },
    }
    spec = {
        "objective": {"metric": "eval_loss"},
        "axis": {"total": TOTAL},
        "parameters": [
            {"name": "lr", "type": "Float", "min": 1e-4, "max": 1e-1, "scale": "Log", "live": True},
            {"name": "width", "type": "Int", "min": 32, "max": 512, "scale": "Log"},
        ],
        "search": {"algorithm": algorithm, "seed": seed},
        "stopping": [{"rule": "Percentile"}, {"rule": "Divergence"}],
        "control": [{"rule": "CoolDown", "fraction": 0.9}],
        "budget": {"trials": trials, "parallel": parallel, "failedTrials": trials},
        "metrics": {"interval": f"{interval * 1000:.0f}ms"},
        "trial": {"template": template, "retries": 0},
    }
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def plain_job(namespace: str, spec: TuningJobSpec, number: int) -> Object:
    """Return the Job that the operator would make of a trial, owned by nothing and trained by nobody."""
    name = f"plain-{number:04d}"
    trial = {
        "metadata": {"name": name, "namespace": namespace, "uid": "00000000-0000-0000-0000-000000000000"},
        "spec": {"job": "plain", "number": number, "parameters": {"lr": 0.003, "width": 64}, "seed": number},
    }
    job = render_job(trial, spec=spec, public_key="-----BEGIN PUBLIC KEY-----", queue={})
    del job["metadata"]["ownerReferences"]
    # The operator has its Jobs under its own label; these are none of its business.
    for metadata in (job["metadata"], job["spec"]["template"]["metadata"]):
        metadata["labels"] = {"app.kubernetes.io/part-of": "plain"}
    return job


def _end(status: Object) -> str:
    for condition in status.get("conditions") or ():
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return str(condition["type"])
    return ""


__all__ = ["REPORTS", "Outcome", "Runner", "manifest", "plain_job"]
