"""Drives an engine by hand, as a backend would, and keeps the log it would write."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.curves.marks import MARKS, MarkValue, Observation, Pulse
from tuning_operator.engine.decisions import Decision
from tuning_operator.engine.engine import Engine
from tuning_operator.engine.events import (
    AlarmRaised,
    AttemptStarted,
    EndReason,
    Event,
    MarkReached,
    TrialEnded,
    TrialProposed,
)

TOTAL = 1000.0


def make_spec(**changes: Any) -> TuningJobSpec:
    manifest: dict[str, Any] = {
        "objective": {"metric": "eval_loss"},
        "axis": {"total": TOTAL},
        "parameters": [{"name": "lr", "type": "Float", "min": 1e-5, "max": 1e-1, "scale": "Log"}],
        "search": {"algorithm": "Random", "seed": 7},
        "audit": 0.0,
        "budget": {"trials": 8, "parallel": 4},
    }
    return TuningJobSpec.model_validate(manifest | changes)


class Driver:
    """An engine and its log; time goes on by one second with every event."""

    def __init__(self, spec: TuningJobSpec | None = None, **changes: Any) -> None:
        self.spec = spec or make_spec(**changes)
        self.engine = Engine(name="job", spec=self.spec)
        self.records: list[Event] = []
        self.time = 100.0

    def feed(self, event: Event) -> list[Decision]:
        self.records.append(event)
        decisions = self.engine.apply(event)
        self.records.extend(decisions)
        return decisions

    def say(self, kind: type[Event], **fields: Any) -> list[Decision]:
        self.time += 1
        return self.feed(self.engine.event(kind, **({"time": self.time} | fields)))

    def propose(self) -> list[Event]:
        """Apply whatever is wanted now; return it without the job's own first record."""
        found = []
        while events := self.engine.propose(time=self.time):
            for event in events:
                self.feed(event)
                found.append(event)
        return [event for event in found if isinstance(event, TrialProposed) or not hasattr(event, "fixed")]

    def start(self, *trials: int) -> None:
        for trial in trials:
            self.say(AttemptStarted, trial=trial, attempt=self.engine.trial(trial).attempt + 1)

    def begin(self, **_: Any) -> None:
        """Propose as many trials as are wanted and start them all."""
        for event in self.propose():
            if isinstance(event, TrialProposed):
                self.start(event.trial)

    def mark(
        self,
        trial: int,
        mark: int,
        value: float,
        *,
        best: float | None = None,
        mean: float | None = None,
        attempt: int = 1,
    ) -> list[Decision]:
        loss = value if math.isfinite(value) else math.inf
        at = MarkValue(mark=mark, value=value, best=loss if best is None else best, mean=loss if mean is None else mean)
        return self.say(MarkReached, trial=trial, attempt=attempt, at=at)

    def alarm(self, trial: int, *, kind: str = "NonFinite", fraction: float = 0.3, attempt: int = 1) -> list[Decision]:
        return self.say(
            AlarmRaised,
            trial=trial,
            attempt=attempt,
            rule="Divergence",
            alarm=kind,
            fraction=fraction,
            numbers={"nonfinite": 3.0},
        )

    def end(
        self, trial: int, value: float | None = None, *, reason: EndReason = EndReason.COMPLETED, **fields: Any
    ) -> list[Decision]:
        whole = {"attempt": 1, "fraction": 1.0, "compute_seconds": 100.0, "gpu_seconds": 0.0}
        return self.say(TrialEnded, trial=trial, reason=reason, value=value, **(whole | fields))

    def complete(self, trial: int, values: Sequence[float] | float) -> None:
        """Train a trial to its end: one value a mark."""
        found = [values] * MARKS if isinstance(values, float) else list(values)
        for mark, value in enumerate(found, start=1):
            self.mark(trial, mark, value, best=min(found[:mark]), mean=fmean(found[:mark]))
        self.end(trial, min((value for value in found if math.isfinite(value)), default=None))

    def look(self, trial: int, position: float, *, value: float | None = None, **fields: Any) -> list[Event]:
        """Observe a trial; return the events without recording them."""
        self.time += 1
        whole: dict[str, Any] = {"count": 10, "nonfinite": 0, "mean": 1.0, "minimum": 1.0, "maximum": 1.0, "attempt": 1}
        pulse = Pulse(position=position, time=self.time, **(whole | fields))
        seen = Observation(position=position, value=value or 0.0, attempt=pulse.attempt, time=self.time)
        return self.engine.observe(
            trial=trial, observations=[] if value is None else [seen], pulse=pulse, time=self.time
        )

    def restored(self, records: Sequence[Event] | None = None, spec: TuningJobSpec | None = None) -> Engine:
        return Engine.restore(name="job", spec=spec or self.spec, records=self.records if records is None else records)
