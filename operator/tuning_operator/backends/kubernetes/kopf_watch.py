"""kopf's watch of TuningJobs, in a thread and an event loop of its own.

It tells the studies that a TuningJob is there or has changed, which they also hear from their own cache: nothing is
kept in annotations, no finalizer is set, no handler is retried. kopf takes the event loop that it runs in for its own
(when it ends, it cancels every task that it does not know), and some answers of an API server end it; so it gets a loop
of its own, and is started anew when it ended.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import kopf

from tuning_operator.api.metadata import GROUP
from tuning_operator.backends.kubernetes.back_off import BackOff
from tuning_operator.backends.kubernetes.reflector import Change
from tuning_operator.backends.kubernetes.resources import TUNING_JOBS, Object

_FAREWELL: Final = 1.0
"""Seconds that kopf gets to end; it only reads, so that what is left of it does no harm."""
_HEALTHY: Final = 60.0
_log = logging.getLogger(__name__)

Hear = Callable[[Change, Object], None]
"""Told of a TuningJob that is there, changed or gone; called in the event loop that runs the watch."""


async def watch_jobs(hear: Hear, *, namespaces: Callable[[], Sequence[str]], kubeconfig: str | None) -> None:
    """Watch until cancelled.

    Args:
        namespaces: Asked at each start for those to watch; none means all.
        kubeconfig: Where the command line says how to reach the cluster; kopf itself follows ``KUBECONFIG``.
    """
    loop = asyncio.get_running_loop()
    back_off, failures = BackOff(first=1.0), 0
    while True:
        began = loop.time()
        why = await _run(hear, namespaces=tuple(namespaces()), kubeconfig=kubeconfig)
        _log.warning("kopf's watch of TuningJobs ended, and starts anew: %s", why)
        failures = failures + 1 if loop.time() - began < _HEALTHY else 1
        await asyncio.sleep(back_off.pause(failures))


async def _run(hear: Hear, *, namespaces: tuple[str, ...], kubeconfig: str | None) -> str:
    """Run kopf once, and return why it ended; whatever it was ends only its thread."""
    here = asyncio.get_running_loop()
    ended: asyncio.Future[str] = here.create_future()
    stop: list[Callable[[], object]] = []
    is_unwanted = threading.Event()

    def tell(change: Change, body: Object) -> None:
        here.call_soon_threadsafe(hear, change, body)

    def end(why: str) -> None:
        if not ended.done():
            ended.set_result(why)

    async def operate() -> None:
        flag, there = asyncio.Event(), asyncio.get_running_loop()
        stop.append(lambda: there.call_soon_threadsafe(flag.set))
        if is_unwanted.is_set():
            return
        await kopf.operator(
            registry=_registry(tell, kubeconfig),
            settings=kopf_settings(),
            standalone=True,
            clusterwide=not namespaces,
            namespaces=namespaces,
            stop_flag=flag,
        )

    def work() -> None:
        why = "no error"
        try:
            asyncio.run(operate())
        except BaseException as error:
            why = f"{type(error).__name__}: {error}"
        with suppress(RuntimeError):  # The loop is closed: nobody waits any more.
            here.call_soon_threadsafe(end, why)

    thread = threading.Thread(target=work, name="kopf", daemon=True)
    thread.start()
    try:
        return await asyncio.shield(ended)
    finally:
        is_unwanted.set()
        for ask in stop:
            with suppress(RuntimeError):  # Its loop is closed already.
                ask()
        await asyncio.wait([ended], timeout=_FAREWELL)


def _registry(tell: Hear, kubeconfig: str | None) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    @kopf.on.event(TUNING_JOBS.group, TUNING_JOBS.version, TUNING_JOBS.plural, registry=registry)
    async def changed(event: Any, **_: Any) -> None:
        tell(Change.DELETED if event.get("type") == "DELETED" else Change.MODIFIED, dict(event["object"]))

    @kopf.on.login(registry=registry, errors=kopf.ErrorsMode.PERMANENT)
    async def login(**arguments: Any) -> kopf.ConnectionInfo | None:
        if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
            return kopf.login_with_service_account(**arguments)
        return kopf.login_with_kubeconfig(**arguments)

    return registry


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
    settings.process.ultimate_exiting_timeout = None  # It would kill the whole process.
    settings.execution.max_workers = 2
    settings.persistence.finalizer = f"{GROUP}/kopf"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"kopf.{GROUP}", v1=False)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=f"kopf.{GROUP}", v1=False)
    return settings
