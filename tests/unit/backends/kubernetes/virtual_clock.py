"""A clock that moves when it is told to, and calls what is due."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class Call:
    """A planned call."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class VirtualClock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self.now = 0.0
        self._calls: list[tuple[float, int, Call]] = []
        self._numbers = itertools.count()

    def __call__(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> Call:
        call = Call(callback)
        heapq.heappush(self._calls, (self.now + delay, next(self._numbers), call))
        return call

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while self._calls and self._calls[0][0] <= until:
            self.now, _, call = heapq.heappop(self._calls)
            if call.callback is not None:
                call.callback()
        self.now = until

    @property
    def planned(self) -> int:
        return sum(call.callback is not None for _, _, call in self._calls)
