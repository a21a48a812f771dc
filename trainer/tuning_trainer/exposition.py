"""A snapshot of a trial as Prometheus text or OpenMetrics, written by Prometheus' own library."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from trial_protocol import names
from tuning_trainer.state import Evaluated, Snapshot

_PROCESS: Final = ProcessCollector(registry=None)
"""Memory and CPU time of this process, under the names that every client library uses."""
_COUNTER_HELP: Final[Mapping[str, str]] = {
    names.METRIC_STEP: "Optimizer steps done.",
    names.METRIC_TOKENS: "Tokens trained on.",
    names.METRIC_SAMPLES: "Samples trained on.",
    names.METRIC_EPOCHS: "Passes over the training data.",
    names.METRIC_SECONDS: "Seconds trained, over all attempts.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is in force and where on the schedule the trial is.

    Attributes:
        fraction: Part of the planned schedule that is done; None when the schedule's length is not known.
        axis: What the schedule is counted in.
    """

    attempt: int
    revision: int
    learning_rate_scale: float
    fraction: float | None
    axis: str = names.METRIC_STEP


def wants_window(requested: Sequence[str]) -> bool:
    """Whether a scrape that asks for these names (none: for all) looks at the loss window, and so ends it."""
    return not requested or not names.WINDOW_METRICS.isdisjoint(requested)


def render(snapshot: Snapshot, standing: Standing, *, accept: str, requested: Sequence[str]) -> tuple[bytes, str]:
    """Return the body and its content type.

    Args:
        accept: The request's ``Accept`` header.
        requested: Sample names to restrict the answer to; empty for all.
    """
    encode, content_type = choose_encoder(accept)
    registry = CollectorRegistry(auto_describe=True)
    registry.register(_Collector(list(_families(snapshot, standing))))
    if not requested or any(name.startswith("process_") for name in requested):
        registry.register(_PROCESS)
    return encode(registry.restricted_registry(requested) if requested else registry), content_type


class _Collector(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(snapshot: Snapshot, standing: Standing) -> Iterator[Metric]:
    for name, value in snapshot.counters.items():
        yield _gauge(name, _COUNTER_HELP[name], value)
    for name, newest in snapshot.values.items():
        yield _gauge(name, "Reported by the trial.", newest.value)
    yield from _evaluations(snapshot.values, standing.axis)
    yield CounterMetricFamily(
        names.METRIC_LOSS_NONFINITE, "Training losses that were NaN or infinite.", value=snapshot.nonfinite
    )
    yield from _window(snapshot)
    yield _gauge(names.METRIC_ATTEMPT, "Which start of the trial this is.", standing.attempt)
    yield _gauge(names.METRIC_CONTROL_REVISION, "Newest control revision in force.", standing.revision)
    yield _gauge(
        names.METRIC_LEARNING_RATE_SCALE, "Factor in force on the learning rate.", standing.learning_rate_scale
    )
    for name, text, known in (
        (names.METRIC_SCHEDULE_FRACTION, "Part of the planned schedule that is done.", standing.fraction),
        (names.METRIC_LEARNING_RATE, "Learning rate in force.", snapshot.learning_rate),
        (names.METRIC_GRADIENT_NORM, "Norm of the newest gradient.", snapshot.gradient_norm),
    ):
        if known is not None:
            yield _gauge(name, text, known)
    if (held := _gpu_memory()) is not None:
        yield _gauge(names.METRIC_GPU_MEMORY, "Memory that tensors of this process hold on its GPU.", held)


def _gpu_memory() -> float | None:
    """Return bytes; None where torch is not used, or not on a GPU. It is never imported from here."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    is_used = getattr(cuda, "is_initialized", None)  # None while torch is being imported.
    return float(cuda.memory_allocated()) if cuda is not None and is_used is not None and is_used() else None


def _evaluations(values: Mapping[str, Evaluated], axis: str) -> Iterator[Metric]:
    """Say of every reported value where, when and with what it was measured; the counters have gone on since."""
    told: tuple[tuple[str, str, Callable[[Evaluated], float | None]], ...] = (
        (names.METRIC_EVALUATION_STEP, "Step at which a reported metric was measured.", lambda one: one.step),
        (names.METRIC_EVALUATION_POSITION, "The same on the job's axis.", lambda one: one.beside.get(axis)),
        (names.METRIC_EVALUATION_TIME, "When it was measured, by the trial's clock.", lambda one: one.time),
        (names.METRIC_EVALUATION_LEARNING_RATE, "Learning rate in force at that step.", lambda one: one.learning_rate),
    )
    for metric, text, tell in told:
        known = {name: number for name, newest in values.items() if (number := tell(newest)) is not None}
        if known:
            family = GaugeMetricFamily(metric, text, labels=[names.LABEL_METRIC])
            for name, number in known.items():
                family.add_metric([name], number)
            yield family


def _window(snapshot: Snapshot) -> Iterator[Metric]:
    window = snapshot.window
    if window is None:
        return
    nothing = float("nan")
    yield _gauge(names.METRIC_LOSS_COUNT, "Finite training losses since this scraper's last look.", window.count)
    yield _gauge(names.METRIC_LOSS_MEAN, "Mean of them.", window.mean)
    yield _gauge(names.METRIC_LOSS_MIN, "Least of them.", window.minimum if window.count else nothing)
    yield _gauge(names.METRIC_LOSS_MAX, "Greatest of them.", window.maximum if window.count else nothing)
    if window.step_seconds is not None:
        yield _gauge(
            names.METRIC_STEP_SECONDS, "Mean time of a training step since the last look.", window.step_seconds
        )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
