"""Reads the trials of one job through a Prometheus server: one question for all of them, every scrape a look.

A question asks for the raw samples of the time since the last answer and a little more, so no scrape is missed that
reached the server late, and passes over what it has seen. Pods are told apart by the labels ``namespace`` and ``pod``;
no two attempts share a pod.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from trial_protocol import names
from tuning_operator.api.tuning_job import Prometheus, TuningJobSpec
from tuning_operator.errors import ScrapeError
from tuning_operator.scrape.exposition import Samples
from tuning_operator.scrape.fetch import Fetcher
from tuning_operator.scrape.look import Look
from tuning_operator.scrape.page import PageReader
from tuning_operator.scrape.pairing import Pages, Target, by_pod
from tuning_operator.scrape.prometheus import FIELD, Access, PrometheusServer, Series, TooMuch, selector
from tuning_operator.scrape.source import Place

_MARGIN: Final = 60.0
"""Seconds asked for again: a sample becomes visible when its scrape is over or its remote write has arrived, but bears
the time at which the scrape began."""
_PODS: Final = 100
"""Pods in one question: about 1 MB of answer, which is read in some 30 ms, while everything else waits."""
_LONG: Final = 600.0
"""Seconds; trials of which more is to be read, as after a restart of the operator, are asked about by themselves."""
_PODS_LONG: Final = 10
_OF_THE_SERVER: Final = frozenset(
    {
        "up",
        "scrape_duration_seconds",
        "scrape_samples_scraped",
        "scrape_samples_post_metric_relabeling",
        "scrape_series_added",
    }
)
"""What the server itself says about a scrape."""
_EVALUATION: Final = (
    names.METRIC_EVALUATION_STEP,
    names.METRIC_EVALUATION_POSITION,
    names.METRIC_EVALUATION_TIME,
    names.METRIC_EVALUATION_LEARNING_RATE,
)
_log: Final = logging.getLogger(__name__)


class PrometheusReader:
    """One attempt of one trial, as a server sees it.

    Attributes:
        place: Where it is found.
        read_until: Up to when its samples were asked for, in seconds since the epoch; None before the first answer.
    """

    def __init__(self, source: PrometheusSource, place: Place, *, spec: TuningJobSpec) -> None:
        self.place: Final = place
        self.read_until: float | None = None
        self._source = source
        self._reader = PageReader(spec, attempt=place.attempt)
        self._pages = Pages((*self._reader.wanted, *_EVALUATION))

    @property
    def newest(self) -> Mapping[Target, int]:
        """When its newest page was scraped, by target, in milliseconds since the epoch by the server's clock."""
        return self._pages.newest

    async def explain(self) -> str:
        """Say for a person why nothing usable came."""
        return await self._source.explain(self)

    def missing(self, found: Sequence[str]) -> str:
        """Say what a pod lacks that exports these names."""
        return self._reader.missing(found)

    def take(self, series: Iterable[Series], *, now: float) -> list[Look]:
        """Return a look for each page that is new, oldest first."""
        self.read_until = now
        try:
            return [self._look(page.time / 1000, page.samples, now) for page in self._pages.of(series)]
        except ScrapeError as error:
            return [Look(time=now, error=str(error))]

    def _look(self, scraped: float, samples: Samples, now: float) -> Look:
        problem = self._reader.problem(samples)
        if problem is not None:
            return Look(time=now, error=problem)
        # The server's clock may be behind the cluster's; a pod's samples are no older than the pod.
        records = self._reader.evaluation(samples, time=max(scraped, self.place.since or 0.0))
        identities = {(record.attempt, record.step, record.time) for record in records}
        if identities <= self.place.seen:
            records = []
        self.place.seen.update(identities)
        return self._reader.look(samples, records, now=now)


