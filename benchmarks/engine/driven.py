"""An engine with recorded trials, driven as a backend drives it, and what a backend keeps of it."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from benchmarks.engine.measures import per_decision

from tuning_operator.api.trial import Desired
from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.backends.kubernetes.job_log import belongs_to_job
from tuning_operator.backends.kubernetes.trial_log import TrialLog
from tuning_operator.curves.marks import MARKS, Observation, Pulse
from tuning_operator.engine.collector import collector_paused
from tuning_operator.engine.engine import Engine
from tuning_operator.engine.events import AttemptStarted, EndReason, Event, TrialEnded, TrialProposed
from tuning_operator.engine.wanted import Wanted

TOTAL = 1000.0
NAME = "benchmark"


def make_spec(trials: int) -> TuningJobSpec:
    return TuningJobSpec.model_validate(
        {
            "objective": {"metric": "eval_loss"},
            "axis": {"total": TOTAL},
            "parameters": [
                {"name": "lr", "type": "Float", "min": 1e-5, "max": 1e-1, "scale": "Log", "live": True},
                {"name": "width", "type": "Int", "min": 32, "max": 512, "scale": "Log"},
            ],
            "search": {"algorithm": "Random", "seed": 7},
            # At the 100th percentile nothing is stopped: every mark of every trial is recorded and judged in full.
            "stopping": [{"rule": "Percentile", "percentile": 100}, {"rule": "Divergence"}],
            "control": [{"rule": "BackOff"}, {"rule": "CoolDown"}],
            "audit": 0.05,
            "budget": {"trials": max(trials, 1), "parallel": 10_000},
        }
    )


def curve(number: int) -> list[float]:
    """Return the losses of one training at its marks."""
    draw = random.Random(number)
    floor, speed = 0.1 + draw.random(), 0.4 + draw.random()
    return [floor + 2.0 * (1 + step) ** -speed + 0.01 * draw.random() for step in range(1, MARKS + 1)]


class Driven:
    """An engine that is driven as a backend would, keeping its log."""

    def __init__(self, trials: int, *, keep: bool = True) -> None:
        self.spec = make_spec(trials)
        self.engine = Engine(name=NAME, spec=self.spec)
        self.records: list[Event] = []
        self._keep = keep
        self._time = 0.0
        self.results = 0

    def feed(self, event: Event) -> None:
        """Apply an event, and keep it with its decisions."""
        decisions = self.engine.apply(event)
        if self._keep:
            self.records.append(event)
            self.records.extend(decisions)

    def propose(self, count: int) -> list[int]:
        """Propose and start trials; return their numbers."""
        started: list[int] = []
        while len(started) < count:
            for event in self.engine.propose(time=self._time):
                self.feed(event)
                if isinstance(event, TrialProposed):
                    started.append(event.trial)
        for number in started:
            self.feed(self.engine.event(AttemptStarted, time=self._time, trial=number, attempt=1))
        return started

    def look(self, number: int, step: int, value: float) -> None:
        """One look at one trial: an evaluation and the training loss since the last look."""
        self._time += 0.01
        position = TOTAL * step / MARKS
        seen = Observation(position=position, value=value, attempt=1, time=self._time, learning_rate=1e-3)
        pulse = Pulse(
            position=position,
            attempt=1,
            time=self._time,
            count=20,
            mean=value,
            minimum=value,
            maximum=value,
            nonfinite=0,
            learning_rate=1e-3,
            revision=99,
        )
        for event in self.engine.observe(trial=number, observations=(seen,), pulse=pulse, time=self._time):
            self.feed(event)
        self.results += 1

    def end(self, number: int, value: float) -> None:
        """End a trial with this result."""
        self.feed(
            self.engine.event(
                TrialEnded,
                time=self._time,
                trial=number,
                attempt=1,
                reason=EndReason.COMPLETED,
                value=value,
                fraction=1.0,
                compute_seconds=60.0,
            )
        )

    def complete(self, count: int) -> float:
        """Train this many trials to their end; return the seconds that looks and ends took."""
        curves = {number: curve(number) for number in self.propose(count)}
        started = time.process_time()
        for number, values in curves.items():
            for step, value in enumerate(values, start=1):
                self.look(number, step, value)
            self.end(number, min(values))
        return time.process_time() - started


def our_decision(driven: Driven) -> float:
    """Return milliseconds for one look at a trial, decisions included, with what `driven` has recorded."""

    def looks() -> Iterator[Callable[[], Any]]:
        for number in driven.propose(20):
            for step, value in enumerate(curve(number), start=1):
                yield partial(driven.look, number, step, value)
            driven.end(number, 1.0)

    return per_decision(looks)


def our_bytes(trials: int) -> Engine:
    driven = Driven(trials, keep=False)
    driven.complete(trials)
    return driven.engine


def objects_of(records: list[Event]) -> tuple[list[Any], list[Event]]:
    """Return the Trial objects that hold these records, as an API server gives them, and the records of the job."""
    logs: dict[int, TrialLog] = {}
    of_job: list[Event] = []
    for record in records:
        if isinstance(record, TrialProposed):
            logs[record.trial] = TrialLog(record)
        elif belongs_to_job(record):
            of_job.append(record)
        else:
            logs[record.trial].add(record)  # type: ignore[attr-defined]
    running = Wanted(desired=Desired.RUNNING)
    bodies = [{"spec": log.spec(job=NAME, wanted=running), "status": log.status()} for log in logs.values()]
    return [json.loads(json.dumps(body)) for body in bodies], of_job


def read_objects(bodies: list[Any], of_job: list[Event], spec: TuningJobSpec) -> list[Event]:
    with collector_paused():
        return of_job + [record for body in bodies for record in TrialLog.read(body, spec).records()]
