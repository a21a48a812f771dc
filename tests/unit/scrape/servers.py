"""Servers that answer as trials should not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Talk = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(talk: Talk) -> AsyncIterator[str]:
    """Serve on a free port; `talk` gets the request's first line and writes whatever it likes."""
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await talk(head.decode().split("\r\n")[0], writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            connections.discard(task)
            writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()[:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        listening.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


def answers(body: bytes | str, *, status: int = 200, headers: str = "") -> Talk:
    """Answer everything with one body."""
    content = body.encode() if isinstance(body, str) else body

    async def talk(request: str, writer: asyncio.StreamWriter) -> None:
        writer.write(
            f"HTTP/1.1 {status} Said\r\nContent-Length: {len(content)}\r\nConnection: close\r\n{headers}\r\n".encode()
        )
        writer.write(content)
        await writer.drain()

    return talk


def page(text: str) -> Talk:
    """Answer `/metrics` with a page and know no `/history`."""

    async def talk(request: str, writer: asyncio.StreamWriter) -> None:
        is_metrics = request.split(" ")[1].startswith("/metrics")
        await answers(text if is_metrics else "no such page", status=200 if is_metrics else 404)(request, writer)

    return talk
