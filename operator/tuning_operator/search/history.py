"""What samplers learn from: the recorded trials, always in the order of their numbers.

The order of arrival leaves no trace, so a proposal depends on the set of recorded trials alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from tuning_operator.search.dimension import Code
from tuning_operator.search.space import Codes


class Standing(StrEnum):
    """What is known of a trial."""

    RUNNING = "Running"
    COMPLETED = "Completed"
    STOPPED = "Stopped"
    """Stopped early; its loss is the newest one at a mark."""
    FAILED = "Failed"
    """Says nothing about its configuration."""


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """One recorded trial.

    Attributes:
        loss: The finite loss to learn from. None for a running or failed trial, and for one that ended without a
            finite loss: that is no lack of knowledge but the worst of results.
        mark: Mark at which a stopped trial had that loss; later is better.
    """

    number: int
    codes: dict[str, Code]
    standing: Standing = Standing.RUNNING
    loss: float | None = None
    mark: int = 0


class History:
    """The recorded trials of one job."""

    def __init__(self) -> None:
        self._by_number: dict[int, Recorded] = {}
        self._in_order = True

    def __len__(self) -> int:
        return len(self._by_number)

    def get(self, number: int) -> Recorded | None:
        """Return the trial, if it is recorded."""
        return self._by_number.get(number)

    def trials(self) -> Sequence[Recorded]:
        """Return all trials by number."""
        if not self._in_order:
            self._by_number = dict(sorted(self._by_number.items()))
            self._in_order = True
        return list(self._by_number.values())

    def add(self, number: int, codes: Codes) -> None:
        """Take in a proposal; it is running until told."""
        if self._by_number and number < next(reversed(self._by_number)):
            self._in_order = False
        self._by_number[number] = Recorded(number, dict(codes))

    def end(self, number: int, *, standing: Standing, value: float | None, marks: Sequence[tuple[int, float]]) -> None:
        """Take in how a trial ended.

        Raises:
            KeyError: The trial was never added.
        """
        loss, mark = value, 0
        if standing is Standing.STOPPED and marks:
            mark, loss = max(marks)
        if standing is Standing.FAILED or loss is None or not math.isfinite(loss):
            loss = None
        self._by_number[number] = replace(self._by_number[number], standing=standing, loss=loss, mark=mark)

    def losses(self) -> list[tuple[Recorded, float]]:
        """Return every ended trial that says something, with a number for it.

        For samplers that need a number: stopped trials count with the loss at their stop, and trials that ended
        without a finite loss count as the worst one seen, so that nobody goes back to where training diverges.
        """
        ended = [trial for trial in self.trials() if trial.standing in (Standing.COMPLETED, Standing.STOPPED)]
        known = [trial.loss for trial in ended if trial.loss is not None]
        if not known:
            return []
        worst = max(known)
        return [(trial, worst if trial.loss is None else trial.loss) for trial in ended]