class PrometheusSource:
    """Reads the trials of one job through one server.

    Args:
        settings: ``spec.metrics.prometheus``.
        namespace: Where the trials' pods run.
        access: The server that the operator was set up with, whose token may be sent to it.
        clock: Seconds since the epoch.
        observe: Told of each question how many seconds it took, and whether it failed.

    Attributes: those of `source.Source`.
    """

    remembers = True
    reads_all_at_once = True

    def __init__(
        self,
        fetcher: Fetcher,
        *,
        settings: Prometheus,
        spec: TuningJobSpec,
        namespace: str,
        access: Access | None,
        clock: Callable[[], float],
        observe: Callable[[float, bool], None] = lambda _seconds, _failed: None,
    ) -> None:
        self.trouble = ""
        self.reads_since = 0.0
        self._server = PrometheusServer(fetcher, url=settings.url, access=access)
        self._matchers = settings.matchers
        self._spec = spec
        self._namespace = namespace
        self._clock = clock
        self._observe = observe
        metrics = PageReader(spec, attempt=0).wanted
        self._names = (*dict.fromkeys(f"{name}{end}" for name in metrics for end in ("", "_total")), *_EVALUATION)

    def reader(self, place: Place) -> PrometheusReader:
        """Return a reader of one attempt of one trial."""
        return PrometheusReader(self, place, spec=self._spec)

    async def look(self, readers: Sequence[PrometheusReader]) -> list[Sequence[Look]]:
        """Ask about all trials at once."""
        if not readers:
            return []
        now = self._clock()
        try:
            series = [one for batch, seconds in _batches(readers, now) for one in await self._ask(batch, seconds)]
        except ScrapeError as error:
            if not self.trouble:
                _log.warning("%s; nothing is decided about its trials until it answers", error)
            self.trouble = str(error)
            return [(Look(time=now, error=self.trouble),) for _ in readers]
        if self.trouble:
            _log.info("%s answers again", self._server.url)
            self.trouble, self.reads_since = "", now
        pods = by_pod(series)
        return [reader.take(pods.get(reader.place.pod, ()), now=now) for reader in readers]

    async def check(self) -> str | None:
        """Return why the server cannot be used; None if it answers."""
        try:
            await self._server.query("vector(1)")
        except ScrapeError as error:
            return str(error)
        return None

    async def explain(self, reader: PrometheusReader) -> str:
        """Say for a person why nothing usable came of one trial."""
        try:
            found = await self._server.query(self._selector((reader,), names=()))
        except ScrapeError as error:
            return str(error)
        warning = f" (it warns: {self._server.warning})" if self._server.warning else ""
        if not found:
            asked = self._selector((reader,), names=())
            return (
                f"{FIELD}: {self._server.url} has no series {asked}{warning}; let it scrape the trials' pods, as by a "
                "PodMonitor, with their namespace and name in the labels namespace and pod"
                + (f", or correct {FIELD}.matchers" if self._matchers else "")
            )
        for one in found:
            if one.labels.get("__name__") == "up" and one.pairs and one.pairs[-1][1] == "0":
                return (
                    f"{FIELD}: {self._server.url} cannot scrape {one.labels.get('instance', 'it')} (up is 0){warning}"
                )
        exported = sorted({one.labels.get("__name__", "") for one in found} - _OF_THE_SERVER)
        return f"through {self._server.url}: {reader.missing(exported)}{warning}"

    def _selector(self, readers: Iterable[PrometheusReader], *, names: Sequence[str]) -> str:
        return selector(
            names,
            objective=self._spec.objective.metric,
            namespace=self._namespace,
            pods=[reader.place.pod for reader in readers],
            matchers=self._matchers,
        )

    async def _ask(self, readers: Sequence[PrometheusReader], seconds: float) -> list[Series]:
        """Return the samples of the last `seconds`; of less where that is too much for one answer."""
        question = f"{self._selector(readers, names=self._names)}[{math.ceil(seconds)}s]"
        began, failed = time.perf_counter(), True
        try:
            found = await self._server.query(question)
            failed = False
            return found
        except TooMuch as error:
            if len(readers) > 1:
                half = len(readers) // 2
                return await self._ask(readers[:half], seconds) + await self._ask(readers[half:], seconds)
            if seconds <= _MARGIN:
                raise
            _log.warning("%s; of the pod %s, only half as long ago is read", error, readers[0].place.pod)
            return await self._ask(readers, seconds / 2)
        finally:
            self._observe(time.perf_counter() - began, failed)


def _batches(readers: Sequence[PrometheusReader], now: float) -> Iterator[tuple[Sequence[PrometheusReader], float]]:
    """Return who is asked about together, and how many seconds back."""
    ranges = {reader: _range(reader, now) for reader in readers}
    for is_long, size in ((False, _PODS), (True, _PODS_LONG)):
        those = [reader for reader in readers if (ranges[reader] > _LONG) is is_long]
        for first in range(0, len(those), size):
            batch = those[first : first + size]
            yield batch, max(ranges[reader] for reader in batch)


def _range(reader: PrometheusReader, now: float) -> float:
    since = reader.place.since if reader.read_until is None else reader.read_until
    return _MARGIN + max(now - (now if since is None else since), 0.0)
