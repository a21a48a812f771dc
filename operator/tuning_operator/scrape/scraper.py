"""Looks at many trials at once, so that a bad one never delays a good one.

Every look has its own deadline. Looks share two lanes: the wide one for trials that answered last time, a narrow one
for those that hung. However many trials hang, they wait for each other and for nobody else; what they say comes with a
later look at their job.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from weakref import WeakKeyDictionary

from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.scrape.fetch import Fetcher, Limits
from tuning_operator.scrape.look import Look
from tuning_operator.scrape.prometheus import LIMITS, Access
from tuning_operator.scrape.prometheus_source import PrometheusSource
from tuning_operator.scrape.reader import Identity, TrialReader
from tuning_operator.scrape.source import Place, Source

_WIDE: Final = 256
_NARROW: Final = 32
T = TypeVar("T")


class Scraper:
    """The operator's eyes; use it as an asynchronous context manager.

    Args:
        limits: What one request may cost.
        clock: Seconds since the epoch.
        access: The Prometheus server that the operator was set up with.
        observe: Told of each look how many seconds it took, and whether it failed.
        patience: Seconds for which all trials of a job wait for one that does not answer.
    """

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
        access: Access | None = None,
        observe: Callable[[float, bool], None] = lambda _seconds, _failed: None,
        patience: float = 1.0,
    ) -> None:
        self.fetcher: Final = Fetcher(limits)
        self.patience: Final = patience
        self._servers = Fetcher(LIMITS)
        self._access = access
        self._clock = clock
        self._observe = observe
        self._wide = asyncio.Semaphore(_WIDE)
        self._narrow = asyncio.Semaphore(_NARROW)
        self._going: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        await self.fetcher.__aenter__()
        await self._servers.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._going:
            task.cancel()
        await asyncio.gather(*self._going, return_exceptions=True)
        await self._servers.__aexit__(kind, error, trace)
        await self.fetcher.__aexit__(kind, error, trace)

    def source(self, *, spec: TuningJobSpec, namespace: str) -> Source[Any]:
        """Return what the trials of a job are read through, as its manifest says."""
        if spec.metrics.prometheus is None:
            return DirectSource(self, spec=spec)
        return PrometheusSource(
            self._servers,
            settings=spec.metrics.prometheus,
            spec=spec,
            namespace=namespace,
            access=self._access,
            clock=self._clock,
            observe=self._observe,
        )

    def reader(self, *, url: str, spec: TuningJobSpec, attempt: int, seen: set[Identity] | None = None) -> TrialReader:
        """Return a reader for one attempt of one trial; its arguments are those of `TrialReader`."""
        return TrialReader(self.fetcher, url=url, spec=spec, attempt=attempt, seen=seen)

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start something that nobody need wait for; it ends with this scraper at the latest."""
        task = asyncio.create_task(work)
        self._going.add(task)
        task.add_done_callback(self._going.discard)
        return task

    async def look(self, reader: TrialReader) -> Look:
        """Look at one trial; never raises for anything that the trial does."""
        async with self._narrow if reader.hangs else self._wide:
            began = time.perf_counter()
            look = await reader.look(now=self._clock())
            self._observe(time.perf_counter() - began, look.error is not None)
            return look


class DirectSource:
    """Reads every trial of a job at its own address.

    Attributes: those of `source.Source`.
    """

    remembers = False
    reads_all_at_once = False
    trouble = ""
    reads_since = 0.0

    def __init__(self, scraper: Scraper, *, spec: TuningJobSpec) -> None:
        self._scraper = scraper
        self._spec = spec
        self._looks: WeakKeyDictionary[TrialReader, asyncio.Task[Look]] = WeakKeyDictionary()

    def reader(self, place: Place) -> TrialReader:
        """Return a reader of one attempt of one trial."""
        return self._scraper.reader(url=place.url, spec=self._spec, attempt=place.attempt, seen=place.seen)

    async def look(self, readers: Sequence[TrialReader]) -> list[Sequence[Look]]:
        """Look at all trials at once; what takes longer than others should wait for comes with the next look."""
        awaited = []
        for reader in readers:
            if reader not in self._looks:
                look = self._looks[reader] = self._scraper.begin(self._scraper.look(reader))
                if not reader.hangs:
                    awaited.append(look)
        if awaited:
            await asyncio.wait(awaited, timeout=self._scraper.patience)
        return [(self._looks.pop(reader).result(),) if self._looks[reader].done() else () for reader in readers]

    async def check(self) -> str | None:
        """Return None: whether a trial answers is seen when it runs."""
        return None
