"""Played trials that show what the real client shows, to whoever scrapes them: the operator, or a Prometheus server.

A trial goes on when its newest evaluation has been read: by the operator, or (a scrape may be lost) when the server has
it. So both find every evaluation, and what they make of it can be compared to the last digit.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any

from aiohttp import web
from tests.controlplane.played_trials import TOTAL, Played, Players
from tests.controlplane.studies import World, falling
from tests.testbed.controlplane import ControlPlane
from tests.testbed.errors import TestbedError
from tests.testbed.prometheus import Prometheus

from trial_protocol import names
from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.mark_lines import read_mark
from tuning_operator.backends.kubernetes.reflector import Reflector
from tuning_operator.backends.kubernetes.resources import Object
from tuning_operator.backends.kubernetes.site import Endpoint
from tuning_trainer.exposition import Standing, render
from tuning_trainer.state import TrialState


def pod_of(trial: str) -> str:
    return f"{trial}-pod"


class ScrapedPlayers(Players):
    """Trials with the real exposition.

    Attributes:
        server: The server that reads them; without one, the operator does.
        hidden: Trials whose page is not found.
    """

    def __init__(self, client: Client, trials: Reflector) -> None:
        super().__init__(client, trials, falling, pace=1)
        self.server: Prometheus | None = None
        self.hidden: set[str] = set()
        self._states: dict[str, TrialState] = {}

    @property
    def port(self) -> int:
        return self._port

    def scrape_configs(self, namespace: str, trials: int, **labels: str) -> list[dict[str, Any]]:
        """What a PodMonitor makes of the pods: their namespace and name as labels."""
        trials_ = [f"digits-{number:04d}" for number in range(trials)]
        return [
            {
                "job_name": "trials",
                "params": {"window": ["prometheus"]},
                "static_configs": [
                    {
                        "targets": [f"127.0.0.1:{self.port}"],
                        "labels": {
                            "__metrics_path__": f"/{name}/metrics",
                            "namespace": namespace,
                            "pod": pod_of(name),
                            **labels,
                        },
                    }
                    for name in trials_
                ],
                # As pods have addresses of their own, each has an instance of its own.
                "relabel_configs": [{"source_labels": ["pod"], "target_label": "instance"}],
            }
        ]

    def endpoint(self, trial: Object) -> Endpoint | None:
        status, name = trial.get("status") or {}, trial["metadata"]["name"]
        if name not in self.trials or status.get("reason") or status.get("pod") != pod_of(name):
            return None
        return Endpoint(url=f"http://127.0.0.1:{self._port}/{name}", pod=pod_of(name))

    async def _metrics(self, request: web.Request) -> web.Response:
        name = request.match_info["trial"]
        played = self.trials.get(name)
        if played is None or name in self.hidden:
            raise web.HTTPNotFound
        if self.server is None:
            self._go_on(name, played)
        state = self._states.setdefault(name, TrialState(monotonic=lambda: 0.0))
        snapshot = state.snapshot(scraper=request.query.get("window", ""))
        standing = Standing(
            attempt=1,
            revision=played.revision,
            learning_rate_scale=played.scale,
            fraction=played.step / TOTAL,
        )
        body, kind = render(snapshot, standing, accept=request.headers.get("Accept", ""), requested=())
        return web.Response(body=body, headers={"Content-Type": kind})

    async def follow(self, server: Prometheus) -> None:
        """Let trials go on as the server takes in what they say."""
        while True:
            await asyncio.sleep(0.05)
            try:
                found = await asyncio.to_thread(server.query, names.METRIC_EVALUATION_STEP)
            except (OSError, TestbedError):
                continue
            read = {one["metric"]["pod"]: float(one["value"][1]) for one in found}
            for name, played in self.trials.items():
                if name not in self.hidden and played.step == read.get(pod_of(name), 0):
                    self._go_on(name, played)

    def _go_on(self, name: str, played: Played) -> None:
        state = self._states.setdefault(name, TrialState(monotonic=lambda: 0.0))
        before = played.step
        self._advance(played)
        if played.step == before:
            played.told = TOTAL
            self._work.put_nowait((self._namespace_of(name), name))
            return
        record = played.records[-1]
        for step in range(before + 1, played.step + 1):
            state.record_step(step, record.values["eval_loss"], None, record.learning_rate, None, None)
        values = {"eval_loss": record.values["eval_loss"]}
        state.report(step=record.step, time=record.time, counters={}, values=values, learning_rate=record.learning_rate)
        # A training goes on while the newest evaluation is shown.
        state.record_step(played.step + 1, record.values["eval_loss"], None, 0.123, None, None)

    def _lifecycle(self, body: Object) -> dict[str, Any] | None:
        status, name = dict(body.get("status") or {}), body["metadata"]["name"]
        if status.get("pod") == pod_of(name):
            status["pod"] = "running"
        found = super()._lifecycle({**body, "status": status})
        return None if found is None else {**found, "pod": pod_of(name) if found["pod"] else ""}


@asynccontextmanager
async def scraped_world(plane: ControlPlane, namespace: str) -> AsyncIterator[tuple[World, ScrapedPlayers]]:
    """A namespace whose trials are read by the operator, until `served` says otherwise."""
    async with await Client.connect(kubeconfig=str(plane.kubeconfig)) as client:
        made = World(client, namespace, falling)
        players = made.players = ScrapedPlayers(client, made.trials)
        tasks = [asyncio.create_task(one.run()) for one in (made.jobs, made.trials)]
        try:
            for reflector in (made.jobs, made.trials):
                await reflector.wait_synced()
            async with players.running():
                yield made, players
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def served(
    start: Callable[..., AbstractContextManager[Prometheus]],
    players: ScrapedPlayers,
    configs: list[dict[str, Any]],
    **options: Any,
) -> AsyncIterator[Prometheus]:
    """Run a server that scrapes the trials."""
    with start(configs, interval="150ms", **options) as server:
        players.server = server
        task = asyncio.create_task(players.follow(server))
        try:
            yield server
            assert not task.done(), task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def ledger(here: World) -> list[tuple[Any, ...]]:
    """What was recorded and decided, without numbers and times of the log."""
    marks = [
        (name, repr(mark.at), mark.attempt)
        for (_, name), body in sorted(here.trials.objects.items())
        for line in (body.get("status") or {}).get("marks") or ()
        for mark in [read_mark(line, trial=body["spec"]["number"])]
    ]
    return here.decisions() + marks + ends(here)


def ends(here: World) -> list[tuple[Any, ...]]:
    """How trials ended; what a stopped trial did while it was being stopped is nobody's concern."""
    found = []
    for (_, name), body in sorted(here.trials.objects.items()):
        end = body["status"]["end"]
        completed = end["reason"] == "Completed"
        found.append((name, end["reason"], end.get("value") if completed else None))
    return found
