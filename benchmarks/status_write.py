"""What a growing curve costs an API server: CPU time of a write of a Trial's status, beside that of a ConfigMap.

    python -m benchmarks.status_write

A status is written with every mark, whole, so what it costs must not grow much with the marks that are there already.
Writes go to a real API server one after the other, those of all sizes in turns; CPU time is that of its process.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import psutil
from rich.console import Console
from rich.table import Table
from tests.testbed.controlplane import ControlPlane, start_control_plane
from tests.testbed.errors import TestbedError
from tests.testbed.sizes import SIZES

from tuning_operator.api.trial import Desired
from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.resources import TRIALS, Object, Resource
from tuning_operator.backends.kubernetes.study_objects import CURVE_MANAGER
from tuning_operator.backends.kubernetes.trial_log import TrialLog
from tuning_operator.curves.marks import MARKS, MarkValue
from tuning_operator.engine.events import MarkReached, TrialProposed
from tuning_operator.engine.wanted import Wanted

CONFIG_MAPS: Final = Resource(group="", version="v1", plural="configmaps", kind="ConfigMap")
LENGTHS: Final = (0, 1, MARKS // 2, MARKS)
BARE: Final = "a ConfigMap"
_AT_A_TIME: Final = 20
"""Writes of one kind in a row: enough that the clock of CPU time, 10 ms a tick, tells them apart."""
_PROPOSED: Final = TrialProposed(sequence=0, time=0.0, trial=0, parameters={"lr": 0.003, "width": 64}, seed=0)

_WANTED: Final = Wanted(desired=Desired.RUNNING)

Write = Callable[[], Awaitable[Any]]


def status(marks: int, draws: random.Random) -> Object:
    """Return a status with so many marks, none of which any other has."""
    log = TrialLog(_PROPOSED)
    for mark in range(1, marks + 1):
        value, rate = draws.random(), draws.random() / 1000
        at = MarkValue(mark=mark, value=value, best=value, mean=value, learning_rate=rate)
        log.add(MarkReached(sequence=40 * mark, time=1e9 + draws.random(), trial=0, attempt=1, at=at))
    return {**log.status(), "value": f"{draws.random()}"}


async def measure(plane: ControlPlane, *, rounds: int) -> dict[str, list[float]]:
    """Return, by what was written, the CPU seconds of one write in each round."""
    draws = random.Random(0)
    server = psutil.Process(next(one.pid for one in plane.instance.processes if one.name == "kube-apiserver"))
    async with await Client.connect(kubeconfig=str(plane.kubeconfig)) as client:
        metadata = {"name": "bare", "namespace": "default"}
        writes: dict[str, Write] = {
            BARE: lambda: client.apply(CONFIG_MAPS, {"metadata": metadata, "data": {"value": f"{draws.random()}"}})
        }
        for marks in LENGTHS:
            trial = {"metadata": {"name": f"marks-{marks}", "namespace": "default"}}
            await client.create(TRIALS, {**trial, "spec": TrialLog(_PROPOSED).spec(job="bench", wanted=_WANTED)})

            def write(marks: int = marks, trial: Object = trial) -> Awaitable[Any]:
                body = {**trial, "status": status(marks, draws)}
                return client.apply(TRIALS, body, subresource="status", manager=CURVE_MANAGER)

            writes[f"a status with {marks} marks"] = write
        found: dict[str, list[float]] = {what: [] for what in writes}
        for number in range(rounds + 1):
            for what, one in writes.items():
                before = server.cpu_times()
                for _ in range(_AT_A_TIME):
                    await one()
                after = server.cpu_times()
                if number:
                    used = after.user + after.system - before.user - before.system
                    found[what].append(used / _AT_A_TIME)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="rounds of 20 writes of each kind (15)")
    options = parser.parse_args()
    if reason := SIZES["control-plane"].missing_reason():
        sys.exit(f"this needs a control plane: {reason}")
    try:
        plane = start_control_plane()
        try:
            plane.serve("crds/trials.yaml")
            found = asyncio.run(measure(plane, rounds=options.rounds))
        finally:
            plane.take_down()
    except TestbedError as error:
        sys.exit(f"the benchmark failed: {error}")
    bare = statistics.median(found[BARE])
    table = Table("one write of", "CPU of the API server", "beside a ConfigMap")
    for what, seconds in found.items():
        one = statistics.median(seconds)
        table.add_row(what, f"{one * 1000:.1f} ms", f"{one / bare:.1f} x")
    Console().print(table)


if __name__ == "__main__":
    main()
