"""A recorded learning curve: what is known of one trial at the marks."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Final

from tuning_operator.curves.marks import MARKS, MarkValue

_WIDTH: Final = 4


class Curve:
    """One trial's values at the marks, in rising order of marks; all values are losses.

    Marks may be missing: those before a trial's first evaluation, and those that nobody saw. A trial that starts again
    from a checkpoint reaches marks again: the latest attempt counts, so appending a mark that is not above the newest
    first forgets that mark and everything after it.

    One array of doubles, four a mark, keeps a full curve near 2 KB, because an engine holds thousands of them.
    """

    __slots__ = ("_attempt", "_marks", "_rows")

    def __init__(self) -> None:
        self._marks = array("B")
        self._rows = array("d")
        """Value, best, mean and learning rate (NaN for none) of each mark, one after the other."""
        self._attempt = 0

    def append(self, mark: MarkValue, *, attempt: int) -> None:
        """Record a mark; one that is not above the newest replaces it and all later ones.

        Raises:
            ValueError: The mark is outside 1 to `MARKS`.
        """
        if not 1 <= mark.mark <= MARKS:
            raise ValueError(f"a mark lies between 1 and {MARKS}; this one is {mark.mark}")
        marks = self._marks
        if marks and mark.mark <= marks[-1]:
            self._truncate(mark.mark)
        marks.append(mark.mark)
        learning_rate = math.nan if mark.learning_rate is None else mark.learning_rate
        self._rows.extend((mark.value, mark.best, mark.mean, learning_rate))
        self._attempt = attempt

    def _truncate(self, mark: int) -> None:
        """Forget `mark` and every mark after it."""
        kept = bisect_left(self._marks, mark)
        del self._marks[kept:], self._rows[_WIDTH * kept :]

    @property
    def mark(self) -> int:
        """The newest mark; 0 before the first."""
        return self._marks[-1] if self._marks else 0

    @property
    def fraction(self) -> float:
        """How much of the schedule is recorded, 0 to 1."""
        return self.mark / MARKS

    @property
    def value(self) -> float:
        """Value at the newest mark; infinite before the first."""
        return self._rows[-4] if self._rows else math.inf

    @property
    def best(self) -> float:
        """Least finite value of any evaluation up to the newest mark; infinite if there is none."""
        return self._rows[-3] if self._rows else math.inf

    @property
    def mean(self) -> float:
        """Mean of the values at all recorded marks; infinite before the first, or if one of them is not finite."""
        return self._rows[-2] if self._rows else math.inf

    @property
    def attempt(self) -> int:
        """Attempt that reached the newest mark; 0 before the first."""
        return self._attempt

    @property
    def learning_rate(self) -> float | None:
        """Learning rate at the newest mark, if the trial said it."""
        return _optional(self._rows[-1]) if self._rows else None

    def has(self, mark: int) -> bool:
        """Return whether a mark is recorded."""
        place = bisect_left(self._marks, mark)
        return place < len(self._marks) and self._marks[place] == mark

    def index(self, mark: int) -> int:
        """Return how many marks were recorded before this one.

        Raises:
            KeyError: The mark is not recorded; so also for `value_at` and its like.
        """
        place = bisect_left(self._marks, mark)
        if place == len(self._marks) or self._marks[place] != mark:
            raise KeyError(f"mark {mark} is not recorded; those recorded are {list(self._marks)}")
        return place

    def value_at(self, mark: int) -> float:
        """Return the value at a recorded mark."""
        return self._rows[_WIDTH * self.index(mark)]

    def best_at(self, mark: int) -> float:
        """Return the best value up to a recorded mark."""
        return self._rows[_WIDTH * self.index(mark) + 1]

    def mean_at(self, mark: int) -> float:
        """Return the running average at a recorded mark."""
        return self._rows[_WIDTH * self.index(mark) + 2]

    def learning_rate_at(self, mark: int) -> float | None:
        """Return the learning rate at a recorded mark, if the trial said it."""
        return _optional(self._rows[_WIDTH * self.index(mark) + 3])

    def marks(self) -> tuple[int, ...]:
        """Return the recorded marks, rising."""
        return tuple(self._marks)

    def means(self) -> Iterable[tuple[int, float]]:
        """Return every recorded mark with the mean up to there, oldest first."""
        return zip(self._marks, self._rows[2::_WIDTH], strict=True)

    def __len__(self) -> int:
        """Return how many marks are recorded."""
        return len(self._marks)

    def __iter__(self) -> Iterator[MarkValue]:
        """Return every recorded mark, oldest first."""
        for place, mark in enumerate(self._marks):
            value, best, mean, learning_rate = self._rows[_WIDTH * place : _WIDTH * (place + 1)]
            yield MarkValue(mark=mark, value=value, best=best, mean=mean, learning_rate=_optional(learning_rate))


def _optional(learning_rate: float) -> float | None:
    return None if math.isnan(learning_rate) else learning_rate
