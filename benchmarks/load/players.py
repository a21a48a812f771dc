"""The process that plays every trial: what a pod's container would serve, and how it ends.

    python -m benchmarks.load.players --kubeconfig FILE --out FILE

Simulated nodes give every pod an address of its own in 127.64.0.0/10; this one server listens on all of them, on
loopback only, and knows by the address that was asked which trial is meant. A training that is done ends its pod as a
kubelet would, with the trial's last word in the termination message. On SIGTERM it writes down what happened to each
trial, and when.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

from benchmarks.load.curves import load_curves
from benchmarks.load.training import Training

from trial_protocol import names
from trial_protocol.control import REFUSAL_STATUS, verify_control
from trial_protocol.environment import TrialEnvironment
from trial_protocol.errors import ControlRefused, RefusalReason
from tuning_operator.backends.kubernetes import labels
from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.errors import ApiError
from tuning_operator.backends.kubernetes.reflector import Change, Reflector
from tuning_operator.backends.kubernetes.resources import PODS, Object, name_of
from tuning_operator.engine.events import TrialProposed
from tuning_operator.engine.wanted import WantedControl
from tuning_operator.schema import Scalar

ADDRESSES: Final = "127.64.0.0/10"
ANNOTATION: Final = "load/schedule-seconds"
"""How long the training of a pod takes."""
_SO_BINDTODEVICE: Final = 25
_STATUS: Final = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    503: "Unavailable",
}


@dataclass
class Namespace:
    """What was seen of the pods of one namespace."""

    started: dict[str, float] = field(default_factory=dict)
    """When a pod was first seen to run, by its uid."""
    alive: set[str] = field(default_factory=set)
    trainings: list[Training] = field(default_factory=list)


class Players:
    """All trials."""

    def __init__(self, client: Client, *, curves: Path | None) -> None:
        self.pods: Final = Reflector(client, PODS)
        self.namespaces: defaultdict[str, Namespace] = defaultdict(Namespace)
        self._client = client
        self._curves = load_curves(curves)
        self._by_address: dict[str, Training] = {}
        self._by_pod: dict[str, Training] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._writes = asyncio.Semaphore(16)
        self.pods.listen(self._hear)

    def at(self, address: str) -> Training | None:
        """Return the training that answers at an address."""
        return self._by_address.get(address)

    def _hear(self, change: Change, pod: Object) -> None:
        metadata, status = pod["metadata"], pod.get("status") or {}
        here, uid = self.namespaces[metadata["namespace"]], metadata["uid"]
        if change is Change.DELETED or metadata.get("deletionTimestamp") or status.get("phase") != "Running":
            if change is Change.DELETED:
                here.alive.discard(uid)
            else:
                here.alive.add(uid)
            training = self._by_pod.pop(uid, None)
            if training is not None and self._by_address.get(training.address) is training:
                del self._by_address[training.address]
            return
        here.alive.add(uid)
        if uid in here.started:
            return
        now = time.time()
        here.started[uid] = now
        seconds = (metadata.get("annotations") or {}).get(ANNOTATION)
        if seconds is not None:
            training = self._train(pod, float(seconds), now)
            here.trainings.append(training)
            self._by_pod[uid] = self._by_address[training.address] = training
            asyncio.get_running_loop().call_later(training.end - now, self._finish, uid, pod)

    def _train(self, pod: Object, seconds: float, now: float) -> Training:
        variables = {one["name"]: one.get("value", "") for one in pod["spec"]["containers"][0]["env"]}
        environment = TrialEnvironment.from_variables(variables)
        if environment is None:
            raise ValueError(f"pod {name_of(pod)} has not the environment of a trial")
        return Training(
            environment=environment,
            address=pod["status"]["podIP"],
            began=now,
            seconds=seconds,
            curves=self._curves,
            proposed=TrialProposed(
                sequence=0,
                time=now,
                trial=int(environment.trial.rpartition("-")[2]),
                parameters=cast("Mapping[str, Scalar]", environment.parameters),
                seed=environment.seed,
            ),
        )

    def _finish(self, uid: str, pod: Object) -> None:
        training = self._by_pod.get(uid)
        if training is not None:
            task = asyncio.create_task(self._end(training, pod))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _end(self, training: Training, pod: Object) -> None:
        ended = datetime.now(UTC).replace(microsecond=0).isoformat()
        terminated = {"exitCode": 0, "reason": "Completed", "finishedAt": ended, "startedAt": ended}
        terminated["message"] = training.result(time.time()).to_json()
        statuses = [
            {"name": one["name"], "image": one["image"], "imageID": "", "ready": False, "restartCount": 0}
            | {"state": {"terminated": terminated}}
            for one in pod["spec"]["containers"]
        ]
        body = {"status": {"phase": "Succeeded", "containerStatuses": statuses}}
        try:
            async with self._writes:
                await self._client.patch(
                    PODS, body, namespace=pod["metadata"]["namespace"], name=name_of(pod), subresource="status"
                )
        except ApiError as error:
            sys.stderr.write(f"{name_of(pod)} could not be ended: {error}\n")

    def summary(self) -> dict[str, Any]:
        """Return, for each namespace, when pods started, how many are there, and every training with its controls."""
        return {
            name: {"started": sorted(here.started.values()), "alive": len(here.alive)}
            for name, here in self.namespaces.items()
        }

    def record(self) -> dict[str, Any]:
        """Return what happened to each training."""
        return {
            name: [
                {
                    "trial": one.environment.trial,
                    "began": one.began,
                    "seconds": one.seconds,
                    "controls": one.controls,
                    "refused": one.refused,
                    "broken": one.broken,
                }
                for one in here.trainings
            ]
            for name, here in self.namespaces.items()
        }


class Connection(asyncio.Protocol):
    """One request, one answer, as the trainer's own server does it."""

    def __init__(self, players: Players) -> None:
        self._players = players
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer as soon as the request is whole."""
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator or self._transport is None:
            return
        first, *rest = head.decode("latin-1").split("\r\n")
        lengths = [line.partition(":")[2] for line in rest if line.lower().startswith("content-length:")]
        if len(body) < int(lengths[0] if lengths else 0):
            return
        method, target, _ = first.split(" ", 2)
        address = self._transport.get_extra_info("sockname")[0]
        code, text, headers = self._answer(method, target, body, address)
        payload = text.encode()
        lines = [f"HTTP/1.0 {code} {_STATUS[code]}", f"Content-Length: {len(payload)}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + payload)
        self._transport.close()

    def _answer(self, method: str, target: str, body: bytes, address: str) -> tuple[int, str, dict[str, str]]:
        url, now = urlsplit(target), time.time()
        if url.path == "/summary":
            return 200, json.dumps(self._players.summary()), {"Content-Type": "application/json"}
        training = self._players.at(address)
        if training is None:
            return 503, "no trial answers here", {}
        if method == "PUT" and url.path == names.PATH_CONTROL:
            return self._control(training, body.decode(), now)
        if url.path == names.PATH_METRICS:
            text, cursor = training.metrics(now)
            return 200, text, {"Content-Type": "text/plain; version=0.0.4", names.HEADER_NEXT: cursor}
        if url.path == names.PATH_HISTORY:
            text, cursor = training.history(url.query, now)
            return 200, text, {"Content-Type": "application/jsonl", names.HEADER_NEXT: cursor}
        return 404, "", {}

    def _control(self, training: Training, token: str, now: float) -> tuple[int, str, dict[str, str]]:
        try:
            message = verify_control(
                token,
                public_key=training.environment.public_key,
                trial=training.environment.audience,
                current_revision=training.control.revision,
                now=now,
            )
        except ControlRefused as refusal:
            training.refused += refusal.reason is not RefusalReason.ALREADY_APPLIED
            return REFUSAL_STATUS[refusal.reason], json.dumps({"reason": refusal.reason, "message": str(refusal)}), {}
        control = WantedControl(
            revision=message.revision,
            scale=message.learning_rate_scale,
            begin_decay=message.begin_decay,
            restore=message.restore,
        )
        training.steer(control, now)
        return 200, json.dumps({"revision": message.revision}), {}


def listen() -> socket.socket:
    """Return a socket that hears every loopback address, and nothing from outside.

    Raises:
        OSError: Something else has the port.
    """
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, b"lo\0")
    found.bind(("0.0.0.0", labels.PORT))  # On every address, but bound to the loopback device.
    found.listen(4096)
    return found


async def play(options: argparse.Namespace) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with await Client.connect(kubeconfig=str(options.kubeconfig)) as client:
        players = Players(client, curves=options.curves)
        server = await loop.create_server(lambda: Connection(players), sock=listen(), backlog=4096)
        task = asyncio.create_task(players.pods.run())
        try:
            await stop.wait()
        finally:
            server.close()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            options.out.write_text(json.dumps(players.record()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="where to write what happened, at the end")
    parser.add_argument("--curves", type=Path, help="folder with recorded curves")
    options = parser.parse_args()
    try:
        asyncio.run(play(options))
    except (OSError, ValueError) as error:
        sys.exit(f"the stand-in trials cannot be played: {error}")


if __name__ == "__main__":
    main()
