"""How the client reaches its API server: through the environment's proxy, and without a thread for every request."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.testbed.certificates import Authority

from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.resources import TRIALS


class Server:
    """An API server, or a proxy that answers in its place; it knows what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __aenter__(self) -> Server:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(str(request.url))
        return web.json_response({"metadata": {"name": "t"}})


def kubeconfig(folder: Path, url: str) -> str:
    file = folder / "config"
    names = {"name": "here", "context": {"cluster": "here", "user": "me"}}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [names],
        "clusters": [{"name": "here", "cluster": {"server": url}}],
        "users": [{"name": "me", "user": {"token": "secret"}}],
    }
    file.write_text(json.dumps(content))
    return str(file)


async def test_a_request_needs_no_other_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Server() as server, await Client.connect(kubeconfig=kubeconfig(tmp_path, server.url)) as client:
        await client.get(TRIALS, namespace="n", name="t")

        def refuse(*_: Any) -> None:
            raise AssertionError("a thread for a request")

        monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", refuse)
        await client.get(TRIALS, namespace="n", name="t")
        monkeypatch.undo()
        assert len(server.asked) == 2


async def test_the_proxy_of_the_environment_is_used_but_for_what_it_excepts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Server() as proxy, Server() as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        async with await Client.connect(kubeconfig=kubeconfig(tmp_path, "http://cluster.example")) as client:
            await client.get(TRIALS, namespace="n", name="t")
        assert len(proxy.asked) == 1
        assert proxy.asked[0].startswith("http://cluster.example/")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with await Client.connect(kubeconfig=kubeconfig(tmp_path, server.url)) as client:
            await client.get(TRIALS, namespace="n", name="t")
        assert (len(proxy.asked), len(server.asked)) == (1, 1)


async def test_no_connection_outlives_its_client_even_if_the_server_never_says_goodbye(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    pair = authority.serving("server", ["127.0.0.1"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    asked: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()
        asked.put_nowait(writer)

    async with await asyncio.start_server(hang, "127.0.0.1", 0, ssl=context) as server:
        address = server.sockets[0].getsockname()
        config = authority.kubeconfig(tmp_path / "config", f"https://127.0.0.1:{address[1]}", "me", [])
        async with await Client.connect(kubeconfig=str(config)) as client:
            request = asyncio.create_task(client.get(TRIALS, namespace="n", name="t"))
            writer = await asked.get()
            request.cancel()
            await asyncio.wait([request])
            before = len(connected_to(address))
        after = len(connected_to(address))
        writer.transport.abort()
    assert (before, after) == (1, 0)


def connected_to(address: tuple[str, int]) -> list[socket.socket]:
    """Return this process' open sockets whose other end is at an address."""
    sockets = [one for one in gc.get_objects() if type(one) is socket.socket and one.fileno() != -1]
    return [one for one in sockets if one.type is socket.SOCK_STREAM and _peer(one) == address]


def _peer(one: socket.socket) -> Any:
    try:
        return one.getpeername()
    except OSError:
        return None
