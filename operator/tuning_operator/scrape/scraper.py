"""Looks at many trials at once, so that a bad one never delays a good one.

Every look has its own deadline. Looks share two lanes: the wide one for trials that answered last time, a narrow one
for those that hung. However many trials hang, they wait for each other and for nobody else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.scrape.fetch import Fetcher, Limits
from tuning_operator.scrape.look import Look
from tuning_operator.scrape.reader import Identity, TrialReader

_WIDE: Final = 256
_NARROW: Final = 32


class Scraper:
    """The operator's eyes; use it as an asynchronous context manager.

    Args:
        limits: What one request may cost.
        clock: Seconds since the epoch.
        observe: Told of each look how many seconds it took, and whether it failed.
    """

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
        observe: Callable[[float, bool], None] = lambda _seconds, _failed: None,
    ) -> None:
        self.fetcher: Final = Fetcher(limits)
        self._clock = clock
        self._observe = observe
        self._wide = asyncio.Semaphore(_WIDE)
        self._narrow = asyncio.Semaphore(_NARROW)

    async def __aenter__(self) -> Self:
        await self.fetcher.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.fetcher.__aexit__(kind, error, trace)

    def reader(self, *, url: str, spec: TuningJobSpec, attempt: int, seen: set[Identity] | None = None) -> TrialReader:
        """Return a reader for one attempt of one trial; its arguments are those of `TrialReader`."""
        return TrialReader(self.fetcher, url=url, spec=spec, attempt=attempt, seen=seen)

    async def look(self, reader: TrialReader) -> Look:
        """Look at one trial; never raises for anything that the trial does."""
        async with self._narrow if reader.hangs else self._wide:
            began = time.perf_counter()
            look = await reader.look(now=self._clock())
            self._observe(time.perf_counter() - began, look.error is not None)
            return look
