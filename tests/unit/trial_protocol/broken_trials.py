"""A trial that really trains, and in front of it middlemen that break the contract in one way each."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt

from trial_protocol import names
from trial_protocol.environment import TrialEnvironment
from tuning_trainer.client import Trial

NAME = "digits-0001"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    accept: str
    body: bytes


@dataclass(frozen=True)
class Response:
    status: int
    content_type: str
    cursor: str
    body: str


Ask = Callable[[Request], Response]
Middleman = Callable[[Request, Ask], Response]


@contextmanager
def training(directory: Path, public_key: str) -> Iterator[int]:
    """Train in a thread, a step a millisecond and an evaluation every ten; yield the port."""
    trial = Trial(
        TrialEnvironment(
            job="digits", trial=NAME, total=1e6, public_key=public_key, termination_path=str(directory / "result.json")
        )
    )
    stop = threading.Event()

    def train() -> None:
        step = 0
        while not stop.wait(0.001):
            step += 1
            trial.poll(step=step)
            trial.record_step(step=step, loss=1.0 / step, learning_rate=0.1 * trial.learning_rate_scale)
            if step % 10 == 0:
                trial.report(step=step, eval_loss=1.0 / step)

    thread = threading.Thread(target=train)
    thread.start()
    try:
        assert trial.port is not None
        yield trial.port
    finally:
        stop.set()
        thread.join()
        trial.close()


@contextmanager
def in_front_of(port: int, middleman: Middleman, *, threads: bool = True) -> Iterator[str]:
    """Serve the trial at `port` through a middleman; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 5.0

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, url.path, tuple(parse_qsl(url.query)), self.headers.get("Accept", ""), body)
            response = middleman(request, lambda changed: ask(port, changed))
            self.send_response(response.status)
            self.send_header("Content-Type", response.content_type)
            if response.cursor:
                self.send_header(names.HEADER_NEXT, response.cursor)
            self.end_headers()
            self.wfile.write(response.body.encode())

        do_PUT = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    class Threads(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            pass

    class One(HTTPServer):
        def handle_error(self, *_: object) -> None:
            pass

    server = (Threads if threads else One)(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(port: int, request: Request) -> Response:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        path = f"{request.path}?{urlencode(request.query)}"
        connection.request(request.method, path, body=request.body or None, headers={"Accept": request.accept})
        answer = connection.getresponse()
        return Response(
            answer.status,
            answer.getheader("Content-Type", ""),
            answer.getheader(names.HEADER_NEXT, ""),
            answer.read().decode(),
        )
    finally:
        connection.close()


def honest(request: Request, ask: Ask) -> Response:
    return ask(request)


def without(*parts: str) -> Middleman:
    """Ignore these parts of the query."""
    return lambda request, ask: ask(
        replace(request, query=tuple((key, value) for key, value in request.query if key not in parts))
    )


def one_window(request: Request, ask: Ask) -> Response:
    query = tuple((key, "all" if key == names.QUERY_WINDOW else value) for key, value in request.query)
    return ask(replace(request, query=query))


def rewriting(path: str, pattern: str, replacement: str) -> Middleman:
    """Change every answer of one path."""

    def middleman(request: Request, ask: Ask) -> Response:
        response = ask(request)
        if request.path != path:
            return response
        return replace(response, body=re.sub(pattern, replacement, response.body, flags=re.MULTILINE))

    return middleman


def always_open_metrics(request: Request, ask: Ask) -> Response:
    accept = "application/openmetrics-text; version=1.0.0" if request.path == names.PATH_METRICS else request.accept
    return ask(replace(request, accept=accept))


def lying_content_type(request: Request, ask: Ask) -> Response:
    response = ask(request)
    if "openmetrics" in response.content_type:
        return replace(response, body=response.body.replace("# EOF\n", ""))
    return response


def forgetful(request: Request, ask: Ask) -> Response:
    """Leave out the newest record before the cursor, as a server that keeps the last few only."""
    response = ask(request)
    if request.path != names.PATH_HISTORY or not any(key == names.QUERY_AFTER for key, _ in request.query):
        return response
    return replace(response, body="".join(response.body.splitlines(keepends=True)[1:]))


def no_cursor(request: Request, ask: Ask) -> Response:
    response = without(names.QUERY_CURSOR)(request, ask)
    return replace(response, cursor="")


def nothing_new() -> Middleman:
    """Say with every page that its reader has read the whole history."""
    read = ["1.0"]

    def middleman(request: Request, ask: Ask) -> Response:
        response = ask(request)
        if request.path == names.PATH_METRICS:
            return replace(response, cursor=read[-1])
        read.append(response.cursor or read[-1])
        return response

    return middleman


def accepts_everything(request: Request, ask: Ask) -> Response:
    response = ask(request)
    return replace(response, status=200) if request.method == "PUT" else response


def wrong_reasons(request: Request, ask: Ask) -> Response:
    response = ask(request)
    if request.method == "PUT" and response.status != 200:
        return replace(response, body=json.dumps({"reason": "Malformed", "message": "no"}))
    return response


def deaf(request: Request, ask: Ask) -> Response:
    """Accept every message and carry out none."""
    if request.method == "PUT":
        try:
            control = jwt.decode(request.body.decode(), options={"verify_signature": False}).get("control", {})
            return Response(200, "application/json", "", json.dumps({"revision": control.get("revision")}))
        except jwt.InvalidTokenError:
            pass
    return ask(request)


def once_only() -> Middleman:
    """Refuse a message that was taken before."""
    taken: set[bytes] = set()

    def middleman(request: Request, ask: Ask) -> Response:
        response = ask(request)
        if request.method == "PUT" and response.status == 200:
            if request.body in taken:
                return Response(409, "application/json", "", '{"reason": "OldRevision", "message": "again"}')
            taken.add(request.body)
        return response

    return middleman


def catch_all(request: Request, ask: Ask) -> Response:
    response = ask(request)
    return replace(response, status=200) if response.status == 404 else response


BREACHES: Final[dict[str, Middleman]] = {
    "no attempt": rewriting("/metrics", r"^tuning_attempt .*\n", ""),
    "unreadable": rewriting("/metrics", r"^train_step ", "train step "),
    "always OpenMetrics": always_open_metrics,
    "lying content type": lying_content_type,
    "ignores name[]": without(names.QUERY_NAMES),
    "one window for all": one_window,
    "mean of other losses": rewriting("/metrics", r"^(tuning_train_loss_window_mean) [0-9].*", r"\1 99"),
    "ignores after": without(names.QUERY_AFTER),
    "leaves a record out": forgetful,
    "ignores limit": without(names.QUERY_LIMIT),
    "no cursor": no_cursor,
    "never anything new": nothing_new(),
    "no objective": rewriting("/history", r'"eval_loss"', '"loss"'),
    "value of no step": rewriting("/metrics", r"^eval_loss .*", "eval_loss 7"),
    "no evaluation step": rewriting("/metrics", r"^tuning_evaluation_step.*\n", ""),
    "accepts everything": accepts_everything,
    "wrong reasons": wrong_reasons,
    "carries out nothing": deaf,
    "refuses a repetition": once_only(),
    "answers everything": catch_all,
}
