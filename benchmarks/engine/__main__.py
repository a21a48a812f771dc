"""The engine's speed and memory, next to Optuna's MedianPruner and Ray Tune's ASHA in the same run.

Each is driven through its own classes with the same curves, in memory and without trials' processes: what is measured
is the decision about one reported value when many trials have been recorded already.

    python -m benchmarks.engine            # all of it, a few minutes
    python -m benchmarks.engine --quick    # smaller, seconds
    python -m benchmarks.engine --check    # exit with 1 if a target is missed

Optuna comes with the operator, Ray is the extra `bench`; a peer that is not installed is not measured, and the table
says so. The peers do less in one step: they write no log, no numbers and no sentence, and they do not interpolate.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Iterable
from functools import partial

from benchmarks.engine.driven import NAME, Driven, make_spec, objects_of, our_bytes, our_decision, read_objects
from benchmarks.engine.measures import bytes_of, seconds
from benchmarks.engine.peers import is_installed, optuna_decision, optuna_study, ray_decision, ray_scheduler
from benchmarks.engine.table import Row, table

from tuning_operator.curves.marks import MARKS
from tuning_operator.engine.codec import from_lines, to_line
from tuning_operator.engine.engine import Engine
from tuning_operator.engine.events import Event


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
