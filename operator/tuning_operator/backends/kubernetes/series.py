"""From a snapshot to Prometheus' metric families: a pure function, run outside of the event loop.

Everything that carries the name of an object is made here anew at each scrape, so nothing outlives its object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family

from tuning_operator.backends.kubernetes import metrics
from tuning_operator.backends.kubernetes.metrics import Kind, Metric

Add = Callable[[Metric, Sequence[str], float], None]
"""Takes a metric, the values of its labels in their order, and the value of the series."""


class Series:
    """Collects series by metric."""

    def __init__(self) -> None:
        self._families: Final[dict[str, Family]] = {}

    def add(self, metric: Metric, labels: Sequence[str], value: float) -> None:
        """Take in one series."""
        family = self._families.get(metric.name)
        if family is None:
            family = self._families[metric.name] = _family(metric)
        family.add_sample(metric.name, dict(zip(metric.labels, labels, strict=True)), value)

    def families(self) -> list[Family]:
        """Return what was taken in, in the order of the table."""
        return [self._families[one.name] for one in metrics.METRICS if one.name in self._families]


def add_known(add: Add, metric: Metric, labels: Sequence[str], body: Mapping[str, object], field: str) -> None:
    """Add the number that a field of an object holds, if it holds one."""
    value = body.get(field)
    if value is not None:
        add(metric, labels, float(str(value)))


def _family(metric: Metric) -> Family:
    if metric.kind is Kind.COUNTER:
        return CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    return GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
