"""Reads one attempt of one trial again and again, and knows what it has read before.

The page `/metrics` says where the trial is and what its training loss does; evaluations come from `/history`, where a
slow reader misses none, and which is not asked while the page's header says that nothing came. A program that has no
`/history` (any exporter of Prometheus metrics) is read from its page alone: a value counts when the objective and the
axis are both there and one of them has changed.
"""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import Final

from trial_protocol import names
from trial_protocol.errors import ProtocolError
from trial_protocol.history import HistoryRecord
from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.errors import ScrapeError, ScrapeTimeout
from tuning_operator.scrape.exposition import Samples, read_samples, sample_names
from tuning_operator.scrape.fetch import Answer, Fetcher
from tuning_operator.scrape.look import Look
from tuning_operator.scrape.page import PageReader

_PAGE: Final = 2_000
"""Records asked for at once; fewer when that many are larger than an answer may be."""
_PAGES: Final = 50
"""Pages in one look; what is left comes with the next."""

Identity = tuple[int, int, float]


class _NoHistory(ScrapeError):
    """The program does not know `/history`, or has nothing there yet."""


class TrialReader:
    """Reads one attempt of one trial.

    Args:
        url: Where the trial answers, ``http://127.0.0.1:8000``.
        attempt: Which start of the trial is expected there; an answer of another one is an error.
        seen: Identities of the records that are known already; shared between the attempts of a trial, and added to.
    """

    def __init__(
        self, fetcher: Fetcher, *, url: str, spec: TuningJobSpec, attempt: int, seen: set[Identity] | None = None
    ) -> None:
        self.url: Final = url.rstrip("/")
        self.hangs = False
        """Whether the last look got no whole answer in time."""
        self._fetcher = fetcher
        self._pages: Final = PageReader(spec, attempt=attempt)
        self._query: Final = (
            (names.QUERY_WINDOW, names.OPERATOR_WINDOW),
            *((names.QUERY_NAMES, name) for name in self._pages.wanted),
            (names.QUERY_NAMES, f"{self._pages.objective}_total"),
            (names.QUERY_NAMES, f"{self._pages.axis}_total"),
        )
        self._seen = set() if seen is None else seen
        self._has_history = True
        self._cursor = ""
        self._after: int | None = None
        self._page = _PAGE

    async def look(self, *, now: float) -> Look:
        """Look once; never raises for anything that the trial does."""
        self.hangs = False
        try:
            answer = await self._get(names.PATH_METRICS, self._query)
        except ScrapeError as error:
            self.hangs = isinstance(error, ScrapeTimeout)
            return Look(time=now, error=str(error))
        samples = read_samples(answer.body, self._pages.wanted)
        problem = self._problem(answer, samples)
        if problem is not None:
            return Look(time=now, error=problem)
        is_known = bool(self._cursor) and answer.headers.get(names.HEADER_NEXT) == self._cursor
        records, trouble = ([], None) if is_known else await self._records(samples, now)
        look = self._pages.look(samples, records, trouble=trouble, now=now)
        if trouble is None and records and not look.observations:
            return replace(look, error=self._unusable(records[-1]))
        return look

    async def explain(self) -> str:
        """Say what the trial exports instead of what is wanted, for a person."""
        try:
            answer = await self._get(names.PATH_METRICS, ((names.QUERY_WINDOW, "explain"),))
        except ScrapeError as error:
            return str(error)
        return self._pages.missing(sample_names(answer.body))

    def _problem(self, answer: Answer, samples: Samples) -> str | None:
        if answer.cut:
            return (
                f"its page is larger than {self._fetcher.limits.size >> 10} KiB and was not read to the end; "
                f"let it answer {names.QUERY_NAMES} with the named metrics only"
            )
        problem = self._pages.problem(samples)
        if problem is not None:
            return problem
        if not samples.values and answer.body.strip() and not sample_names(answer.body):
            comments_only = all(line.startswith("#") for line in answer.body.splitlines() if line.strip())
            if not comments_only:
                return f"its page is not in Prometheus' text format; it begins with {answer.body.strip()[:40]!r}"
        return None

    def _unusable(self, record: HistoryRecord) -> str:
        missing = self._pages.objective if self._pages.objective not in record.values else self._pages.axis
        near = difflib.get_close_matches(missing, record.values, n=1, cutoff=0.6)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"no metric {missing} in its evaluations; they have: {', '.join(sorted(record.values)[:20])}{hint}"

    async def _records(self, samples: Samples, now: float) -> tuple[list[HistoryRecord], str | None]:
        """Return the new records, and what was wrong with the history."""
        if self._has_history:
            try:
                return await self._history()
            except _NoHistory:
                pass
            except ScrapeError as error:
                self.hangs = isinstance(error, ScrapeTimeout)
                return [], str(error)
        return self._pages.evaluation(samples, time=now), None

    async def _history(self) -> tuple[list[HistoryRecord], str | None]:
        found: list[HistoryRecord] = []
        trouble: str | None = None
        for _ in range(_PAGES):
            try:
                answer = await self._get(names.PATH_HISTORY, self._history_query())
            except ScrapeError as error:
                if not found:
                    raise
                return found, str(error)
            if answer.cut:
                if self._page == 1:
                    return found, f"one record of its history is larger than {self._fetcher.limits.size >> 10} KiB"
                self._page = max(1, self._page // 4)
                continue
            lines = [line for line in answer.body.split("\n") if line.strip()]
            known = len(found)
            for line in lines:
                try:
                    record = HistoryRecord.from_json(line)
                except ProtocolError as error:
                    trouble = f"its history has a line that cannot be read: {error}"
                    continue
                self._after = record.step if self._after is None else max(self._after, record.step)
                identity = (record.attempt, record.step, record.time)
                if identity not in self._seen:
                    self._seen.add(identity)
                    found.append(record)
            self._cursor = answer.headers.get(names.HEADER_NEXT, "")
            if len(lines) < self._page or len(found) == known:
                break
        return found, trouble

    def _history_query(self) -> list[tuple[str, str]]:
        query = [(names.QUERY_LIMIT, str(self._page))]
        if self._cursor:
            query.append((names.QUERY_CURSOR, self._cursor))
        elif self._after is not None:
            query.append((names.QUERY_AFTER, str(self._after)))
        return query

    async def _get(self, path: str, query: tuple[tuple[str, str], ...] | list[tuple[str, str]]) -> Answer:
        answer = await self._fetcher.get(self.url + path, query)
        if answer.status == 200 and (path != names.PATH_HISTORY or _is_history(answer)):
            return answer
        if answer.status == 200:
            # Simple exporters answer every path with their page.
            self._has_history = not answer.body.strip()
            raise _NoHistory
        if path == names.PATH_HISTORY:
            if answer.status in (404, 405, 501):
                self._has_history = False
                raise _NoHistory
            self._cursor = ""
        moved = " (redirects are not followed)" if 300 <= answer.status < 400 else ""
        raise ScrapeError(f"answered {answer.status} to {path}{moved}")


def _is_history(answer: Answer) -> bool:
    said = names.HEADER_NEXT in answer.headers or "json" in answer.headers.get("Content-Type", "")
    return said or answer.body.lstrip().startswith("{")
