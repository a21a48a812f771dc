"""The small HTTP server inside a trial.

It must never be a reason for training to stand still: it runs in daemon threads, reads and writes with a time-out,
takes bounded requests only, and gives up the oldest connection when too many are open, so that clients which never
finish their request cannot lock out the operator. One request per connection.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from trial_protocol import names
from trial_protocol.control import MAX_TOKEN_BYTES, REFUSAL_STATUS
from trial_protocol.errors import ControlRefused, ProtocolError, RefusalReason
from tuning_trainer.controls import Controls
from tuning_trainer.evaluations import MAX_PAGE, Evaluations
from tuning_trainer.exposition import Standing, render, wants_window
from tuning_trainer.state import TrialState

CLIENT_TIMEOUT: Final = 5.0
"""Seconds that one read or write may take."""
MAX_CONNECTIONS: Final = 32
_MAX_SCRAPER_NAME: Final = 100


class TrialServer:
    """Answers `GET /metrics`, `GET /history` and `PUT /control` of one trial.

    Args:
        port: 0 lets the system choose one and listens on this machine only; any other listens to the network.
        standing: Tells what is in force, given the counters of a snapshot.
        clock: Seconds since the epoch, for the lifetime of control messages.

    Raises:
        ProtocolError: The port cannot be had.
    """

    def __init__(
        self,
        *,
        port: int,
        state: TrialState,
        evaluations: Evaluations,
        controls: Controls,
        standing: Callable[[Mapping[str, float]], Standing],
        clock: Callable[[], float],
    ) -> None:
        self.state = state
        self.evaluations = evaluations
        self.controls = controls
        self.standing = standing
        self.clock = clock
        try:
            self._server = _HttpServer(port, self)
        except (OSError, OverflowError) as error:
            raise ProtocolError(f"{names.ENV_PORT} is {port}, but this port cannot be served: {error}") from None
        self.port: Final[int] = self._server.server_address[1]
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="tuning-server", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._closing = True
        with suppress(OSError):
            # The thread sleeps until somebody knocks: a loop that looks up now and then would wake for nothing.
            socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
        self._thread.join(timeout=1.0)
        self._server.server_close()

    def _serve(self) -> None:
        while not self._closing:
            self._server.handle_request()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, port: int, trial: TrialServer) -> None:
        self.trial = trial
        self._connections: dict[socket.socket, None] = {}
        self._connections_lock = threading.Lock()
        dual_stack = port != 0 and socket.has_dualstack_ipv6()
        self.address_family = socket.AF_INET6 if dual_stack else socket.AF_INET
        super().__init__(("" if port else "127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not HTTPServer.server_bind, which asks the name service for this machine's name and may wait for it.
        socket.socket.setsockopt(self.socket, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._connections_lock:
            if len(self._connections) >= MAX_CONNECTIONS:
                with suppress(OSError):
                    next(iter(self._connections)).shutdown(socket.SHUT_RDWR)
            self._connections[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._connections_lock:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        error = sys.exception()
        if not isinstance(error, OSError):
            sys.stderr.write(f"tuning: a request could not be answered: {type(error).__name__}: {error}\n")


class _Handler(BaseHTTPRequestHandler):
    timeout = CLIENT_TIMEOUT
    server: _HttpServer

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        try:
            query = parse_qs(url.query, max_num_fields=256)
            if url.path == names.PATH_METRICS:
                self._metrics(query)
            elif url.path == names.PATH_HISTORY:
                self._history(query)
            else:
                self._refuse(404, "NotFound", f"there is no {url.path[:80]!r} here")
        except (ValueError, ProtocolError) as error:
            self._refuse(400, "BadRequest", str(error))

    def do_PUT(self) -> None:
        if urlsplit(self.path).path != names.PATH_CONTROL:
            self._refuse(404, "NotFound", f"there is no {self.path[:80]!r} to put here")
            return
        trial = self.server.trial
        try:
            revision = trial.controls.receive(self._token(), now=trial.clock())
        except ControlRefused as refusal:
            if refusal.reason is not RefusalReason.ALREADY_APPLIED:
                self._refuse(REFUSAL_STATUS[refusal.reason], refusal.reason, str(refusal))
                return
            revision = trial.controls.received_revision
        self._answer(200, json.dumps({"revision": revision}).encode(), "application/json")

    def _metrics(self, query: Mapping[str, list[str]]) -> None:
        trial = self.server.trial
        requested = query.get(names.QUERY_NAMES, [])
        scraper = _last(query, names.QUERY_WINDOW)[:_MAX_SCRAPER_NAME]
        snapshot = trial.state.snapshot(scraper=scraper if wants_window(requested) else None)
        body, content_type = render(
            snapshot,
            trial.standing(snapshot.counters),
            accept=self.headers.get("Accept", ""),
            requested=requested,
        )
        self._answer(200, body, content_type, {names.HEADER_NEXT: trial.evaluations.cursor})

    def _history(self, query: Mapping[str, list[str]]) -> None:
        after, limit = _last(query, names.QUERY_AFTER), _last(query, names.QUERY_LIMIT)
        page = self.server.trial.evaluations.page(
            after=_whole(names.QUERY_AFTER, after) if after else None,
            cursor=_last(query, names.QUERY_CURSOR),
            limit=_whole(names.QUERY_LIMIT, limit) if limit else MAX_PAGE,
        )
        self.send_response(200)
        self.send_header("Content-Type", "application/jsonl; charset=utf-8")
        self.send_header(names.HEADER_NEXT, page.cursor)
        self.end_headers()
        for record in page.records:
            self.wfile.write(record.to_json().encode() + b"\n")

    def _token(self) -> str:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or len(length) > 9:
            raise ControlRefused(RefusalReason.MALFORMED, "say in Content-Length how long the token is")
        if int(length) > MAX_TOKEN_BYTES:
            raise ControlRefused(
                RefusalReason.TOO_LARGE, f"a control token has at most {MAX_TOKEN_BYTES} bytes; this has {length}"
            )
        return self.rfile.read(int(length)).decode("utf-8", "replace").strip()

    def _refuse(self, status: int, reason: str, message: str) -> None:
        self._answer(status, json.dumps({"reason": reason, "message": message}).encode(), "application/json")

    def _answer(
        self, status: int, body: bytes, content_type: str, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: the output belongs to the training."""


def _last(query: Mapping[str, list[str]], name: str) -> str:
    return query.get(name, [""])[-1]


def _whole(name: str, text: str) -> int:
    if not text.lstrip("-").isdecimal() or len(text) > 18:
        raise ProtocolError(f"{name} must be a whole number; it is {text[:40]!r}")
    return int(text)
