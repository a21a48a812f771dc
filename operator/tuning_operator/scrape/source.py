"""Where the metrics of a job's trials come from: from the trials themselves, or from a Prometheus server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.scrape.look import Look
from tuning_operator.scrape.reader import Identity, TrialReader
from tuning_operator.scrape.scraper import Scraper


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one attempt of one trial is found.

    Attributes:
        url: Where it answers.
        pod: Name of the pod that it runs in; no other attempt has it.
        since: Since when there is something of it to be read, in seconds since the epoch: what is older is known.
        seen: Identities of the evaluations that are known; added to.
    """

    url: str
    pod: str
    attempt: int
    since: float | None
    seen: set[Identity]


class Reader(Protocol):
    """Reads one attempt of one trial."""

    async def explain(self) -> str:
        """Say for a person why nothing usable came."""
        ...


class Source(Protocol):
    """Reads the trials of one job.

    Attributes:
        remembers: Whether a trial can still be read after it has ended.
        trouble: Why nothing can be read of any trial now; empty if something can.
        reads_since: Since when that is so without a break, in seconds since the epoch; silence before says nothing
            about a trial.
    """

    remembers: bool
    trouble: str
    reads_since: float

    def reader(self, place: Place) -> Reader:
        """Return a reader of one attempt of one trial."""
        ...

    async def look(self, readers: Sequence[Reader]) -> list[Sequence[Look]]:
        """Look through readers of this source at once; return for each what is new, oldest first. Never raises."""
        ...

    async def check(self) -> str | None:
        """Return why nothing could ever be read, before anything is started; None if all is well."""
        ...


class DirectSource:
    """Reads every trial at its own address."""

    remembers = False
    trouble = ""
    reads_since = 0.0

    def __init__(self, scraper: Scraper, *, spec: TuningJobSpec) -> None:
        self._scraper: Final = scraper
        self._spec: Final = spec

    def reader(self, place: Place) -> TrialReader:
        """Return a reader of one attempt of one trial."""
        return self._scraper.reader(url=place.url, spec=self._spec, attempt=place.attempt, seen=place.seen)

    async def look(self, readers: Sequence[TrialReader]) -> list[Sequence[Look]]:
        """Look at all trials at once."""
        return [(look,) for look in await asyncio.gather(*map(self._scraper.look, readers))]

    async def check(self) -> str | None:
        """Return None: whether a trial answers is seen when it runs."""
        return None
