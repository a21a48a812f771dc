"""The connections of a client, and their end: none is left to outlive the event loop.

TLS says goodbye and waits for the other side's. A connection that is closed while a request is under way, or after it
was idle for long, waits so on its own, up to 30 s; where the loop ends before, its socket stays open until the garbage
is collected. So sockets are remembered, and those that still wait when the client ends are shut down: their transports
see the end of the stream and close.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final
from weakref import WeakSet

import aiohttp
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject

_LOOK: Final = 0.01
_LOOKS: Final = 500
"""Looks at whether all are closed, `_LOOK` seconds apart: 5 s, then they are left to the loop."""


class Sockets:
    """The sockets of one connector that are still open; `make` is its `socket_factory`."""

    def __init__(self) -> None:
        self._made: WeakSet[socket.socket] = WeakSet()

    def make(self, address: tuple[Any, ...]) -> socket.socket:
        """Make a socket for an address, and remember it."""
        family, kind, protocol, *_ = address
        made = socket.socket(family=family, type=kind, proto=protocol)
        self._made.add(made)
        return made

    async def end(self) -> None:
        """Shut down what is still open, and return when it is closed; to be called once the connector is closed."""
        for one in self._open():
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for _ in range(_LOOKS):
            if not self._open():
                return
            await asyncio.sleep(_LOOK)

    def _open(self) -> list[socket.socket]:
        return [one for one in self._made if one.fileno() != -1]


class Connections(RESTClientObject):
    """The official client's transport, with an end that waits for every socket."""

    def __init__(self, configuration: Configuration) -> None:
        super().__init__(configuration)
        self._sockets = Sockets()

    async def close(self) -> None:
        """Close all connections, and return when the last socket is."""
        await super().close()
        await self._sockets.end()

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(limit=self.maxsize, ssl=self.ssl_context, socket_factory=self._sockets.make)
