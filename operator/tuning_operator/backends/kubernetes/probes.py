"""What the process answers to the kubelet and to Prometheus: ``/healthz``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from aiohttp import web
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from tuning_operator.backends.kubernetes.job_series import render
from tuning_operator.backends.kubernetes.leader import Leadership
from tuning_operator.backends.kubernetes.meters import ProcessMeters, WorkMeters
from tuning_operator.backends.kubernetes.metrics import TRIALS_SHOWN
from tuning_operator.backends.kubernetes.service import Service, take_snapshot
from tuning_operator.backends.kubernetes.snapshot import Snapshot

HANGS_AFTER: Final = 600.0
"""Seconds without any sign of life after which a cache counts as dead; its watch gives up long before."""


class Probes:
    """Answers HTTP.

    ``/healthz`` fails when a cache hangs; when the event loop does, there is no answer at all. ``/readyz`` says whether
    this process could lead or does: one that stands by is ready as soon as it has seen who leads, because a Deployment
    replaces its pods one by one only if the new one is ready before the old one gives leadership up. One that leads is
    ready when it knows the cluster.

    Args:
        limit: Trials of each job with metrics of their own.
    """

    def __init__(
        self, address: tuple[str, int], *, meters: ProcessMeters | None = None, limit: int = TRIALS_SHOWN
    ) -> None:
        self._address = address
        self._meters = meters or ProcessMeters()
        self._limit = limit
        self._work: WorkMeters | None = None
        self._services: Sequence[Service] = ()
        self.leadership: Leadership | None = None
        self.port = 0

    def leads(self, services: Sequence[Service], work: WorkMeters) -> None:
        """Say that this process leads now, with what it works."""
        self._services, self._work = services, work

    async def __aenter__(self) -> Probes:
        app = web.Application()
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, *self._address).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _health(self, _: web.Request) -> web.Response:
        for service in self._services:
            for reflector in service.reflectors:
                if reflector.idle > HANGS_AFTER:
                    text = f"the cache of {reflector.resource} has hung for {reflector.idle:.0f} s\n"
                    return web.Response(status=503, text=text)
        return web.Response(text="alive\n")

    async def _ready(self, _: web.Request) -> web.Response:
        if self._services:
            waiting = [one for one in self._services if not (one.is_ready or one.refusal)]
            is_ready = not waiting and any(one.is_ready for one in self._services)
            refusals = [one.refusal for one in self._services if one.refusal]
            text = "\n".join(["leading" if is_ready else "reading the cluster", *refusals])
        else:
            is_ready = self.leadership is not None and self.leadership.holder != ""
            trouble = self.leadership.trouble if self.leadership is not None else ""
            text = "standing by" if is_ready else f"asking who leads: {trouble}" if trouble else "asking who leads"
        return web.Response(status=200 if is_ready else 503, text=text + "\n")

    async def _metrics(self, request: web.Request) -> web.Response:
        """Take what is known in the event loop, and write it down beside it."""
        snapshot = take_snapshot(self._services) if self._services else None
        page = _Page(self._meters, self._work, snapshot, self._limit)
        encode, kind = choose_encoder(request.headers.get("Accept", ""))
        body = await asyncio.to_thread(encode, page)
        return web.Response(body=body, headers={"Content-Type": kind})


class _Page(Collector):
    def __init__(self, meters: ProcessMeters, work: WorkMeters | None, snapshot: Snapshot | None, limit: int) -> None:
        self._meters = meters
        self._work = work
        self._snapshot = snapshot
        self._limit = limit

    def collect(self) -> Iterator[Family]:
        yield from self._meters.collect()
        if self._work is not None:
            yield from self._work.collect()
        if self._snapshot is not None:
            yield from render(self._snapshot, limit=self._limit)
