"""What a trial knows of itself, and one consistent picture of it.

The training loop writes, scrapes read; every write and every picture is one short hold of one lock, so a value can
never be shown with the step of another.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from trial_protocol import names
from trial_protocol.history import HistoryRecord
from tuning_trainer.window import LossWindow, LossWindows


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """The newest value of one reported metric.

    Attributes:
        step: At which it was measured.
        time: When, in seconds since the epoch.
        beside: Everything that was reported with it, axis counters among it, by name.
        learning_rate: In force then, or None.
    """

    value: float
    step: int
    time: float
    beside: Mapping[str, float]
    learning_rate: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A trial at one moment.

    Attributes:
        counters: Position on every known axis (``train_step``, ``train_seconds``, ``train_tokens``, ...).
        values: Newest value of every reported metric, with what was true when it was measured.
        window: Training losses since this scraper's last look; None if the look was not to end its window.
        nonfinite: Training losses that were NaN or infinite since the start of this process.
    """

    counters: Mapping[str, float]
    values: Mapping[str, Evaluated]
    window: LossWindow | None
    nonfinite: int
    gradient_norm: float | None
    learning_rate: float | None


@dataclass(slots=True)
class _Fields:
    counters: dict[str, float]
    values: dict[str, Evaluated] = field(default_factory=dict)
    nonfinite: int = 0
    gradient_norm: float | None = None
    learning_rate: float | None = None


class TrialState:
    """The numbers behind the gauges.

    Args:
        monotonic: Seconds of a clock that never goes back; ``train_seconds`` is measured with it.
    """

    def __init__(self, *, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._windows = LossWindows()
        self._started = monotonic()
        self._fields = _Fields(counters={names.METRIC_STEP: 0.0, names.METRIC_SECONDS: 0.0})
        self._untouched = True
        self._last_step: int | None = None
        self._last_time = self._started

    def record_step(
        self,
        step: int,
        loss: float,
        gradient_norm: float | None,
        learning_rate: float | None,
        tokens: float | None,
        samples: float | None,
    ) -> None:
        """Take in one training step; positional because it is called once a step."""
        now = self._monotonic()
        with self._lock:
            fields, segment = self._fields, self._windows.segment
            if math.isfinite(loss):
                segment.add(loss)
            else:
                fields.nonfinite += 1
            if gradient_norm is not None:
                fields.gradient_norm = gradient_norm
            if learning_rate is not None:
                fields.learning_rate = learning_rate
            counters = fields.counters
            counters[names.METRIC_STEP] = step
            counters[names.METRIC_SECONDS] = now - self._started
            if tokens is not None:
                counters[names.METRIC_TOKENS] = tokens
            if samples is not None:
                counters[names.METRIC_SAMPLES] = samples
            if self._last_step is not None and step > self._last_step:
                segment.steps += step - self._last_step
                segment.seconds += now - self._last_time
            self._last_step, self._last_time = step, now
            self._untouched = False

    def report(
        self,
        *,
        step: int,
        time: float,
        counters: Mapping[str, float],
        values: Mapping[str, float],
        learning_rate: float | None,
    ) -> tuple[dict[str, float], float | None]:
        """Take in one evaluation; return what its record says: axis counters and values, and the learning rate."""
        now = self._monotonic()
        with self._lock:
            fields = self._fields
            fields.counters.update(counters)
            fields.counters[names.METRIC_STEP] = step
            fields.counters[names.METRIC_SECONDS] = now - self._started
            if learning_rate is not None:
                fields.learning_rate = learning_rate
            rate, beside = fields.learning_rate, {**fields.counters, **values}
            for name, value in values.items():
                fields.values[name] = Evaluated(value=value, step=step, time=time, beside=beside, learning_rate=rate)
            self._last_step = None
            self._untouched = False
            return beside, rate

    def restore(self, record: HistoryRecord) -> None:
        """Continue the clock, and until something is reported show the last evaluation of the earlier attempt."""
        with self._lock:
            seconds = record.values.get(names.METRIC_SECONDS, 0.0)
            if not self._untouched or not math.isfinite(seconds):
                return
            self._started = self._monotonic() - seconds
            for name, value in record.values.items():
                if name in names.COUNTERS:
                    self._fields.counters[name] = value
                else:
                    self._fields.values[name] = Evaluated(
                        value=value,
                        step=record.step,
                        time=record.time,
                        beside=record.values,
                        learning_rate=record.learning_rate,
                    )
            self._fields.counters[names.METRIC_STEP] = record.step
            self._fields.learning_rate = record.learning_rate

    def position(self, axis: str) -> float | None:
        """Return how far the training is on one axis; None if nothing counted it yet."""
        with self._lock:
            return self._fields.counters.get(axis)

    def snapshot(self, *, scraper: str | None) -> Snapshot:
        """Return one picture; with a `scraper`, its loss window ends and the next begins."""
        with self._lock:
            fields = self._fields
            return Snapshot(
                counters=dict(fields.counters),
                values=dict(fields.values),
                window=None if scraper is None else self._windows.take(scraper),
                nonfinite=fields.nonfinite,
                gradient_norm=fields.gradient_norm,
                learning_rate=fields.learning_rate,
            )
