"""The operator's process: leadership, probes, signals, and kopf's watch of TuningJobs around a `Service`.

kopf is the shell and no more: its event watch tells the studies that a TuningJob is there or has changed, which they
also hear from their own cache. Nothing is kept in annotations, no finalizer is set, and no handler is retried: the
studies are level-triggered and look for themselves. A process that does not lead only answers its probes.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import kopf
from aiohttp import web

from tuning_operator.api.metadata import GROUP
from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.keys import load_key_pair
from tuning_operator.backends.kubernetes.leader import Leadership, Timing
from tuning_operator.backends.kubernetes.reflector import Change
from tuning_operator.backends.kubernetes.resources import TUNING_JOBS
from tuning_operator.backends.kubernetes.service import Service
from tuning_operator.errors import TuningError

LEASE: Final = "tuning-operator"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the process runs.

    Attributes:
        namespace: The only one that is served; None for all.
        own_namespace: Where the Lease is kept.
        identity: Name of this process; a pod's name.
        key_file: Private key that control messages are signed with; made if it is not there.
        probes: Address and port of ``/healthz`` and ``/readyz``; port 0 lets the system choose.
    """

    own_namespace: str
    identity: str
    key_file: Path
    namespace: str | None = None
    kubeconfig: str | None = None
    lease: str = LEASE
    probes: tuple[str, int] = ("0.0.0.0", 8080)
    timing: Timing = field(default_factory=Timing)


class Probes:
    """Answers ``/healthz`` while the event loop turns, ``/readyz`` while this process could lead or does.

    One that stands by is ready as soon as it has seen who leads: a Deployment replaces its pods one by one only if the
    new one is ready before the old one gives leadership up. One that leads is ready when it knows the cluster.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self.leadership: Leadership | None = None
        self.service: Service | None = None
        self.port = 0

    async def __aenter__(self) -> Probes:
        app = web.Application()
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/readyz", self._ready)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, *self._address).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _ready(self, _: web.Request) -> web.Response:
        if self.service is not None:
            is_ready, text = self.service.is_ready, "leading\n" if self.service.is_ready else "reading the cluster\n"
        else:
            is_ready = self.leadership is not None and self.leadership.holder != ""
            text = "standing by\n" if is_ready else "asking who leads\n"
        return web.Response(status=200 if is_ready else 503, text=text)


async def run_operator(options: Options, *, stop: asyncio.Event) -> int:
    """Wait for leadership, work until `stop` or until leadership is lost, and return the exit code.

    Raises:
        TuningError: No cluster to connect to, or no key.
    """
    keys = load_key_pair(options.key_file)
    async with (
        await Client.connect(kubeconfig=options.kubeconfig) as client,
        Probes(options.probes) as probes,
    ):
        leadership = Leadership(
            client,
            namespace=options.own_namespace,
            name=options.lease,
            identity=options.identity,
            timing=options.timing,
        )
        probes.leadership = leadership
        if await _first(leadership.acquire(), stop.wait()) == 1:
            return 0
        _log.info("%s leads", options.identity)
        service = Service(client, keys=keys, instance=options.identity, namespace=options.namespace)
        probes.service = service
        try:
            ended = await _first(service.run(), leadership.hold(), _kopf(service, options), stop.wait())
        finally:
            await leadership.release()
        if ended == 1:
            _log.error("leadership is lost; this process ends so that nothing is done twice")
        return 1 if ended == 1 else 0


async def _first(*coroutines: Any) -> int:
    """Run all until one ends; end the others, and return which one it was, or raise what it raised."""
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        return next(index for index, task in enumerate(tasks) if task in done)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _kopf(service: Service, options: Options) -> None:
    registry = kopf.OperatorRegistry()

    @kopf.on.event(TUNING_JOBS.group, TUNING_JOBS.version, TUNING_JOBS.plural, registry=registry)
    async def changed(event: Any, **_: Any) -> None:
        change = Change.DELETED if event.get("type") == "DELETED" else Change.MODIFIED
        service.studies.hear_job(change, dict(event["object"]))

    @kopf.on.login(registry=registry, errors=kopf.ErrorsMode.PERMANENT)
    async def login(**arguments: Any) -> kopf.ConnectionInfo | None:
        if options.kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
            return kopf.login_with_service_account(**arguments)
        return kopf.login_with_kubeconfig(**arguments)

    await kopf.operator(
        registry=registry,
        settings=kopf_settings(),
        standalone=True,
        clusterwide=options.namespace is None,
        namespaces=() if options.namespace is None else (options.namespace,),
    )


def kopf_settings() -> kopf.OperatorSettings:
    """Return settings under which kopf keeps nothing in objects and needs no right but to see TuningJobs."""
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.watching.chunk_size = 500
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 60
    settings.networking.connect_timeout = 5
    settings.queueing.error_delays = (1, 2, 5, 10, 30, 60)
    settings.process.ultimate_exiting_timeout = 20
    settings.execution.max_workers = 2
    settings.persistence.finalizer = f"{GROUP}/kopf"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"kopf.{GROUP}", v1=False)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=f"kopf.{GROUP}", v1=False)
    return settings


def parse_options(arguments: Sequence[str]) -> Options:
    """Return the options of a command line; what it leaves out comes from the environment of a pod."""
    parser = argparse.ArgumentParser(prog="tuning-operator", description="Run the operator until it is told to end.")
    parser.add_argument("--namespace", help="serve this namespace only (default: all)")
    parser.add_argument(
        "--own-namespace",
        default=os.environ.get("POD_NAMESPACE", "default"),
        help="where the Lease is kept (default: $POD_NAMESPACE)",
    )
    parser.add_argument("--lease", default=LEASE, help="name of the Lease")
    parser.add_argument(
        "--identity",
        default=os.environ.get("POD_NAME") or socket.gethostname(),
        help="name of this process (default: $POD_NAME)",
    )
    parser.add_argument(
        "--key-file",
        type=Path,
        default=Path(os.environ.get("TUNING_KEY_FILE", "/var/run/tuning-operator/key.pem")),
        help="private key that control messages are signed with; made if it is not there",
    )
    parser.add_argument("--kubeconfig", help="default: the pod's service account, or $KUBECONFIG")
    parser.add_argument("--probe-port", type=int, default=8080, help="port of /healthz and /readyz")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    found = parser.parse_args(arguments)
    logging.basicConfig(level=found.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if found.kubeconfig:
        os.environ["KUBECONFIG"] = found.kubeconfig
    return Options(
        namespace=found.namespace,
        own_namespace=found.own_namespace,
        lease=found.lease,
        identity=found.identity,
        key_file=found.key_file,
        kubeconfig=found.kubeconfig,
        probes=("0.0.0.0", found.probe_port),
    )


def main() -> None:
    """Run the operator: the console script ``tuning-operator``."""
    options = parse_options(sys.argv[1:])

    async def run() -> int:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        return await run_operator(options, stop=stop)

    code = 1
    with suppress(KeyboardInterrupt):
        try:
            code = asyncio.run(run())
        except TuningError as error:
            sys.stderr.write(f"tuning-operator: {error}\n")
    raise SystemExit(code)


if __name__ == "__main__":
    main()
