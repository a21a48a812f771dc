"""A cache of all objects of one kind: a paged list, then a watch with bookmarks, and a new list after a gap.

kopf's own index is quadratic in the number of objects and keeps what was deleted during a gap. Here a relist
*replaces*: what is no longer listed is reported as deleted, so whoever reads the cache never sees a ghost.

Nor does the cache ever go back in time. Answers to our own writes arrive before the watch tells of them, and after; so
whatever is older than what is known is passed over, by its resourceVersion.
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
_HEALTHY: Final = 5.0
"""Seconds after which a watch that brought nothing counts as one that worked."""


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
        self._is_fed = False
        self._since = ""
        """resourceVersion up to which everything is known; empty before the first list and after a gap."""

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
        """Take in the answer to one of our own writes at once, unless the watch has brought something newer.

        One that the watch has passed and that is not there was deleted meanwhile.
        """
        version = _version(body)
        if key_of(body) in self._objects or not version or version > _number(self._since):
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
        self._since = ""
        while True:
            began, self._is_fed, is_gone = self._clock(), False, False
            try:
                if not self._since:
                    items, version = await self._client.list(
                        self.resource, namespace=self._namespace, labels=self._labels, fields=self._fields
                    )
                    self._replace(items, version)
                    self._since = version
                    self._hear()
                    self._synced.set()
                await self._watch()
                failures = 0
                continue
            except Gone:
                self._on_restart(self.resource.plural, "Gone")
                self._since, is_gone = "", True
            except ApiError as error:
                self._on_restart(self.resource.plural, error.reason or type(error).__name__)
                if self.trouble is None or str(error) != str(self.trouble):
                    _log.warning("the watch of %s ended: %s", self.resource, error)
                self.trouble = error
            # A watch that worked and was cut, as proxies do every minute, is no reason to look away for longer.
            was_well = self._is_fed or self._clock() - began >= _HEALTHY
            failures = 1 if was_well else failures + 1
            self._turned = self._clock()
            if not (is_gone and failures == 1):
                await self._sleep(_BACK_OFF.pause(failures))

    async def _watch(self) -> None:
        """Follow the changes; however it ends, the next watch begins where this one was."""
        async with aclosing(
            self._client.watch(
                self.resource, since=self._since, namespace=self._namespace, labels=self._labels, fields=self._fields
            )
        ) as events:
            async for event in events:
                self._hear()
                self._is_fed = True
                body = event["object"]
                if event["type"] == "DELETED":
                    self._remove(body, _version(body))
                elif event["type"] != "BOOKMARK":
                    self._set(body)
                self._since = str(body["metadata"]["resourceVersion"])

    def _hear(self) -> None:
        self._heard = self._turned = self._clock()
        self.trouble = None

    def _set(self, body: Object) -> None:
        key = key_of(body)
        known = self._objects.get(key)
        if known is not None and (_is_same(known, body) or _version(known) > _version(body)):
            return
        trimmed = self._trim(body)
        self._objects[key] = trimmed
        self._tell(Change.ADDED if known is None else Change.MODIFIED, trimmed)

    def _remove(self, body: Object, version: int) -> None:
        """Forget an object that was not there any more at `version`; one of its name may have been made since."""
        known = self._objects.get(key_of(body))
        if known is not None and _version(known) <= version:
            del self._objects[key_of(body)]
            self._tell(Change.DELETED, body)

    def _replace(self, items: list[Object], version: str) -> None:
        listed = {key_of(body) for body in items}
        for key in [key for key in self._objects if key not in listed]:
            self._remove(self._objects[key], _number(version))
        for body in items:
            self._set(body)

    def _tell(self, change: Change, body: Object) -> None:
        for listener in self._listeners:
            listener(change, body)


def _is_same(one: Object, other: Object) -> bool:
    return bool(one["metadata"]["resourceVersion"] == other["metadata"]["resourceVersion"])


def _version(body: Object) -> int:
    return _number(body["metadata"]["resourceVersion"])


def _number(version: str) -> int:
    """Return a resourceVersion as a number: comparable since Kubernetes 1.35 says so (KEP-5504); 0 if it is none."""
    with contextlib.suppress(ValueError):
        return int(version)
    return 0
