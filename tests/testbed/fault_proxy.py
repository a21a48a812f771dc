"""A proxy in front of the real API server that breaks requests on purpose, so that no test imitates the server.

A fault answers instead of the server, or late, or lets the request through and loses the answer (which looks the same
to a client and is not). A watch may end between two lines or in the middle of one.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from tests.testbed.controlplane import LOOPBACK, ControlPlane

from tuning_operator.backends.kubernetes.connections import Sockets

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "content-encoding", "host"})


@dataclass
class Fault:
    """What happens to the next `times` requests that `hits` (given method and path with query) is true for.

    Attributes:
        code: HTTP status to answer with; 0 closes the connection without an answer.
        after: Let the request through first: it takes effect, and only its answer is lost.
        late: Do nothing but wait this many seconds before the request goes through; `code` does not count.
        headers: Of the answer, for example Retry-After.
        body: Of the answer, instead of a Status object.
    """

    hits: Callable[[str, str], bool]
    times: int = 1
    code: int = 0
    reason: str = ""
    after: bool = False
    late: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class FaultProxy:
    """A running proxy; `kubeconfig` leads through it."""

    kubeconfig: Path
    faults: list[Fault] = field(default_factory=list)
    broken: list[tuple[str, str]] = field(default_factory=list)
    watches: set[asyncio.Transport] = field(default_factory=set)
    tearing: set[asyncio.Transport] = field(default_factory=set)

    def tear_watches(self) -> int:
        """End every watch in the middle of the next line that it brings, and return how many there are."""
        self.tearing |= self.watches
        return len(self.tearing)

    def cut_watches(self) -> int:
        """End every watch in the middle, and return how many there were."""
        found = list(self.watches)
        for transport in found:
            transport.abort()
        return len(found)

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault that this request is to suffer, and count it."""
        for fault in self.faults:
            if fault.times > 0 and fault.hits(method, path):
                fault.times -= 1
                self.broken.append((method, path))
                return fault
        return None


@asynccontextmanager
async def fault_proxy(plane: ControlPlane, folder: Path, *, user: str = "") -> AsyncIterator[FaultProxy]:
    """Run a proxy on loopback in front of `plane`, which asks as `user`, without one as the administrator."""
    name, groups = (user, []) if user else ("fault-proxy", ["system:masters"])
    pair = plane.authority.client(name, name, groups)
    context = ssl.create_default_context(cafile=plane.authority.certificate)
    context.load_cert_chain(pair.certificate, pair.key)
    proxy = FaultProxy(folder / "faulty.kubeconfig")

    async def handle(request: web.Request) -> web.StreamResponse:
        fault = proxy.take(request.method, request.path_qs)
        if fault is not None and fault.late:
            await asyncio.sleep(fault.late)
            fault = None
        if fault is not None and not fault.after:
            return _answer(request, fault)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        url = plane.url + request.path_qs
        async with session.request(request.method, url, headers=headers, data=await request.read() or None) as upstream:
            if fault is not None:
                await upstream.read()
                return _answer(request, fault)
            kept = {name: value for name, value in upstream.headers.items() if name.lower() not in _HOP_BY_HOP}
            response = web.StreamResponse(status=upstream.status, headers=kept)
            await response.prepare(request)
            assert request.transport is not None
            transport = request.transport
            if "watch=true" in request.query_string:
                proxy.watches.add(transport)
            try:
                async for chunk in upstream.content.iter_any():
                    if transport in proxy.tearing:
                        await response.write(chunk[: max(len(chunk) // 2, 1)])
                        transport.close()
                        break
                    await response.write(chunk)
            finally:
                proxy.watches.discard(transport)
                proxy.tearing.discard(transport)
            return response

    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", handle)
    timeout = aiohttp.ClientTimeout(total=None)
    sockets = Sockets()
    connector = aiohttp.TCPConnector(ssl=context, limit=0, socket_factory=sockets.make)
    session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=True)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.5, access_log=None)
    try:
        await runner.setup()
        site = web.TCPSite(runner, LOOPBACK, 0)
        await site.start()
        port = runner.addresses[0][1]
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "faulty",
            "clusters": [{"name": "faulty", "cluster": {"server": f"http://{LOOPBACK}:{port}"}}],
            "users": [{"name": "faulty", "user": {}}],
            "contexts": [{"name": "faulty", "context": {"cluster": "faulty", "user": "faulty"}}],
        }
        await asyncio.to_thread(proxy.kubeconfig.write_text, json.dumps(config))
        yield proxy
    finally:
        await runner.cleanup()
        await session.close()
        await sockets.end()


def _answer(request: web.Request, fault: Fault) -> web.StreamResponse:
    if fault.code == 0:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()
    status: dict[str, Any] = {
        "kind": "Status",
        "status": "Failure",
        "reason": fault.reason,
        "message": "injected",
        "code": fault.code,
    }
    body = fault.body or json.dumps(status).encode()
    return web.Response(status=fault.code, body=body, headers={"Content-Type": "application/json", **fault.headers})
