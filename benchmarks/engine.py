"""The engine's speed and memory, next to Optuna's MedianPruner and Ray Tune's ASHA in the same run.

Each is driven through its own classes with the same curves, in memory and without trials' processes: what is measured
is the decision about one reported value when many trials have been recorded already.

    python benchmarks/engine.py            # all of it, a few minutes
    python benchmarks/engine.py --quick    # smaller, seconds
    python benchmarks/engine.py --check    # exit with 1 if a target is missed

Optuna comes with the operator, Ray is the extra `bench`; a peer that is not installed is not measured, and the table
says so. The peers do less in one step: they write no log, no numbers and no sentence, and they do not interpolate.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import math
import random
import statistics
import sys
import time
import tracemalloc
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from tuning_operator.api.trial import Desired
from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.backends.kubernetes.job_log import belongs_to_job
from tuning_operator.backends.kubernetes.trial_log import TrialLog
from tuning_operator.curves.marks import MARKS, Observation, Pulse
from tuning_operator.engine.codec import from_lines, to_line
from tuning_operator.engine.collector import collector_paused
from tuning_operator.engine.engine import Engine
from tuning_operator.engine.events import AttemptStarted, EndReason, Event, TrialEnded, TrialProposed
from tuning_operator.engine.wanted import Wanted

TOTAL = 1000.0
NAME = "benchmark"


@dataclass
class Row:
    """One line of the table; a lower number is better unless `target` is a floor."""

    what: str
    ours: float
    unit: str
    target: float | None = None
    is_floor: bool = False
    peers: dict[str, float | None] | None = None

    @property
    def is_held(self) -> bool:
        """Whether the target is met."""
        if self.target is None:
            return True
        return self.ours >= self.target if self.is_floor else self.ours <= self.target


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


def seconds(action: Callable[[], Any], *, repetitions: int = 3) -> float:
    """Return the least time that an action took: other work on the machine only ever adds to it."""
    found = []
    for _ in range(repetitions):
        gc.collect()
        started = time.process_time()
        action()
        found.append(time.process_time() - started)
    return min(found)


def per_decision(looks: Callable[[], Iterator[Callable[[], Any]]], *, repetitions: int = 3) -> float:
    """Return milliseconds per call: the median of a round, the least of several rounds."""
    rounds = []
    for _ in range(repetitions):
        found = []
        for look in looks():
            started = time.process_time()
            look()
            found.append(time.process_time() - started)
        rounds.append(statistics.fmean(sorted(found)[: max(len(found) * 99 // 100, 1)]))
    return 1000 * min(rounds)


def our_decision(driven: Driven) -> float:
    """Return milliseconds for one look at a trial, decisions included, with what `driven` has recorded."""

    def looks() -> Iterator[Callable[[], Any]]:
        for number in driven.propose(20):
            for step, value in enumerate(curve(number), start=1):
                yield lambda number=number, step=step, value=value: driven.look(number, step, value)  # type: ignore[misc]
            driven.end(number, 1.0)

    return per_decision(looks)


def optuna_study(trials: int) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=5))
    study.add_trials(
        optuna.trial.create_trial(
            value=min(values), intermediate_values=dict(enumerate(values, start=1)), params={}, distributions={}
        )
        for values in map(curve, range(trials))
    )
    return study


def optuna_decision(trials: int) -> float:
    study = optuna_study(trials)

    def looks() -> Iterator[Callable[[], Any]]:
        for number in range(4):
            trial = study.ask()
            for step, value in enumerate(curve(number), start=1):
                yield lambda trial=trial, step=step, value=value: (trial.report(value, step), trial.should_prune())  # type: ignore[misc]
            study.tell(trial, 1.0)

    return per_decision(looks)


def ray_scheduler(trials: int) -> Any:
    from ray.tune.schedulers import AsyncHyperBandScheduler

    scheduler = AsyncHyperBandScheduler(metric="loss", mode="min", max_t=MARKS)
    for number in range(trials):
        ray_trial(scheduler, number)
        for step, value in enumerate(curve(number), start=1):
            ray_result(scheduler, number, step, value)
    return scheduler


def ray_trial(scheduler: Any, number: int) -> None:
    scheduler.on_trial_add(None, types.SimpleNamespace(trial_id=str(number)))


def ray_result(scheduler: Any, number: int, step: int, value: float) -> None:
    result = {"training_iteration": step, "loss": value}
    scheduler.on_trial_result(None, types.SimpleNamespace(trial_id=str(number)), result)


def ray_decision(trials: int) -> float:
    scheduler = ray_scheduler(trials)
    numbers = iter(range(trials, trials + 1000))

    def looks() -> Iterator[Callable[[], Any]]:
        for _ in range(20):
            number = next(numbers)
            ray_trial(scheduler, number)
            for step, value in enumerate(curve(number), start=1):
                yield lambda number=number, step=step, value=value: ray_result(scheduler, number, step, value)  # type: ignore[misc]

    return per_decision(looks)


def is_installed(module: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            __import__(module)
    except ImportError:
        return False
    return True


def bytes_of(make: Callable[[], Any], trials: int) -> float:
    """Return the bytes that stay allocated per trial."""
    gc.collect()
    tracemalloc.start()
    kept = make()
    gc.collect()
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del kept
    return used / trials


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


def measure(sizes: list[int], *, peers: dict[str, bool]) -> list[Row]:
    rows: list[Row] = []
    rate = math.nan
    largest = sizes[-1]
    driven = Driven(largest + 1000)
    recorded = 0
    for size in sizes:
        before = driven.results
        taken = driven.complete(size - recorded)
        rate = (driven.results - before) / taken
        recorded = size
        others: dict[str, float | None] = {
            "Optuna": optuna_decision(size) if peers["Optuna"] else None,
            "Ray": ray_decision(size) if peers["Ray"] else None,
        }
        rows.append(
            Row(
                f"one look with its decision, {size:,} trials x {MARKS}", our_decision(driven), "ms", 0.05, peers=others
            )
        )
    rows.append(Row(f"results a second, the last {sizes[-1] - sizes[-2]:,} trials", rate, "/s", 20_000, is_floor=True))
    records = driven.records
    del driven

    memory = min(largest, 500)
    our_bytes(2)
    others = {"Optuna": None, "Ray": None}
    if peers["Optuna"]:
        others["Optuna"] = bytes_of(lambda: optuna_study(memory), memory) / 1024
    if peers["Ray"]:
        others["Ray"] = bytes_of(lambda: ray_scheduler(memory), memory) / 1024
    rows.append(
        Row(
            "memory per trial, ledger included",
            bytes_of(lambda: our_bytes(memory), memory) / 1024,
            "KB",
            4.0,
            peers=others,
        )
    )

    spec = make_spec(largest + 1000)

    def rebuild(records: Iterable[Event]) -> Engine:
        return Engine.restore(name=NAME, spec=spec, records=records)

    rows.append(Row(f"engine rebuilt from {len(records):,} records", seconds(partial(rebuild, records)), "s", 2.0))
    bodies, of_job = objects_of(records)
    rows.append(
        Row(
            f"the same from {len(bodies):,} Trial objects",
            seconds(lambda: rebuild(read_objects(bodies, of_job, spec)), repetitions=2),
            "s",
        )
    )
    lines = [to_line(record).encode() for record in records]
    del records
    rows.append(
        Row(
            f"the same from {sum(map(len, lines)) / 1e6:.0f} MB of JSON lines",
            seconds(lambda: rebuild(from_lines(lines, source=NAME)), repetitions=2),
            "s",
        )
    )
    engine = rebuild(from_lines(lines, source=NAME))
    rows.append(Row("its first proposal after that", seconds(lambda: engine.propose(time=0.0), repetitions=1), "s"))
    rows.append(Row("its whole view, with all curves", seconds(lambda: engine.view(time=0.0)), "s"))
    return rows


def table(rows: list[Row], peers: dict[str, bool]) -> Iterator[str]:
    yield f"{'what':<58} {'engine':>12} {'target':>10}  " + "".join(f"{name:>22}" for name in peers)
    for row in rows:
        number = f"{row.ours:,.0f}" if row.ours >= 1000 else f"{row.ours:.3g}"
        target = "" if row.target is None else f"{'>=' if row.is_floor else '<='} {row.target:,.4g}"
        cells = ""
        for name in peers:
            value = (row.peers or {}).get(name)
            cells += f"{'' if value is None else f'{value:.3g} ({value / row.ours:.1f} x ours)':>22}"
        missed = "" if row.is_held else "  MISSED"
        yield f"{row.what:<58} {number:>9} {row.unit:<3}{target:>9}  {cells}{missed}".rstrip()
    for name, is_there in peers.items():
        if not is_there:
            yield f"{name} was not measured: it is not installed here."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="300 trials instead of 5,000")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    peers = {"Optuna": is_installed("optuna"), "Ray": is_installed("ray.tune.schedulers")}
    rows = measure([30, 300] if arguments.quick else [100, 1000, 5000], peers=peers)
    for line in table(rows, peers):
        print(line)
    return 1 if arguments.check and not all(row.is_held and math.isfinite(row.ours) for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
