"""The operator's process is killed two hundred times during one job, and the job's records are as if nothing had been.

Killed by SIGKILL, at any moment: while it starts, while it reads a trial, between a record and its judgement, between a
decision and its act. Each new process has the name of the old one, so that it leads at once: how a standby waits for
the Lease of a leader that died is another test's matter.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from tests.controlplane.ledgers import doubled, ledger
from tests.controlplane.lockstep import Lockstep, Mishaps, lockstep
from tests.controlplane.operators import arguments
from tests.controlplane.studies import manifest
from tests.controlplane.test_service import operator_user
from tests.nursery import Nursery
from tests.testbed.controlplane import ControlPlane

from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.resources import TUNING_JOBS

_log = logging.getLogger(__name__)
KILLS = 200
TRIALS = 30
PARALLEL = 3
LONGEST_LIFE = 0.5
"""Seconds: about twice what an operator needs to start and to follow one move, where nothing else runs."""


def loss(parameters: dict[str, Any], step: int) -> float:
    """The better the nearer the learning rate is to 0.01; a large one diverges."""
    rate = parameters["lr"]
    if rate > 0.5 and step > 40:
        return math.nan
    return 1.0 + abs(math.log10(rate) + 2) + math.exp(-step / 20) * (1 + parameters["width"] / 8)


def job(namespace: str) -> Any:
    return manifest(
        namespace,
        parameters=[
            {"name": "lr", "type": "Float", "min": 1e-4, "max": 1.0, "scale": "Log"},
            {"name": "width", "type": "Int", "min": 1, "max": 8},
        ],
        search={"algorithm": "TPE", "seed": 3, "initial": [{"lr": 0.9, "width": 3}]},
        stopping=[{"rule": "Percentile", "percentile": 25, "minimumTrials": 2, "after": 0.3}, {"rule": "Divergence"}],
        control=[{"rule": "CoolDown", "fraction": 0.3}],
        audit=0.15,
        budget={"trials": TRIALS, "parallel": PARALLEL},
        evaluation={"top": 1, "seeds": [101, 102]},
    )


class Mortal:
    """An operator that is killed `kills` times, and comes back each time."""

    def __init__(self, nursery: Nursery, draws: random.Random, *, kills: int, command: list[str], log: Path) -> None:
        self.killed = 0
        self.trial_port = 0
        self._nursery = nursery
        self._draws = draws
        self._kills = kills
        self._command = command
        self._log = log
        self._pid = 0

    async def start(self) -> None:
        self._pid = self._nursery.start(self._command, log=self._log, trial_port=self.trial_port)

    async def end(self) -> None:
        assert self._nursery.end(self._pid, signal.SIGKILL) == -signal.SIGKILL

    async def suffer(self) -> None:
        """Die zero to three times, each time at a random moment after the move or after the start."""
        for _ in range(min(self._draws.choice((0, 1, 1, 1, 2, 3)), self._kills - self.killed)):
            await asyncio.sleep(self._draws.uniform(0, LONGEST_LIFE))
            await self.end()
            self.killed += 1
            await self.start()


async def play(plane: ControlPlane, namespace: str, mortal: Mortal) -> tuple[dict[str, Any], list[str], Lockstep]:
    mishaps = Mishaps(misconfigured=frozenset({5}), evicted=frozenset({9}))
    async with (
        await Client.connect(kubeconfig=str(plane.kubeconfig)) as client,
        lockstep(client, namespace, loss, trials=TRIALS, parallel=PARALLEL, evaluations=2, mishaps=mishaps) as trials,
    ):
        await client.apply(TUNING_JOBS, job(namespace))
        mortal.trial_port = trials.port
        await mortal.start()
        try:
            async for _ in trials.moves_made():
                await mortal.suffer()
        finally:
            await mortal.end()
        return await ledger(client, namespace), await doubled(client, namespace, trials), trials


@pytest.mark.timeout(1500)
async def test_two_hundred_kills_change_nothing(
    crds: ControlPlane, namespaces: Any, nursery: Nursery, tmp_path: Path, record_property: Any
) -> None:
    async def run(kills: int) -> dict[str, Any]:
        namespace = namespaces()
        folder = tmp_path / namespace
        folder.mkdir()
        user = operator_user(crds, namespace)
        mortal = Mortal(
            nursery,
            random.Random(7),
            kills=kills,
            command=arguments(folder, kubeconfig=user, own_namespace=namespace, lease=60),
            log=folder / "operator.log",
        )
        began = time.monotonic()
        records, twice, trials = await play(crds, namespace, mortal)
        took = round(time.monotonic() - began, 1)
        record_property(f"seconds with {kills} kills", took)
        _log.info("%d operators killed during %d moves, %.1f s", mortal.killed, trials.moves, took)
        assert twice == []
        assert mortal.killed == kills
        return records

    undisturbed, disturbed = await asyncio.gather(run(0), run(KILLS))
    assert len(undisturbed) == TRIALS + 2 + 1
    assert undisturbed.keys() == disturbed.keys()
    for name, records in undisturbed.items():
        assert disturbed[name] == records, name
    check_that_it_was_a_job_worth_disturbing(undisturbed)


def check_that_it_was_a_job_worth_disturbing(records: dict[str, Any]) -> None:
    ends = {name: one["end"]["reason"] for name, one in records.items() if name != "job"}
    assert {"Completed", "StoppedEarly", "NonFinite", "ConfigurationError"} <= set(ends.values())
    decisions = [one for name, trial in records.items() if name != "job" for one in trial["spec"].get("decisions", ())]
    assert {one["rule"] for one in decisions} == {"Percentile", "Divergence", "CoolDown"}
    assert {one["enforced"] for one in decisions} == {True, False}
    assert any(len(trial["attempts"] or ()) == 2 for name, trial in records.items() if name != "job")
    assert records["job"]["best"]
