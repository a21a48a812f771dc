"""The operator under load, beside the numbers of the design.

    python -m benchmarks.load            # 200 trials, 50 at once; about ten minutes
    python -m benchmarks.load --full     # 1,000 trials, 100 at once; 50 jobs; 1,000 at once: about forty minutes

A real control plane and simulated nodes (kwok); the operator is a process of its own with the rights of its role and
no others; another process answers for every pod, with curves that follow from a seed. Three load runs:

study       one job, --trials trials, --parallel at once
jobs        --jobs jobs side by side, as many trials together
burst       --trials trials at once, beside a plain client that applies as many Jobs; then all of them alive

CPU and memory are those of the operator's process by the system; API calls and the times of Jobs are from the API
server's audit log, and not known if it has not all that the server counted; the time at which a metric was visible is
known to the process that showed it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.load.bed import Bed, running_bed
from benchmarks.load.curves import REPORTS
from benchmarks.load.scenarios import Outcome, Runner
from benchmarks.load.table import Row, around, loop_lag, rows
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from tests.testbed.errors import TestbedError
from tests.testbed.sizes import SIZES

from tuning_operator.backends.kubernetes.client import Client

SCENARIOS = ("study", "jobs", "burst")
BURST = 1.25
"""Times that 1,000 trials at once may take of what 1,000 Jobs take a plain client."""
CPU = 0.02
"""Seconds of CPU for one trial."""


async def run(bed: Bed, options: argparse.Namespace, progress: Progress) -> list[tuple[Outcome, str]]:
    """Carry out the chosen load runs; return each with what the operator counted of its event loop."""
    line = progress.add_task("starting", total=1)
    told = ""

    def tell(what: str, done: int, of: int) -> None:
        nonlocal told
        load = f"load {os.getloadavg()[0]:.1f}"
        if not progress.console.is_terminal and what != told:
            progress.console.print(f"{datetime.now():%H:%M:%S} {what}: {done} of {of} ({load})")
            told = what
        progress.update(line, description=f"{what} ({load})", completed=done, total=max(of, 1))

    found: list[tuple[Outcome, str]] = []
    async with await Client.connect(kubeconfig=str(bed.plane.kubeconfig)) as client:
        runner = Runner(bed=bed, client=client, tell=tell)
        # What follows is measured on an operator that leads, has loaded everything and has done a job.
        await runner.study(
            "warm-up", algorithm=options.algorithm, jobs=1, trials=1, parallel=1, seconds=2.0, interval=0.5
        )
        for name in options.scenario or SCENARIOS:
            before = bed.metrics()
            if name == "study":
                outcomes = [
                    await runner.study(
                        "study",
                        algorithm=options.algorithm,
                        jobs=1,
                        trials=options.trials,
                        parallel=options.parallel,
                        seconds=options.schedule,
                        interval=max(options.schedule / REPORTS, 1.0),
                    )
                ]
            elif name == "jobs":
                outcomes = [
                    await runner.study(
                        "jobs",
                        algorithm=options.algorithm,
                        jobs=options.jobs,
                        trials=max(options.trials // options.jobs, 1),
                        parallel=max(options.parallel // options.jobs, 1),
                        seconds=options.schedule,
                        interval=max(options.schedule / REPORTS, 1.0),
                    )
                ]
            else:
                outcomes = [await runner.plain("plain before", jobs=options.trials)]
                outcomes += await runner.all_at_once(
                    "burst", trials=options.trials, seconds=options.long, interval=5.0, watch=options.watch
                )
                outcomes.append(await runner.plain("plain after", jobs=options.trials))
            lag = loop_lag(before, bed.metrics())
            found += [(outcome, lag) for outcome in outcomes]
        progress.update(line, description="done", completed=1, total=1)
    return found


def report(found: list[tuple[Outcome, str]], bed: Bed, console: Console) -> bool:
    """Print the tables; return whether every target is held."""
    played, log = bed.end_players(), bed.audit()
    held = True
    plain = [outcome.wall for outcome, _ in found if outcome.name.startswith("plain")]
    for outcome, lag in found:
        lines: list[Row] = []
        if outcome.name.startswith("plain"):
            lines.append(around(outcome))
        else:
            budget = CPU if outcome.name in ("study", "jobs", "burst") else None
            there = played.get(outcome.namespace, [])
            lines += rows(outcome, log, there, lag=lag, per_trial_cpu=budget)
        if outcome.name == "burst" and plain:
            ratio = outcome.wall / (sum(plain) / len(plain))
            theirs = " and ".join(f"{one:.1f}" for one in plain)
            said = f"{outcome.wall:.1f} s, {ratio:.2f} x the plain client's {theirs} s"
            lines.insert(0, Row(what="apply to all pods running", said=said, value=ratio, target=BURST, unit="x"))
        table = Table(title=f"{outcome.name}: {outcome.count} trials", title_justify="left", show_edge=False)
        table.add_column("what")
        table.add_column("measured", overflow="fold")
        table.add_column("target", justify="right")
        for row in lines:
            target = "" if row.target is None else f"<= {row.target:g} {row.unit}"
            table.add_row(row.what, row.said, target if row.is_held else f"[red]{target} MISSED")
            held = held and row.is_held
        console.print(table, "")
    return held


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="the size of the design's numbers")
    parser.add_argument("--scenario", choices=SCENARIOS, action="append", help="only this one; may be repeated")
    parser.add_argument("--trials", type=int, help="trials in each load run (200; full 1,000)")
    parser.add_argument("--parallel", type=int, help="trials at once in `study` and `jobs` (50; full 100)")
    parser.add_argument("--jobs", type=int, help="jobs side by side (10; full 50)")
    parser.add_argument("--schedule", type=float, default=60.0, help="seconds of a training in `study` and `jobs` (60)")
    parser.add_argument("--long", type=float, default=1200.0, help="seconds of a training in `burst` (1200)")
    parser.add_argument("--watch", type=float, help="seconds to watch all trials alive (150; full 240)")
    parser.add_argument("--algorithm", default="TPE", help="search.algorithm of every job (TPE, the default of a job)")
    parser.add_argument("--curves", type=Path, help="replay recorded curves from this folder instead of invented ones")
    parser.add_argument("--profile", type=Path, help="run the operator under cProfile and write its statistics here")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    options = parser.parse_args(arguments)
    sizes: dict[str, tuple[Any, Any]] = {
        "trials": (200, 1000),
        "parallel": (50, 100),
        "jobs": (10, 50),
        "watch": (150.0, 240.0),
    }
    for name, (small, full) in sizes.items():
        if getattr(options, name) is None:
            setattr(options, name, full if options.full else small)
    return options


def main() -> int:
    options = parse(sys.argv[1:])
    console = Console(width=None if sys.stdout.isatty() else 160)
    if reason := SIZES["simulated"].missing_reason():
        sys.exit(f"the load runs need a control plane with simulated nodes: {reason}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with running_bed(curves=options.curves, profile=options.profile) as bed:
            console.print(f"logs: {bed.plane.logs}")
            with Progress(*columns, console=console, transient=True) as progress:
                found = asyncio.run(run(bed, options, progress))
            held = report(found, bed, console)
    except (TestbedError, TimeoutError, RuntimeError) as error:
        sys.exit(f"the load run failed: {error}")
    return 1 if options.check and not held else 0


if __name__ == "__main__":
    sys.exit(main())
