"""What a job's trials are read through: themselves (`scraper`), or a Prometheus server (`prometheus_source`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from tuning_operator.scrape.look import Look
from tuning_operator.scrape.reader import Identity


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


R = TypeVar("R", bound=Reader)


class Source(Protocol[R]):
    """Reads the trials of one job.

    Attributes:
        remembers: Whether a trial can still be read after it has ended.
        reads_all_at_once: Whether a look at one trial costs as much as a look at all.
        trouble: Why nothing can be read of any trial now; empty if something can.
        reads_since: Since when that is so without a break, in seconds since the epoch; silence before says nothing
            about a trial.
    """

    remembers: bool
    reads_all_at_once: bool
    trouble: str
    reads_since: float

    def reader(self, place: Place) -> R:
        """Return a reader of one attempt of one trial."""
        ...

    async def look(self, readers: Sequence[R]) -> list[Sequence[Look]]:
        """Look through readers of this source at once; return for each what is new, oldest first. Never raises."""
        ...

    async def check(self) -> str | None:
        """Return why nothing could ever be read, before anything is started; None if all is well."""
        ...
