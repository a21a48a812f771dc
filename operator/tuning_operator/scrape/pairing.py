"""From the series of a Prometheus server back to the pages that it scraped.

All samples of one scrape of one target carry the same time, and one scrape is one exposition, which a trial writes from
one snapshot. So samples of one pod and one target at one time belong together, and no others do (docs/adr/0008).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from tuning_operator.scrape.exposition import Samples
from tuning_operator.scrape.prometheus import Series

LABEL_POD = "pod"
_NAME = "__name__"

Target = tuple[str, str]
"""The labels ``job`` and ``instance``, which Prometheus gives to everything that it scrapes."""


@dataclass(frozen=True, slots=True)
class Page:
    """What one scrape of one target brought.

    Attributes:
        time: Of the scrape, in milliseconds since the epoch by the server's clock.
    """

    time: int
    target: Target
    samples: Samples


@dataclass(slots=True)
class Pages:
    """Puts the series of one pod together.

    Attributes:
        newest: Time of the newest page of each target so far; what is not newer is passed over.
    """

    wanted: Collection[str]
    newest: dict[Target, int] = field(default_factory=dict)

    def of(self, series: Iterable[Series]) -> list[Page]:
        """Return the pages that are new, oldest first.

        Raises:
            ScrapeError: A sample is not one.
        """
        found: dict[tuple[int, Target], dict[str, list[tuple[int, float]]]] = {}
        for one in series:
            labels = one.labels
            name = labels.get(_NAME, "")
            target = (labels.get("job", ""), labels.get("instance", ""))
            after = self.newest.get(target, -1)
            for time, value in one.newer(after):
                found.setdefault((time, target), {}).setdefault(name, []).append((len(labels), value))
        pages = []
        for time, target in sorted(found):
            self.newest[target] = time
            pages.append(Page(time, target, self._resolved(found[time, target])))
        return pages

    def _resolved(self, samples: dict[str, list[tuple[int, float]]]) -> Samples:
        """Choose one value for each name, as `exposition.read_samples` does.

        Which labels are the sample's own cannot be told from those of its target, but it has the more labels the more
        are its own.
        """
        values: dict[str, float] = {}
        ambiguous: dict[str, int] = {}
        for name in self.wanted:
            same = samples.get(name) or samples.get(f"{name}_total")
            if not same:
                continue
            fewest = min(count for count, _ in same)
            plainest = [value for count, value in same if count == fewest]
            if len(plainest) == 1:
                values[name] = plainest[0]
            else:
                ambiguous[name] = len(plainest)
        return Samples(values=values, ambiguous=ambiguous)


def by_pod(series: Iterable[Series]) -> dict[str, list[Series]]:
    """Return the series of each pod."""
    found: dict[str, list[Series]] = {}
    for one in series:
        found.setdefault(one.labels.get(LABEL_POD, ""), []).append(one)
    return found
