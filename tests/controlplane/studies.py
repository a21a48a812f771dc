"""Studies against a real API server: a job, its played trials, and operators that come and go."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from tests.controlplane.played_trials import KEYS, TOTAL, Curve, Players
from tests.testbed.controlplane import ControlPlane

from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.events import EventPoster
from tuning_operator.backends.kubernetes.reflector import Reflector
from tuning_operator.backends.kubernetes.resources import TRIALS, TUNING_JOBS, Object
from tuning_operator.backends.kubernetes.site import Site
from tuning_operator.backends.kubernetes.studies import Studies
from tuning_operator.backends.kubernetes.work_queue import BackOff
from tuning_operator.scrape.scraper import Scraper
from tuning_operator.scrape.steering import Steering


def falling(parameters: dict[str, Any], step: int) -> float:
    """A loss that is the better the nearer the learning rate is to 0.1; far off it ends as NaN."""
    rate = parameters["lr"]
    if rate > 0.9 and step > 30:
        return math.nan
    return 1.0 + abs(math.log10(rate) + 1) * 2 + math.exp(-step / 20)


def manifest(namespace: str, **spec: Any) -> Object:
    container = {"name": "train", "image": "trainer", "command": ["train"]}
    rates = [0.1, 0.11, 0.12, 0.5, 0.95, 0.105, 0.001, 0.3]
    whole = {
        "objective": {"metric": "eval_loss"},
        "axis": {"total": TOTAL},
        "parameters": [{"name": "lr", "type": "Float", "min": 1e-4, "max": 1.0, "scale": "Log"}],
        "search": {"algorithm": "Random", "seed": 1, "initial": [{"lr": rate} for rate in rates]},
        "stopping": [{"rule": "Percentile", "percentile": 50, "minimumTrials": 2}, {"rule": "Divergence"}],
        "control": [{"rule": "CoolDown", "fraction": 0.3}],
        "audit": 0.0,
        "budget": {"trials": 8, "parallel": 1},
        "metrics": {"interval": "50ms"},
        "trial": {"template": {"spec": {"containers": [container]}}},
        **spec,
    }
    return {"metadata": {"name": "digits", "namespace": namespace}, "spec": whole}


class World:
    """One namespace, its caches, its played trials, and operators that come and go."""

    def __init__(self, client: Client, namespace: str, curve: Curve) -> None:
        self.client = client
        self.namespace = namespace
        self.jobs = Reflector(client, TUNING_JOBS, namespace=namespace)
        self.trials = Reflector(client, TRIALS, namespace=namespace)
        self.players = Players(client, self.trials, curve)
        self._changed = asyncio.Event()
        for reflector in (self.jobs, self.trials):
            reflector.listen(lambda *_: self._changed.set())

    async def until(self, what: str, holds: Callable[[], Any], seconds: float = 40.0) -> Any:
        try:
            async with asyncio.timeout(seconds):
                while not (found := holds()):
                    self._changed.clear()
                    with suppress(TimeoutError):  # What is not an object changes unheard.
                        await asyncio.wait_for(self._changed.wait(), 0.2)
                return found
        except TimeoutError:
            raise AssertionError(f"never: {what}; {self.summary()}") from None

    def summary(self) -> str:
        trials = {
            name: (body["spec"]["desired"], (body.get("status") or {}).get("reason"), len(self.marks(name)))
            for (_, name), body in self.trials.objects.items()
        }
        job = self.jobs.get(self.namespace, "digits") or {}
        return f"{trials}, {(job.get('status') or {}).get('conditions')}"

    def trial(self, number: int) -> Object:
        return self.trials.get(self.namespace, f"digits-{number:04d}") or {}

    def marks(self, name: str) -> list[str]:
        return ((self.trials.get(self.namespace, name) or {}).get("status") or {}).get("marks") or []

    def status(self) -> Object:
        return (self.jobs.get(self.namespace, "digits") or {}).get("status") or {}

    def condition(self, kind: str) -> Object:
        return next((one for one in self.status().get("conditions") or () if one["type"] == kind), {})

    def is_complete(self) -> bool:
        return self.condition("Complete").get("status") == "True"

    def decisions(self) -> list[tuple[Any, ...]]:
        """What was decided, without numbers and times of the log."""
        keys = ("rule", "action", "fraction", "inputs", "sentence", "revision")
        return [
            (name, *(repr(one.get(key)) for key in keys))
            for (_, name), body in sorted(self.trials.objects.items())
            for one in body["spec"].get("decisions") or ()
        ]

    @asynccontextmanager
    async def operator(self, client: Client | None = None) -> AsyncIterator[Studies]:
        """An operator, which is killed at the end."""
        used = client or self.client
        poster = EventPoster(used, instance="test")
        jobs = Reflector(used, TUNING_JOBS, namespace=self.namespace)
        trials = Reflector(used, TRIALS, namespace=self.namespace)
        async with Scraper() as scraper:
            site = Site(
                client=used,
                tuning_jobs=jobs,
                trials=trials,
                scraper=scraper,
                steering=Steering(scraper.fetcher, private_key=KEYS.private_pem),
                endpoint=self.players.endpoint,
                post=poster.post,
                status_pause=0.2,
            )
            studies = Studies(site, back_off=BackOff(first=0.05, longest=0.2))
            tasks = [asyncio.create_task(one.run()) for one in (jobs, trials, studies, poster)]
            try:
                yield studies
                async with asyncio.timeout(10):
                    await poster.drain()
                broken = [task.exception() for task in tasks if task.done()]
                assert not broken
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def world(plane: ControlPlane, namespace: str, curve: Curve = falling) -> AsyncIterator[World]:
    async with await Client.connect(kubeconfig=str(plane.kubeconfig)) as client:
        made = World(client, namespace, curve)
        tasks = [asyncio.create_task(one.run()) for one in (made.jobs, made.trials)]
        try:
            for reflector in (made.jobs, made.trials):
                await reflector.wait_synced()
            async with made.players.running():
                yield made
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
