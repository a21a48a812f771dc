"""What is counted while the process runs: requests, reconciles, scrapes, the event loop's lag.

Labels come from closed sets, never from the name of an object, so nothing here grows with the cluster.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Iterator
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.process_collector import ProcessCollector

from tuning_operator.backends.kubernetes import metrics
from tuning_operator.backends.kubernetes.metrics import Metric
from tuning_operator.scrape.steering import Sent

_LAG_EVERY: Final = 0.25
_RBAC_VERBS: Final = {"apply": "patch"}


class ProcessMeters:
    """Of every replica, whether it leads or not."""

    def __init__(self) -> None:
        self._registry: Final = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        _gauge(metrics.BUILD_INFO, self._registry).labels(version("tuning-operator"), platform.python_version()).set(1)
        self._leader = _gauge(metrics.LEADER, self._registry)
        self._lag = _histogram(metrics.LOOP_LAG, self._registry)
        self._requests = _counter(metrics.REQUESTS, self._registry)
        self._request_duration = _histogram(metrics.REQUEST_DURATION, self._registry)

    def leads(self) -> None:
        """Say that this process leads now."""
        self._leader.set(1)

    def request(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Count a request; an `Observer` of the client."""
        verb = _RBAC_VERBS.get(verb, verb)
        self._requests.labels(verb, resource, str(code)).inc()
        self._request_duration.labels(verb, resource).observe(seconds)

    async def watch_loop(self) -> None:
        """Measure how late the event loop is, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_EVERY
            await asyncio.sleep(_LAG_EVERY)
            self._lag.observe(max(loop.time() - due, 0.0))

    def collect(self) -> Iterator[Family]:
        """Return everything that was measured."""
        return _families(self._registry)


class WorkMeters:
    """Of the replica that leads; all of its parts share one."""

    def __init__(self) -> None:
        self._registry: Final = CollectorRegistry()
        self._reconciles = _counter(metrics.RECONCILES, self._registry)
        self._reconcile_duration = _histogram(metrics.RECONCILE_DURATION, self._registry)
        self._restarts = _counter(metrics.WATCH_RESTARTS, self._registry)
        self._scrapes = _counter(metrics.SCRAPES, self._registry)
        self._scrape_duration = _histogram(metrics.SCRAPE_DURATION, self._registry)
        self._messages = _counter(metrics.CONTROL_MESSAGES, self._registry)

    def trial_reconciled(self, seconds: float, failed: bool) -> None:
        """Count that the trial controller looked at a Trial."""
        self._reconciled("trial", seconds, failed)

    def job_reconciled(self, seconds: float, failed: bool) -> None:
        """Count that a study looked at its TuningJob."""
        self._reconciled("job", seconds, failed)

    def _reconciled(self, controller: str, seconds: float, failed: bool) -> None:
        self._reconciles.labels(controller, "error" if failed else "success").inc()
        self._reconcile_duration.labels(controller).observe(seconds)

    def watch_restarted(self, resource: str, reason: str) -> None:
        """Count a watch that ended by an error."""
        self._restarts.labels(resource, reason).inc()

    def scraped(self, seconds: float, failed: bool) -> None:
        """Count a look at a trial."""
        self._scrapes.labels("error" if failed else "success").inc()
        self._scrape_duration.observe(seconds)

    def control_sent(self, sent: Sent) -> None:
        """Count a control message."""
        self._messages.labels(sent).inc()

    def collect(self) -> Iterator[Family]:
        """Return everything that was counted."""
        return _families(self._registry)


def _families(registry: CollectorRegistry) -> Iterator[Family]:
    """Return what a registry holds without the ``_created`` series, which double it and which nobody queries."""
    for family in registry.collect():
        family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
        yield family


def _gauge(metric: Metric, registry: CollectorRegistry) -> Gauge:
    return Gauge(metric.name, metric.help, metric.labels, registry=registry)


def _counter(metric: Metric, registry: CollectorRegistry) -> Counter:
    return Counter(metric.name, metric.help, metric.labels, registry=registry)


def _histogram(metric: Metric, registry: CollectorRegistry) -> Histogram:
    return Histogram(metric.name, metric.help, metric.labels, registry=registry, buckets=metric.buckets)
