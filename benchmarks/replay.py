"""Replay recorded learning curves through a stopping rule: what it saves, and what it costs.

    uv run --with pandas --with pyarrow python benchmarks/replay.py CURVES [--rule '{"rule": "Percentile"}']

CURVES is a folder with any of the suites `algoperf`, `lcbench-surrogate` and `taskset`. Trials are drawn in random
order and run by four workers in virtual time, all at the same speed; their evaluations go through the real recorder,
and the real rule judges every mark. Each run is played with the rule and without any, on the same draws:

- the same 100 trials: compute used (1 = all trained to the end), how often the best of them was stopped, and regret;
- a budget of 10, 20 and 40 full trainings, in which stopping pays for further trials: regret.

Regret is normalised: 0 is the best configuration (of the 100, or of the whole pool), 1 the median of the pool. A
trial's result is its best validation value, or its best up to where it was stopped.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from tuning_operator.api.rules import StoppingSettings
from tuning_operator.curves.curve import Curve
from tuning_operator.curves.marks import MARKS, MarkValue, Observation
from tuning_operator.curves.recorder import MarkRecorder
from tuning_operator.curves.study import StudyCurves
from tuning_operator.stopping.base import StoppingRule
from tuning_operator.stopping.registry import STOPPING_RULES

WORKERS = 4
TRIALS = 100
BUDGETS = (10, 20, 40)
LEAST_POOL = 100
"""A task with fewer runs is left out: most of its pool would be drawn, whatever the rule."""

Marks = list[MarkValue]


@dataclass
class Played:
    """One run: what was found, as a function of the compute used (in full trainings)."""

    used: float = 0.0
    best: float = math.inf
    stopped: set[int] = field(default_factory=set)
    at_budget: dict[int, float] = field(default_factory=dict)


def record(values: Iterable[tuple[float, float]], *, total: float) -> Marks:
    """Put one curve of (position, loss) on the marks."""
    curve = Curve()
    recorder = MarkRecorder(total=total, curve=curve)
    for position, value in values:
        for mark in recorder.add(Observation(position=position, value=value, attempt=1, time=0.0)):
            curve.append(mark, attempt=1)
    return list(curve)


def algoperf(folder: Path, pandas: Any) -> Iterator[tuple[str, list[Marks]]]:
    """Runs of the external-tuning rules, without the LAWA submissions, which log another counter as the step.

    A run ends when it reaches its target: it keeps its last value to the end of the schedule. Where the length of the
    schedule was not logged it is the usual one of the workload, or what was trained if that is more.
    """
    runs = pandas.read_csv(folder / "runs.csv.gz")
    runs = runs[(runs.ruleset == "external_tuning") & ~runs.submission.str.startswith("lawa")].set_index("run_id")
    curves = pandas.read_parquet(folder / "eval_curves.parquet", columns=["run_id", "step", "valid_metric"])
    curves = curves[curves.run_id.isin(runs.index)].dropna().sort_values(["run_id", "step"])
    pools: dict[str, list[Marks]] = {}
    for run_id, rows in curves.groupby("run_id", sort=True):
        run = runs.loc[run_id]
        sign = -1.0 if run.direction == "max" else 1.0
        values = [(float(step), sign * float(value)) for step, value in zip(rows.step, rows.valid_metric, strict=True)]
        planned = float(run.max_global_steps)
        total = max(float(run.step_hint), values[-1][0]) if math.isnan(planned) else planned
        values.append((total, values[-1][1]))
        pools.setdefault(str(run.workload), []).append(record(values, total=total))
    yield from pools.items()


def lcbench(folder: Path, pandas: Any) -> Iterator[tuple[str, list[Marks]]]:
    """Validation accuracy of a surrogate, 52 epochs."""
    curves = pandas.read_parquet(folder / "curves.parquet", columns=["task", "config_id", "epoch", "val_accuracy"])
    yield from _grid(curves, task="task", run="config_id", place="epoch", value="val_accuracy", sign=-1.0)


def taskset(folder: Path, pandas: Any) -> Iterator[tuple[str, list[Marks]]]:
    """Validation loss of small recurrent networks, 51 points; diverged runs are NaN and stay it."""
    curves = pandas.read_parquet(folder / "curves.parquet", columns=["run_id", "point", "valid_loss"])
    tasks = pandas.read_csv(folder / "tasks.csv")
    curves["task"] = curves.run_id // 1000
    assert set(curves.task * 1000) == set(tasks.first_run_id)
    yield from _grid(curves, task="task", run="run_id", place="point", value="valid_loss", sign=1.0)


def _grid(
    curves: Any, *, task: str, run: str, place: str, value: str, sign: float
) -> Iterator[tuple[str, list[Marks]]]:
    """Curves that all have the same points."""
    for name, rows in curves.groupby(task, sort=True):
        table = rows.pivot(index=run, columns=place, values=value)
        total = float(table.columns.max())
        places = [float(column) for column in table.columns]
        yield (
            str(name),
            [record(zip(places, (sign * row).tolist(), strict=True), total=total) for row in table.to_numpy()],
        )


SUITES: dict[str, Callable[[Path, Any], Iterator[tuple[str, list[Marks]]]]] = {
    "algoperf": algoperf,
    "lcbench-surrogate": lcbench,
    "taskset": taskset,
}


def play(order: Sequence[int], pool: Sequence[Marks], rule: StoppingRule | None, *, budget: float) -> Played:
    """Run trials in this order until they or the budget are used up; all marks take the same time."""
    played, study, ticks = Played(), StudyCurves(), itertools.count()
    waiting = iter(order)
    running: list[tuple[float, int, int, int, Curve]] = []

    def start(now: float) -> None:
        trial = next(waiting, None)
        if trial is not None:
            heapq.heappush(running, (now + 1 / MARKS, next(ticks), trial, 1, Curve()))

    for _ in range(WORKERS):
        start(0.0)
    steps, limit = 0, round(budget * MARKS) if math.isfinite(budget) else math.inf
    places = {limit * MARKS: limit for limit in BUDGETS}
    while running and steps < limit:
        now, _, trial, mark, curve = heapq.heappop(running)
        steps += 1
        marks = pool[trial]
        index = mark - marks[0].mark if marks else -1
        stop = False
        if 0 <= index < len(marks):
            curve.append(marks[index], attempt=1)
            played.best = min(played.best, curve.best)
            stop = rule is not None and rule.judge(curve, study) is not None
        if steps in places:
            played.at_budget[places[steps]] = played.best
        if mark == MARKS and not stop:
            study.add_completed(curve)
        if stop:
            played.stopped.add(trial)
        if mark < MARKS and not stop:
            heapq.heappush(running, (now + 1 / MARKS, next(ticks), trial, mark + 1, curve))
        else:
            start(now)
    played.used = steps / MARKS
    return played


def replay(name: str, tasks: Iterable[tuple[str, list[Marks]]], rule: StoppingRule, *, seeds: int) -> None:
    """Play one suite and print its rows."""
    begun = time.perf_counter()
    compute, regrets, lost, used_tasks, omitted = [], [], [], 0, 0
    budgets: dict[int, tuple[list[float], list[float]]] = {budget: ([], []) for budget in BUDGETS}
    for _, pool in tasks:
        if len(pool) < LEAST_POOL:
            omitted += 1
            continue
        used_tasks += 1
        results = [marks[-1].best if marks else math.inf for marks in pool]
        best, middle = min(results), statistics.median(results)
        for seed in range(seeds):
            order = random.Random(seed).sample(range(len(pool)), len(pool))
            drawn = order[:TRIALS]
            same = play(drawn, pool, rule, budget=math.inf)
            winner = min(drawn, key=results.__getitem__)
            compute.append(same.used / TRIALS)
            regrets.append((same.best - results[winner]) / (middle - best))
            lost.append(winner in same.stopped)
            for place, judge in enumerate((None, rule)):
                found = play(order, pool, judge, budget=max(BUDGETS))
                for budget in BUDGETS:
                    value = found.at_budget.get(budget, found.best)
                    budgets[budget][place].append((value - best) / (middle - best))
    told = f"{used_tasks} tasks" + (f", {omitted} with fewer than {LEAST_POOL} runs left out" if omitted else "")
    print(f"\n{name} ({told}, {seeds} draws each, {time.perf_counter() - begun:.0f} s)")
    print(
        f"  same {TRIALS} trials     compute {statistics.mean(compute):.2f} of 1.00   "
        f"regret {statistics.mean(regrets):.3f}   best trial stopped in {statistics.mean(lost):.0%} of runs"
    )
    for budget, (without, with_rule) in budgets.items():
        gains = [after - before for before, after in zip(without, with_rule, strict=True)]
        per_task = [statistics.mean(gains[first : first + seeds]) for first in range(0, len(gains), seeds)]
        error = statistics.stdev(per_task) / math.sqrt(len(per_task)) if len(per_task) > 1 else math.nan
        print(
            f"  budget {budget:2d} trainings   regret {statistics.mean(with_rule):.3f}, without stopping "
            f"{statistics.mean(without):.3f}   difference {statistics.mean(gains):+.3f} +- {error:.3f} over tasks"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curves", type=Path, help="folder with the suites")
    parser.add_argument("--rule", default='{"rule": "Percentile"}', help="a stopping rule as in a manifest, in JSON")
    parser.add_argument("--seeds", type=int, default=8, help="random orders per task")
    parser.add_argument("--suite", choices=SUITES, action="append", help="play only this suite")
    options = parser.parse_args()
    try:
        import pandas
        import pyarrow  # noqa: F401
    except ImportError as error:
        sys.exit(
            f"{error}: the curves are parquet files. Run with both at hand:\n"
            "  uv run --with pandas --with pyarrow python benchmarks/replay.py CURVES"
        )
    settings = TypeAdapter[Any](StoppingSettings).validate_json(options.rule)
    rule = next(rule for rule in STOPPING_RULES if rule.name == settings.rule)(settings)
    wanted = [name for name in options.suite or SUITES if (options.curves / name).is_dir()]
    if not wanted:
        sys.exit(f"{options.curves} has none of the suites {', '.join(SUITES)}; name the folder that holds them.")
    print(f"{settings.rule} {settings.model_dump(by_alias=True, exclude={'rule', 'mode'})}, {WORKERS} workers")
    for name in wanted:
        replay(name, SUITES[name](options.curves / name, pandas), rule, seeds=options.seeds)


if __name__ == "__main__":
    main()
