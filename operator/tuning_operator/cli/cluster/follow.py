"""A job's pictures one after the other, from watches of its objects."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from tuning_operator.backends.kubernetes import labels
from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.job_view import view_objects
from tuning_operator.backends.kubernetes.reflector import Reflector
from tuning_operator.backends.kubernetes.resources import TRIALS, TUNING_JOBS
from tuning_operator.cli.cluster.place import Place
from tuning_operator.engine.view import JobView
from tuning_operator.errors import BackendError, RunNotFound

TICK: Final = 1.0
"""Seconds after which the same picture is yielded again with a later clock."""
_LEAST_PAUSE: Final = 0.2
_SHARE: Final = 4.0
"""Between two pictures, this many times what it took to make one: never more than a fifth of a processor."""
_REMEMBERED: Final = 40.0
"""Seconds for which a broken watch is mentioned; it is tried again more often than that."""
_DENIED: Final = frozenset({"Forbidden", "Unauthorized"})


class _Watches:
    """The watches of one job, and what they have to complain about."""

    def __init__(self, client: Client, place: Place, name: str) -> None:
        space, selector = place.namespace, f"{labels.LABEL_JOB}={name}"
        self.jobs: Final = Reflector(
            client, TUNING_JOBS, namespace=space, fields=f"metadata.name={name}", on_restart=self._complain
        )
        self.trials: Final = Reflector(client, TRIALS, namespace=space, labels=selector, on_restart=self._complain)
        self.changed: Final = asyncio.Event()
        self._place = place
        self._complaint = ""
        self._complained = -_REMEMBERED
        self._denied: Final[asyncio.Future[None]] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> _Watches:
        self._tasks = []
        for reflector in (self.jobs, self.trials):
            reflector.listen(lambda *_: self.changed.set())
            self._tasks.append(asyncio.create_task(reflector.run()))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._denied.cancel()

    async def wait_synced(self) -> None:
        """Wait until everything was read once.

        Raises:
            BackendError: It may not be read.
        """
        for reflector in (self.jobs, self.trials):
            synced = asyncio.ensure_future(reflector.wait_synced())
            await asyncio.wait({synced, self._denied}, return_when=asyncio.FIRST_COMPLETED)
            synced.cancel()
            self.check()

    def check(self) -> None:
        """Raise if the watches may not go on.

        Raises:
            BackendError: They may not.
        """
        if self._denied.done():
            self._denied.result()

    @property
    def notice(self) -> str:
        """Return what a reader must know about the watches; empty while they are well."""
        return self._complaint if time.monotonic() - self._complained < _REMEMBERED else ""

    def _complain(self, resource: str, reason: str) -> None:
        if reason in _DENIED and not self._denied.done():
            denied = f"{resource} in {self._place} may not be listed and watched ({reason}); tuning status needs less"
            self._denied.set_exception(BackendError(denied))
        elif reason != "Gone":
            self._complaint = f"the watch of {resource} broke ({reason}) and is tried again; what is shown may be old"
            self._complained = time.monotonic()
        self.changed.set()


async def follow_objects(
    client: Client, place: Place, name: str, *, clock: Callable[[], float]
) -> AsyncGenerator[JobView, None]:
    """Yield a new picture whenever something has changed, and every `TICK`, until the job is over.

    Raises:
        RunNotFound: The job was deleted.
        BackendError: It may not be watched.
    """
    async with _Watches(client, place, name) as watches:
        await watches.wait_synced()
        watches.changed.set()
        view: JobView | None = None
        while view is None or view.finished is None:
            watches.check()
            began = time.perf_counter()
            body = watches.jobs.get(place.namespace, name)
            if body is None:
                raise RunNotFound(f"{name} in {place} is gone: somebody deleted it")
            if view is None or watches.changed.is_set():
                watches.changed.clear()
                view = view_objects(body, list(watches.trials.objects.values()), time=clock())
            elif not view.suspended and view.started is not None:
                view = replace(view, updated=clock())
            yield replace(view, notice=watches.notice or view.notice)
            await asyncio.sleep(max(_LEAST_PAUSE, _SHARE * (time.perf_counter() - began)))
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await watches.changed.wait()
