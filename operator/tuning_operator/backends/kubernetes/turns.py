"""When the running trials of one job are looked at: each once an interval, in turns when they are many.

What a look finds is recorded and acted on when the look is complete, and one at a thousand trials takes seconds. In
turns of twenty to fifty, spread over the interval, a stop follows its metric at once, and the work is spread as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

_TOGETHER: Final = 20
_MOST: Final = 20


class Turns:
    """The turns of one job; a trial's turn follows from its number.

    Args:
        interval: Seconds between two looks at a trial.
        trials: How many may run at once.

    Attributes:
        due: When the next turn is, in seconds since the epoch; 0 for at once.
    """

    def __init__(self, *, interval: float, trials: int) -> None:
        self.due = 0.0
        self._count = min(max(math.ceil(trials / _TOGETHER), 1), _MOST)
        self._pause = interval / self._count
        self._turn = -1

    def take(self, now: float) -> Callable[[int], bool] | None:
        """Return whose turn it is, by number, or None if it is nobody's yet.

        A turn that is a little late makes no other late, or little by little every trial would be looked at less often
        than once an interval. One that is later than a whole turn moves all others: nothing is made up for.
        """
        if now < self.due:
            return None
        self.due = max((self.due or now) + self._pause, now)
        self._turn = turn = (self._turn + 1) % self._count
        return lambda number: number % self._count == turn
