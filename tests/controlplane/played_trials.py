"""Trials without pods: one small server answers for all of them, and a task plays their lifecycle in the status."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from tests.controlplane.trainings import take_control

from trial_protocol import names
from trial_protocol.control import generate_key_pair
from trial_protocol.history import HistoryRecord, render_history
from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.errors import ApiError
from tuning_operator.backends.kubernetes.jobs import identity
from tuning_operator.backends.kubernetes.reflector import Key, Reflector
from tuning_operator.backends.kubernetes.resources import TRIALS, Object, key_of
from tuning_operator.backends.kubernetes.site import Endpoint
from tuning_operator.backends.kubernetes.times import format_time

TOTAL = 100
KEYS = generate_key_pair()

Curve = Callable[[dict[str, Any], int], float]
"""From the parameters of a trial and the step to the objective."""


@dataclass
class Played:
    """What one trial has done so far."""

    parameters: dict[str, Any]
    attempt: int = 1
    step: int = 0
    told: int = 0
    revision: int = 0
    scale: float = 1.0
    begin_decay: bool = False
    controls: list[dict[str, Any]] = field(default_factory=list)
    records: list[HistoryRecord] = field(default_factory=list)


class Players:
    """All trials of one namespace. A look at a trial lets it go on by `pace` evaluations of two steps each."""

    def __init__(self, client: Client, trials: Reflector, curve: Curve, *, pace: int = 5) -> None:
        self.trials: dict[str, Played] = {}
        self.silent: set[str] = set()
        """Trials whose server answers 500 to everything."""
        self._client = client
        self._reflector = trials
        self._curve = curve
        self.pace = pace
        self._port = 0
        self._work: asyncio.Queue[Key] = asyncio.Queue()
        trials.listen(lambda _change, body: self._work.put_nowait(key_of(body)))

    def endpoint(self, trial: Object) -> Endpoint | None:
        status = trial.get("status") or {}
        name = trial["metadata"]["name"]
        if name not in self.trials or status.get("reason") or status.get("pod") != "running":
            return None
        return Endpoint(url=f"http://127.0.0.1:{self._port}/{name}")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/{trial}/metrics", self._metrics)
        app.router.add_get("/{trial}/history", self._history)
        app.router.add_put("/{trial}/control", self._control)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._port = runner.addresses[0][1]
        task = asyncio.create_task(self._play())
        try:
            yield
            if task.done():
                task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        name = request.match_info["trial"]
        if name in self.silent:
            raise web.HTTPInternalServerError
        played = self.trials[name]
        self._advance(played)
        values = {
            names.METRIC_STEP: played.step,
            names.METRIC_LEARNING_RATE: played.parameters["lr"] * played.scale,
            names.METRIC_CONTROL_REVISION: played.revision,
            names.METRIC_ATTEMPT: 1,
        }
        if played.records:
            values["eval_loss"] = played.records[-1].values["eval_loss"]
        return web.Response(text="".join(f"{name} {value}\n" for name, value in values.items()))

    def _advance(self, played: Played) -> None:
        if played.controls and played.controls[-1]["revision"] > played.revision:
            control = played.controls[-1]
            played.revision, played.scale = control["revision"], control["scale"]
            played.begin_decay = control["begin_decay"]
        for _ in range(self.pace):
            if played.step < TOTAL:
                played.step += 2
                value = self._curve(played.parameters, played.step)
                played.records.append(
                    HistoryRecord(
                        step=played.step,
                        attempt=1,
                        time=float(played.step),
                        values={"eval_loss": value, names.METRIC_STEP: float(played.step)},
                        learning_rate=played.parameters["lr"] * played.scale,
                        revision=played.revision,
                    )
                )

    async def _history(self, request: web.Request) -> web.Response:
        name = request.match_info["trial"]
        played = self.trials[name]
        first = int(request.query.get("cursor", "0"))
        limit = int(request.query.get("limit", "1000"))
        records = played.records[first : first + limit]
        # The page that is empty shows that the reader has taken in the one before.
        if played.step >= TOTAL and first >= len(played.records):
            played.told = TOTAL
            self._work.put_nowait((self._namespace_of(name), name))
        return web.Response(
            text=render_history(records),
            content_type="application/x-ndjson",
            headers={names.HEADER_NEXT: str(first + len(records))},
        )

    def _namespace_of(self, name: str) -> str:
        return next(namespace for namespace, found in self._reflector.objects if found == name)

    def _identity_of(self, name: str) -> str:
        body = self._reflector.objects[self._namespace_of(name), name]
        return identity(namespace=body["metadata"]["namespace"], name=name, uid=body["metadata"]["uid"])

    async def _control(self, request: web.Request) -> web.Response:
        name = request.match_info["trial"]
        return await take_control(
            request, self.trials[name].controls, public_key=KEYS.public_pem, identity=self._identity_of(name)
        )

    async def _play(self) -> None:
        while True:
            key = await self._work.get()
            body = self._reflector.get(*key)
            if body is None or (status := self._lifecycle(body)) is None:
                continue
            metadata = {"name": key[1], "namespace": key[0], "uid": body["metadata"]["uid"]}
            try:
                written = await self._client.apply(
                    TRIALS,
                    {"metadata": metadata, "status": status},
                    subresource="status",
                    manager="tuning-operator-lifecycle",
                )
            except ApiError:
                continue
            self._reflector.learn(written)

    def _lifecycle(self, body: Object) -> dict[str, Any] | None:
        """The lifecycle part of the status, if it is to change."""
        status, spec, name = body.get("status") or {}, body["spec"], body["metadata"]["name"]
        if status.get("reason"):
            return None
        played = self.trials.get(name)
        desired = spec["desired"]
        used = {"gpuSeconds": "120.0", "computeSeconds": "60.0"}
        if desired == "Stopped":
            return self._say(status, spec["stopReason"], attempt=status.get("attempt", 0), **used)
        if played is not None and played.told >= TOTAL:
            return self._say(status, "Completed", attempt=played.attempt, checkpoint=f"s3://b/{name}", **used)
        if desired == "Paused":
            return None if status.get("pod") == "" else {"attempt": status.get("attempt", 0), "pod": ""}
        if status.get("pod") == "running":
            return None
        if played is None:
            played = self.trials[name] = Played(spec["parameters"])
        else:
            played.attempt += 1
        return {"attempt": played.attempt, "pod": "running", "startTime": format_time(datetime.now(UTC))}

    def _say(self, status: dict[str, Any], reason: str, **fields: Any) -> dict[str, Any]:
        return {"reason": reason, "message": "", "pod": "gone", "startTime": status.get("startTime"), **fields}
