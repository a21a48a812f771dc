"""A cache of all objects of one kind: a paged list, then a watch with bookmarks, and a new list after a gap.

kopf's own index is quadratic in the number of objects and keeps what was deleted during a gap. Here a relist
*replaces*: what is no longer listed is reported as deleted, so whoever reads the cache never sees a ghost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from enum import StrEnum
from typing import Final

from tuning_operator.backends.kubernetes.back_off import BackOff
from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.errors import ApiError, Gone
from tuning_operator.backends.kubernetes.resources import Object, Resource, key_of

Key = tuple[str, str]
"""Namespace and name."""


class Change(StrEnum):
    """What happened to an object."""

    ADDED = "Added"
    MODIFIED = "Modified"
    DELETED = "Deleted"


Listener = Callable[[Change, Object], None]
_log = logging.getLogger(__name__)
_BACK_OFF: Final = BackOff(longest=30.0)


class Reflector:
    """Keeps `objects` equal to what the API server holds, for one kind in one namespace or in all.

    Listeners are called in the event loop, must be quick and must not raise; they usually put a key into a queue.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        trim: Callable[[Object], Object] = lambda body: body,
        on_restart: Callable[[str, str], None] = lambda _resource, _reason: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.resource = resource
        self.trouble: ApiError | None = None
        """Why the API server does not tell of these objects; None while it does."""
        self._client = client
        self._namespace = namespace
        self._labels = labels
        self._fields = fields
        self._trim = trim
        self._on_restart = on_restart
        self._sleep = sleep
        self._clock = clock
        self._heard: float | None = None
        self._turned = clock()
        self._objects: dict[Key, Object] = {}
        self._listeners: list[Listener] = []
        self._synced = asyncio.Event()

    @property
    def objects(self) -> Mapping[Key, Object]:
        """Return the cache; treat the objects in it as read-only."""
        return self._objects

    @property
    def age(self) -> float | None:
        """Return seconds since the API server last said anything about these objects; None if it never did."""
        return None if self._heard is None else self._clock() - self._heard

    @property
    def idle(self) -> float:
        """Return seconds since this cache last did anything, be it that it failed; large only if it hangs."""
        return self._clock() - self._turned

    def get(self, namespace: str, name: str) -> Object | None:
        """Return one object from the cache."""
        return self._objects.get((namespace, name))

    def listen(self, listener: Listener) -> None:
        """Call `listener` at every change from now on."""
        self._listeners.append(listener)

    def learn(self, body: Object) -> None:
        """Take in the answer to one of our own writes at once, unless the watch has brought something newer."""
        known = self._objects.get(key_of(body))
        if known is None or _version(known) < _version(body):
            self._set(body)

    async def wait_synced(self) -> None:
        """Wait until the first list of this run is complete."""
        await self._synced.wait()

    async def run(self) -> None:
        """List and watch until cancelled; no error of the server ends it."""
        try:
            await self._run()
        finally:
            self._synced.clear()

    async def _run(self) -> None:
        failures = 0
        since = ""
        while True:
            try:
                if not since:
                    items, since = await self._client.list(
                        self.resource, namespace=self._namespace, labels=self._labels, fields=self._fields
                    )
                    self._replace(items)
                    self._hear()
                    self._synced.set()
                since = await self._watch(since)
                failures = 0
            except Gone:
                self._on_restart(self.resource.plural, "Gone")
                since = ""
            except ApiError as error:
                self._on_restart(self.resource.plural, error.reason or type(error).__name__)
                if self.trouble is None or str(error) != str(self.trouble):
                    _log.warning("the watch of %s ended: %s", self.resource, error)
                self.trouble = error
                failures += 1
                self._turned = self._clock()
                await self._sleep(_BACK_OFF.pause(failures))

    async def _watch(self, since: str) -> str:
        async with aclosing(
            self._client.watch(
                self.resource, since=since, namespace=self._namespace, labels=self._labels, fields=self._fields
            )
        ) as events:
            async for event in events:
                self._hear()
                body = event["object"]
                since = str(body["metadata"]["resourceVersion"])
                if event["type"] == "BOOKMARK":
                    continue
                if event["type"] == "DELETED":
                    self._remove(body)
                else:
                    self._set(body)
        return since

    def _hear(self) -> None:
        self._heard = self._turned = self._clock()
        self.trouble = None

    def _set(self, body: Object) -> None:
        key = key_of(body)
        known = self._objects.get(key)
        if known is not None and known["metadata"]["resourceVersion"] == body["metadata"]["resourceVersion"]:
            return
        trimmed = self._trim(body)
        self._objects[key] = trimmed
        self._tell(Change.ADDED if known is None else Change.MODIFIED, trimmed)

    def _remove(self, body: Object) -> None:
        self._objects.pop(key_of(body), None)
        self._tell(Change.DELETED, body)

    def _replace(self, items: list[Object]) -> None:
        listed = {key_of(body) for body in items}
        for key in [key for key in self._objects if key not in listed]:
            self._remove(self._objects[key])
        for body in items:
            self._set(body)

    def _tell(self, change: Change, body: Object) -> None:
        for listener in self._listeners:
            listener(change, body)


def _version(body: Object) -> int:
    """Return the resourceVersion as a number: comparable since Kubernetes 1.35 says so (KEP-5504)."""
    with contextlib.suppress(ValueError):
        return int(body["metadata"]["resourceVersion"])
    return 0
