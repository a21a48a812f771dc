"""What a Prometheus server answers to the queries of a dashboard, as Grafana would ask them."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from helm.dashboards.panel import Dashboard, Query

_POINTS = 240


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line: its labels, and its points as (seconds since the epoch, value)."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Span:
    """A time range, in seconds since the epoch."""

    start: float
    end: float

    @property
    def step(self) -> float:
        """Seconds between two points."""
        return max((self.end - self.start) / _POINTS, 1.0)


class Prometheus:
    """The HTTP API of one server.

    Args:
        rate_interval: What stands for Grafana's ``$__rate_interval``: four scrape intervals.
    """

    def __init__(self, url: str, *, rate_interval: str = "1m") -> None:
        self._url = url.rstrip("/")
        self._rate_interval = rate_interval

    def choices(self, page: Dashboard, given: Mapping[str, str], span: Span) -> dict[str, str]:
        """Return a value for each variable of a dashboard: the given one, else the last that there is.

        Raises:
            LookupError: There is no value, because nothing was measured.
        """
        chosen: dict[str, str] = {}
        for variable in page.variables:
            if variable.name in given:
                chosen[variable.name] = given[variable.name]
            elif variable.several:
                chosen[variable.name] = ".*"
            else:
                matchers = ", ".join(f'{name}="{chosen[name]}"' for name in variable.narrowed_by)
                values = self._ask(
                    f"label/{variable.name}/values",
                    {"match[]": f"{variable.metric}{{{matchers}}}", "start": span.start, "end": span.end},
                )
                if not values:
                    raise LookupError(f"{page.title}: {variable.metric} has no series with {variable.name}")
                chosen[variable.name] = values[-1]
        return chosen

    def curves(self, query: Query, chosen: Mapping[str, str], span: Span) -> list[Series]:
        """Return a query's series over the whole span."""
        expression = self._filled(query.expression, chosen, span)
        answer = self._ask(
            "query_range", {"query": expression, "start": span.start, "end": span.end, "step": span.step}
        )
        return [
            Series(labels=one["metric"], points=[(float(at), float(value)) for at, value in one["values"]])
            for one in answer["result"]
        ]

    def newest(self, query: Query, chosen: Mapping[str, str], span: Span) -> list[Series]:
        """Return the last point of each of a query's series."""
        return [
            Series(labels=one.labels, points=one.points[-1:]) for one in self.curves(query, chosen, span) if one.points
        ]

    def _filled(self, expression: str, chosen: Mapping[str, str], span: Span) -> str:
        expression = expression.replace("$__rate_interval", self._rate_interval)
        expression = expression.replace("$__interval", f"{int(span.step) + 1}s")
        for name in sorted(chosen, key=len, reverse=True):
            expression = expression.replace(f"${name}", chosen[name])
        return expression

    def _ask(self, path: str, parameters: Mapping[str, Any]) -> Any:
        url = f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(f"{parameters.get('query', path)}: {error.read().decode(errors='replace')}") from error
