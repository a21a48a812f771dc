"""Played trainings: what their pods answer to whoever scrapes and steers them, and what outlives a pod.

They advance only when they are told to, so nothing in their records depends on time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from trial_protocol import names
from trial_protocol.control import REFUSAL_STATUS, verify_control
from trial_protocol.errors import ControlRefused
from trial_protocol.history import HistoryRecord, render_history
from trial_protocol.result import Outcome, TrialResult
from tuning_operator.backends.kubernetes.mark_lines import read_mark
from tuning_operator.backends.kubernetes.resources import Object

TOTAL = 100
STRIDE = 13
"""Steps between two evaluations: not the distance of the marks, so that values between evaluations count too."""

Curve = Callable[[dict[str, Any], int], float]
"""From the parameters of a trial and the step to the objective."""


@dataclass
class Training:
    """One trial's program: what it has trained lives in its checkpoint, from pod to pod."""

    name: str
    variables: dict[str, str]
    step: int = 0
    farthest: int = 0
    """Step of the newest evaluation that anybody can have seen, those that a lost pod took with it too."""
    records: list[HistoryRecord] = field(default_factory=list)
    controls: list[dict[str, Any]] = field(default_factory=list)
    looks: int = 0
    needed: int = 0
    """Looks after which the operator has taken in, recorded and judged everything."""
    pod: str = ""
    life: int = 0

    @property
    def parameters(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.variables[names.ENV_PARAMETERS])
        return found

    @property
    def revision(self) -> int:
        return self.controls[-1]["revision"] if self.controls else 0

    @property
    def mark(self) -> int:
        """Newest mark that is known: one evaluation lies on each side of it."""
        return self.farthest * 50 // TOTAL if self.farthest > STRIDE else 0

    def advance(self, curve: Curve) -> None:
        """Train until the next evaluation."""
        self.step = min(self.step + STRIDE, TOTAL)
        self.farthest = max(self.farthest, self.step)
        self.needed = self.looks + 2
        self.records.append(
            HistoryRecord(
                step=self.step,
                attempt=1,
                time=datetime.now(UTC).timestamp(),
                values={"eval_loss": curve(self.parameters, self.step), names.METRIC_STEP: float(self.step)},
                learning_rate=self.parameters["lr"] * (self.controls[-1]["scale"] if self.controls else 1.0),
                revision=self.revision,
            )
        )

    def go_back(self) -> None:
        """Start again from the checkpoint before the newest evaluation."""
        self.step -= STRIDE
        del self.records[-1]
        self.life += 1

    def result(self) -> TrialResult:
        values = {"eval_loss": self.records[-1].values["eval_loss"]}
        return TrialResult(outcome=Outcome.COMPLETED, step=self.step, values=values, checkpoint=f"s3://b/{self.name}")


class Site:
    """Answers for one pod on an address of its own."""

    def __init__(self, training: Training, *, address: str, port: int, public_key: str) -> None:
        self.address = address
        self._port = port
        self._training = training
        self._key = public_key
        app = web.Application()
        app.router.add_get(names.PATH_METRICS, self._metrics)
        app.router.add_get(names.PATH_HISTORY, self._history)
        app.router.add_put(names.PATH_CONTROL, self._control)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def open(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, self.address, self._port).start()

    async def close(self) -> None:
        await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        training = self._training
        training.looks += 1
        values = {
            names.METRIC_STEP: training.step,
            names.METRIC_CONTROL_REVISION: training.revision,
            names.METRIC_ATTEMPT: 1,
        }
        if training.records:
            values["eval_loss"] = training.records[-1].values["eval_loss"]
        return web.Response(text="".join(f"{name} {value}\n" for name, value in values.items()))

    async def _history(self, request: web.Request) -> web.Response:
        life, _, place = request.query.get(names.QUERY_CURSOR, "").partition(".")
        first = int(place) if life == str(self._training.life) else 0
        records = self._training.records[first:]
        headers = {names.HEADER_NEXT: f"{self._training.life}.{first + len(records)}"}
        return web.Response(text=render_history(records), content_type="application/jsonl", headers=headers)

    async def _control(self, request: web.Request) -> web.Response:
        identity = self._training.variables[names.ENV_IDENTITY]
        return await take_control(request, self._training.controls, public_key=self._key, identity=identity)


def newest_mark(status: Object) -> int:
    """Return how far a Trial's recorded curve goes, in marks."""
    lines = status.get("marks")
    return read_mark(lines[-1], trial=0).at.mark if lines else 0


async def take_control(
    request: web.Request, controls: list[dict[str, Any]], *, public_key: str, identity: str
) -> web.Response:
    """Answer a control message as a trial does; one that is accepted is added to those that were before."""
    try:
        message = verify_control(
            await request.text(),
            public_key=public_key,
            trial=identity,
            current_revision=controls[-1]["revision"] if controls else 0,
            now=datetime.now(UTC).timestamp(),
        )
    except ControlRefused as error:
        said = {"reason": error.reason, "message": str(error)}
        return web.Response(status=REFUSAL_STATUS[error.reason], text=json.dumps(said))
    controls.append(
        {
            "revision": message.revision,
            "scale": message.learning_rate_scale,
            "begin_decay": message.begin_decay,
            "restore": message.restore,
        }
    )
    return web.Response(text="{}")
