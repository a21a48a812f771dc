"""Every evaluation of a trial, from this process and from earlier attempts, for `GET /history`."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from trial_protocol.errors import ProtocolError
from trial_protocol.history import HistoryRecord

MAX_RECORDS: Final = 100_000
"""Evaluations kept; beyond that the oldest tenth is forgotten."""
MAX_PAGE: Final = 10_000
"""Records in one answer."""


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a history, and the cursor that continues it."""

    records: list[HistoryRecord]
    cursor: str


class Evaluations:
    """Records in the order in which they were reported; thread-safe.

    A cursor is ``LIFE.NUMBER``: NUMBER records of the list's life LIFE have been seen. The life is the time at which
    the list was begun, so the cursor of another process, or of the time before a restored history was put in front, is
    recognised and starts over: a reader may see a record twice, but misses none.
    """

    def __init__(self, *, life: int) -> None:
        self._life = life
        self._lock = threading.Lock()
        self._records: list[HistoryRecord] = []
        self._forgotten = 0

    def append(self, record: HistoryRecord) -> None:
        """Add the newest record."""
        with self._lock:
            self._records.append(record)
            if len(self._records) > MAX_RECORDS:
                oldest = MAX_RECORDS // 10
                del self._records[:oldest]
                self._forgotten += oldest

    def restore(self, records: Iterable[HistoryRecord]) -> None:
        """Put the records of earlier attempts in front; those that are here already are not doubled."""
        with self._lock:
            known = {_identity(record) for record in self._records}
            earlier = [record for record in records if _identity(record) not in known]
            if earlier:
                self._records[:0] = earlier
                self._life += 1

    def all(self) -> list[HistoryRecord]:
        """Return every record, oldest first."""
        with self._lock:
            return list(self._records)

    @property
    def cursor(self) -> str:
        """Return what a reader has who has seen every record."""
        with self._lock:
            return f"{self._life}.{self._forgotten + len(self._records)}"

    def page(self, *, after: int | None = None, cursor: str | None = None, limit: int = MAX_PAGE) -> Page:
        """Return at most `limit` records that are beyond step `after` and not yet seen by `cursor`.

        Raises:
            ProtocolError: The cursor is none that was given out.
        """
        limit = max(1, min(limit, MAX_PAGE))
        with self._lock:
            seen = max(0, self._seen(cursor) - self._forgotten)
            records = self._records[seen:]
            life, first = self._life, self._forgotten + seen
        page: list[HistoryRecord] = []
        looked_at = 0
        for record in records:
            if after is None or record.step > after:
                if len(page) == limit:
                    break
                page.append(record)
            looked_at += 1
        return Page(page, f"{life}.{first + looked_at}")

    def _seen(self, cursor: str | None) -> int:
        if not cursor:
            return 0
        life, dot, number = cursor.partition(".")
        if not (dot and life.isdecimal() and number.isdecimal() and len(cursor) < 64):
            raise ProtocolError(f"the cursor {cursor[:40]!r} is none that this trial gave out; ask without it")
        return int(number) if int(life) == self._life else 0


def _identity(record: HistoryRecord) -> tuple[int, int, float]:
    return record.attempt, record.step, record.time
