"""How often a request is tried again, and how long between."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How often and how long idempotent requests are tried again."""

    attempts: int = 6
    first_pause: float = 0.1
    longest_pause: float = 10.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = field(default_factory=lambda: random.Random(0).random)

    def pause(self, attempt: int, asked: float | None) -> float:
        """Return seconds to wait after the given failed attempt (from 0); `asked` is the server's Retry-After."""
        if asked is not None:
            return min(asked, self.longest_pause) * (1 + 0.1 * self.jitter())
        return min(self.first_pause * 2.0**attempt, self.longest_pause) * (0.5 + self.jitter())
