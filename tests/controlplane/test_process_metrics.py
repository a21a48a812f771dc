"""The metrics of a real run: every name of the table and no other, and nothing of what is gone."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.controlplane.lockstep import lockstep
from tests.controlplane.operators import operator
from tests.controlplane.studies import falling, manifest
from tests.testbed.binaries import binary
from tests.testbed.controlplane import ControlPlane, free_ports
from tests.testbed.fault_proxy import fault_proxy

from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.metrics import METRICS, STANDARD, About
from tuning_operator.backends.kubernetes.resources import TUNING_JOBS

RATES = (0.1, 0.11, 0.12, 0.5, 0.4, 0.3, 0.001, 0.2, 0.6, 0.105, 0.01, 0.7, 0.15, 0.05)
"""The best first, so that a rule has something to stop."""
Labels = frozenset[tuple[str, str]]


def series(page: str) -> set[tuple[str, Labels]]:
    """Name (of a histogram without its suffix) and labels of everything on a page."""
    return {
        (family.name if family.type == "histogram" else one.name, frozenset(one.labels.items()))
        for family in text_string_to_metric_families(page)
        for one in family.samples
    }


def check(page: str) -> subprocess.CompletedProcess[str]:
    """What promtool says of a page."""
    command = [binary("promtool"), "check", "metrics"]
    return subprocess.run(command, input=page, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.timeout(300)
async def test_a_run_shows_every_metric_of_the_table_and_no_other(
    crds: ControlPlane, namespace: str, client: Client, tmp_path: Path, prometheus_server: object
) -> None:
    body = manifest(
        namespace,
        parameters=[
            {"name": "lr", "type": "Float", "min": 1e-4, "max": 1.0, "scale": "Log"},
            {"name": "optimizer", "type": "Categorical", "choices": ["sgd", "adamw"]},
        ],
        search={"algorithm": "Random", "seed": 1, "initial": [{"lr": rate, "optimizer": "sgd"} for rate in RATES]},
        stopping=[{"rule": "Percentile", "percentile": 50, "minimumTrials": 2, "after": 0.3}],
        audit=0.7,
        budget={"trials": len(RATES), "parallel": 2, "duration": "2h", "gpuHours": 10},
    )
    (port,) = free_ports(1)
    seen: set[tuple[str, Labels]] = set()
    async with (
        fault_proxy(crds, tmp_path) as proxy,
        operator(
            tmp_path,
            kubeconfig=proxy.kubeconfig,
            own_namespace=namespace,
            namespaces=(namespace,),
            trial_port=port,
            lease=15,
        ) as process,
        lockstep(client, namespace, falling, trials=len(RATES), parallel=2) as trials,
    ):
        trials.port = port
        await client.apply(TUNING_JOBS, body)
        async for move in trials.moves_made():
            if move == 5:
                assert proxy.cut_watches()
            page = (await process.ask("/metrics"))[1]
            seen |= series(page)
        whole = (await process.ask("/metrics"))[1]
        seen |= series(whole)
        await client.delete(TUNING_JOBS, namespace=namespace, name="digits")
        await process.until_lacks("/metrics", namespace)
        left = series((await process.ask("/metrics"))[1])
    table = {one.name: one for one in METRICS}
    names = {name for name, _ in seen}
    assert names - set(STANDARD) == set(table), sorted(names.symmetric_difference({*table, *STANDARD}))
    for name, labels in seen:
        if name in table:
            assert {label for label, _ in labels} - {"le"} == set(table[name].labels), name
    assert not {name for name, _ in left if name in table and table[name].about in (About.JOB, About.TRIAL)}
    told = await asyncio.to_thread(check, whole)
    assert (told.returncode, told.stdout + told.stderr) == (0, "")
