"""What the training losses did between two looks of the same scraper.

Several scrapers may watch one trial (the operator, a Prometheus server, a person): each names itself and has its own
window. A training step adds to one shared segment only, so it costs the same however many watch; a look merges the
segment into every window and empties its own.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

MAX_WINDOWS: Final = 16
"""Scrapers kept apart; beyond that the one that has not looked for longest starts anew."""


@dataclass(slots=True)
class LossWindow:
    """Sums over the training steps of one window; mean, least and greatest are over finite losses only.

    Attributes:
        count: Finite losses.
        steps: Steps whose time is in `seconds`.
        seconds: Time between consecutive training steps, evaluations left out.
    """

    count: int = 0
    total: float = 0.0
    minimum: float = math.inf
    maximum: float = -math.inf
    steps: int = 0
    seconds: float = 0.0

    def add(self, loss: float) -> None:
        """Take in one finite loss."""
        self.count += 1
        self.total += loss
        if loss < self.minimum:
            self.minimum = loss
        if loss > self.maximum:
            self.maximum = loss

    def merge(self, other: LossWindow) -> None:
        """Take in all that `other` has seen."""
        self.count += other.count
        self.total += other.total
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)
        self.steps += other.steps
        self.seconds += other.seconds

    @property
    def mean(self) -> float:
        """Mean of the finite losses; NaN without any."""
        if not self.count:
            return math.nan
        return min(max(self.total / self.count, self.minimum), self.maximum)

    @property
    def step_seconds(self) -> float | None:
        """Mean time of a training step; None without two consecutive ones."""
        return self.seconds / self.steps if self.steps else None


class LossWindows:
    """One window for each scraper; a scraper seen for the first time gets everything since the start.

    Not thread-safe: the owner holds its lock.
    """

    def __init__(self) -> None:
        self.segment = LossWindow()
        self._start = LossWindow()
        self._windows: OrderedDict[str, LossWindow] = OrderedDict()

    def take(self, scraper: str) -> LossWindow:
        """Return the window of `scraper` and begin its next one."""
        segment, self.segment = self.segment, LossWindow()
        self._start.merge(segment)
        for window in self._windows.values():
            window.merge(segment)
        taken = self._windows.pop(scraper, None)
        if taken is None:
            taken = LossWindow()
            taken.merge(self._start)
        self._windows[scraper] = LossWindow()
        if len(self._windows) > MAX_WINDOWS:
            self._windows.popitem(last=False)
        return taken
