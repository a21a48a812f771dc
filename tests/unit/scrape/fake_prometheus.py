"""A server that says what a test wants it to say about what it is asked; the real one is in `tests/testbed`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Result = list[dict[str, Any]]


@dataclass
class FakePrometheus:
    """Answers every question with `answer`, and keeps the questions."""

    url: str = ""
    answer: Callable[[str], web.Response] = lambda _: success([])
    questions: list[str] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    path: str = ""


def success(result: Result, **more: Any) -> web.Response:
    return web.Response(
        text=json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}, **more}),
        content_type="application/json",
    )


def failure(status: int, kind: str, error: str) -> web.Response:
    body = json.dumps({"status": "error", "errorType": kind, "error": error})
    return web.Response(status=status, text=body, content_type="application/json")


def series(name: str, *samples: tuple[float, str], pod: str = "job-0000-a", **labels: str) -> dict[str, Any]:
    labels = {"namespace": "team", "pod": pod, "job": "team/trials", "instance": "10.0.0.1:9464", **labels}
    return {"metric": {"__name__": name, **labels}, "values": [list(sample) for sample in samples]}


@asynccontextmanager
async def fake_prometheus() -> AsyncIterator[FakePrometheus]:
    fake = FakePrometheus()

    async def answered(request: web.Request) -> web.Response:
        form = await request.post()
        fake.path = request.path
        fake.questions.append(str(form.get("query")))
        fake.headers.append(dict(request.headers))
        return fake.answer(fake.questions[-1])

    app = web.Application(client_max_size=1 << 24)
    app.router.add_post("/{path:.*}", answered)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield fake
    finally:
        await runner.cleanup()
