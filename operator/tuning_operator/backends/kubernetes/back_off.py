"""Pauses that grow with each failure in a row, so that what is broken costs its neighbours nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class BackOff:
    """How long to wait after the n-th failure in a row, in seconds."""

    first: float = 0.2
    longest: float = 60.0
    jitter: Callable[[], float] = field(default_factory=lambda: random.Random(0).random)

    def pause(self, failures: int) -> float:
        """Return the pause after `failures` (from 1) failures in a row."""
        # The exponent is bounded, so that what fails for days does not overflow.
        return min(self.first * 2.0 ** min(failures - 1, 32), self.longest) * (0.5 + self.jitter() / 2)
