"""Keys that are to be looked at: each by one worker at a time, however often it is added.

A reconciler reads the whole state of its key anew, so a key that is waiting need not wait twice; a key that is added
while a worker has it runs once more afterwards, because the worker may have read too early. A key that fails comes
back after a pause that doubles with each failure in a row, with jitter, so that a broken object costs its neighbours
nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, Protocol, TypeVar

from tuning_operator.backends.kubernetes.back_off import BackOff

Key = TypeVar("Key", bound=Hashable)


class Cancellable(Protocol):
    """What `asyncio.AbstractEventLoop.call_later` returns."""

    def cancel(self) -> None:
        """Forget the call."""


def _call_later(delay: float, callback: Callable[[], None]) -> Cancellable:
    return asyncio.get_running_loop().call_later(delay, callback)


class WorkQueue(Generic[Key]):
    """A queue of keys.

    Args:
        clock: Seconds, monotonic.
        call_later: Calls a function after some seconds, as the event loop does.
    """

    def __init__(
        self,
        *,
        back_off: BackOff | None = None,
        clock: Callable[[], float] = time.monotonic,
        call_later: Callable[[float, Callable[[], None]], Cancellable] = _call_later,
    ) -> None:
        self._back_off = back_off or BackOff()
        self._clock = clock
        self._call_later = call_later
        self._waiting: dict[Key, float] = {}
        self._order: asyncio.Queue[Key] = asyncio.Queue()
        self._active: set[Key] = set()
        self._again: set[Key] = set()
        self._later: dict[Key, tuple[float, Cancellable]] = {}
        self._failures: dict[Key, int] = {}

    @property
    def depth(self) -> int:
        """Keys that wait for a worker now; those that come back later do not count."""
        return len(self._waiting)

    @property
    def oldest_age(self) -> float:
        """Seconds that the key in front has waited; 0 when none does."""
        return self._clock() - next(iter(self._waiting.values())) if self._waiting else 0.0

    async def join(self) -> None:
        """Wait until no key waits and no worker has one; those that come back later do not count."""
        await self._order.join()

    def add(self, key: Key) -> None:
        """Let a worker look at `key` as soon as one is free; what was planned for later is included in that."""
        self._cancel_later(key)
        if key in self._active:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting[key] = self._clock()
            self._order.put_nowait(key)

    def add_after(self, key: Key, delay: float) -> None:
        """Add `key` after `delay` seconds, unless it is added or planned for earlier."""
        due = self._clock() + delay
        planned = self._later.get(key)
        if key in self._waiting or key in self._again or (planned is not None and planned[0] <= due):
            return
        self._cancel_later(key)
        self._later[key] = (due, self._call_later(delay, lambda: self.add(key)))

    def failed(self, key: Key) -> float:
        """Add `key` after its pause, and return that pause."""
        self._failures[key] = self._failures.get(key, 0) + 1
        pause = self._back_off.pause(self._failures[key])
        self.add_after(key, pause)
        return pause

    def succeeded(self, key: Key) -> None:
        """Forget the failures of `key`."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """Return the next key; the caller says `done` when it has finished with it."""
        key = await self._order.get()
        del self._waiting[key]
        self._active.add(key)
        return key

    def done(self, key: Key) -> None:
        """Give `key` back; it waits again if it was added meanwhile."""
        self._active.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
        self._order.task_done()

    async def run(
        self,
        handle: Callable[[Key], Awaitable[None]],
        *,
        workers: int,
        on_error: Callable[[Key, Exception, float], None],
    ) -> None:
        """Work until cancelled.

        Args:
            handle: Makes the world agree with what is wanted of a key; whatever it raises delays that key alone.
            on_error: Told of the key, the error and the pause until the next try.
        """

        async def work() -> None:
            while True:
                key = await self.get()
                try:
                    await handle(key)
                except Exception as error:
                    on_error(key, error, self.failed(key))
                else:
                    self.succeeded(key)
                finally:
                    self.done(key)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(work())
        finally:
            for _, handle_later in self._later.values():
                handle_later.cancel()
            self._later.clear()

    def _cancel_later(self, key: Key) -> None:
        planned = self._later.pop(key, None)
        if planned is not None:
            planned[1].cancel()
