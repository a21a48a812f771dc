"""What one page of a trial's metrics says: how far it is, what its training loss did, and its newest evaluation.

A page is one exposition, so its samples belong together. It may come from the trial itself or from a Prometheus server
that has scraped it; what it says is the same.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Sequence
from typing import Final

from trial_protocol import names
from trial_protocol.history import HistoryRecord
from trial_protocol.numbers import encode_number
from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.curves.marks import Pulse
from tuning_operator.scrape.exposition import Samples
from tuning_operator.scrape.look import Look
from tuning_operator.scrape.records import observations_of

OURS: Final = (
    names.METRIC_STEP,
    names.METRIC_LOSS_MEAN,
    names.METRIC_LOSS_MIN,
    names.METRIC_LOSS_MAX,
    names.METRIC_LOSS_COUNT,
    names.METRIC_LOSS_NONFINITE,
    names.METRIC_GRADIENT_NORM,
    names.METRIC_LEARNING_RATE,
    names.METRIC_CONTROL_REVISION,
    names.METRIC_SCHEDULE_FRACTION,
    names.METRIC_ATTEMPT,
)
"""What is read beside the objective and the axis."""


class PageReader:
    """Reads one page after another of one attempt.

    Args:
        attempt: Which start of the trial is expected; a page of another one is an error.
    """

    def __init__(self, spec: TuningJobSpec, *, attempt: int) -> None:
        self.objective: Final = spec.objective.metric
        self.axis: Final = spec.axis.metric
        self.attempt: Final = attempt
        self.wanted: Final = tuple(dict.fromkeys((self.objective, self.axis, *OURS)))
        self._total: Final = spec.axis.total
        self._nonfinite = 0.0
        self._last: tuple[float, float | str, float | None] | None = None

    def problem(self, samples: Samples) -> str | None:
        """Return why a page cannot be used, as a sentence's end; None if it can."""
        for name in (self.objective, self.axis):
            if name in samples.ambiguous:
                return f"{name} has {samples.ambiguous[name]} values with different labels; export it once"
        attempt = samples.values.get(names.METRIC_ATTEMPT)
        if attempt is not None and attempt != self.attempt:
            return f"attempt {attempt:g} answers there, expected was attempt {self.attempt}"
        return None

    def missing(self, found: Collection[str]) -> str:
        """Say for a person what a page with these names lacks."""
        missing = [name for name in (self.objective, self.axis) if not {name, f"{name}_total"} & set(found)]
        if not missing:
            return f"it exports {self.objective} and {self.axis}, but no value of them was usable"
        if not found:
            return f"no metric {missing[0]}; its page has none at all"
        shown = [name for name in found if not name.startswith(("python_", "process_", "tuning_"))] or list(found)
        near = difflib.get_close_matches(missing[0], found, n=1, cutoff=0.6)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"no metric {missing[0]}; it has: {', '.join(shown[:20])}{', ...' if len(shown) > 20 else ''}{hint}"

    def evaluation(self, samples: Samples, *, time: float) -> list[HistoryRecord]:
        """Return the evaluation that a page shows, if no page before has shown it.

        Our client says of its newest evaluation at which step, when and with which learning rate it was made. Of any
        other program, the value is taken to belong to the place on the axis that stands beside it, and to `time`.
        """
        values = samples.values
        value, step = values.get(self.objective), values.get(names.METRIC_EVALUATION_STEP)
        made, rate = values.get(names.METRIC_EVALUATION_TIME), values.get(names.METRIC_EVALUATION_LEARNING_RATE)
        position = values.get(names.METRIC_EVALUATION_POSITION)
        if position is None and self.axis == names.METRIC_STEP:
            position = step
        if made is None:
            position = values.get(self.axis) if position is None else position
            rate = values.get(names.METRIC_LEARNING_RATE)
        # A gauge that was never set shows 0, so nothing counts before the first step.
        if value is None or position is None or not math.isfinite(position) or position <= 0:
            return []
        reported = (position, encode_number(value), made)
        if reported == self._last:
            return []
        self._last = reported
        return [
            HistoryRecord(
                step=int(_finite(values.get(names.METRIC_STEP, position) if step is None else step)),
                attempt=self.attempt,
                time=time if made is None else made,
                values={self.axis: position, self.objective: value},
                learning_rate=rate,
                revision=int(_finite(values.get(names.METRIC_CONTROL_REVISION))),
            )
        ]

    def look(
        self, samples: Samples, records: Sequence[HistoryRecord], *, trouble: str | None = None, now: float
    ) -> Look:
        """Return what a page and the evaluations that came with it say."""
        values = samples.values
        position = values.get(self.axis)
        observations = observations_of(records, objective=self.objective, axis=self.axis)
        if position is None or not math.isfinite(position):
            position = observations[-1].position if observations else None
        fraction = values.get(names.METRIC_SCHEDULE_FRACTION)
        if fraction is None and position is not None:
            fraction = position / self._total
        revision = values.get(names.METRIC_CONTROL_REVISION)
        return Look(
            time=now,
            position=position,
            fraction=fraction,
            pulse=None if position is None else self._pulse(values, position, now),
            records=tuple(records),
            observations=observations,
            revision=None if revision is None or not math.isfinite(revision) else int(revision),
            error=trouble,
        )

    def _pulse(self, values: dict[str, float], position: float, now: float) -> Pulse:
        nonfinite = values.get(names.METRIC_LOSS_NONFINITE, 0.0)
        nonfinite = nonfinite if math.isfinite(nonfinite) else 0.0
        fresh = nonfinite - self._nonfinite if nonfinite >= self._nonfinite else nonfinite
        self._nonfinite = nonfinite
        count = values.get(names.METRIC_LOSS_COUNT, 0.0)
        return Pulse(
            position=position,
            attempt=self.attempt,
            time=now,
            count=int(count) if math.isfinite(count) else 0,
            mean=values.get(names.METRIC_LOSS_MEAN, math.nan),
            minimum=values.get(names.METRIC_LOSS_MIN, math.nan),
            maximum=values.get(names.METRIC_LOSS_MAX, math.nan),
            nonfinite=int(fresh),
            gradient_norm=values.get(names.METRIC_GRADIENT_NORM),
            learning_rate=values.get(names.METRIC_LEARNING_RATE),
            revision=int(_finite(values.get(names.METRIC_CONTROL_REVISION))),
        )


def _finite(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else 0.0
