"""What people see of a job: a real Prometheus scrapes operator and trials as the chart's PodMonitors say.

Every query of every panel has data, and each alert fires because of a fault and clears when that is mended.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm.alerts import Limits, alerts, rule_file
from helm.dashboards.draw import draw
from helm.dashboards.pages import PAGES
from helm.dashboards.panel import Query
from helm.dashboards.source import Prometheus as Source
from helm.dashboards.source import Span
from tests.cluster.bed import Bed, bed, is_true, operating
from tests.nursery import Nursery
from tests.testbed.controlplane import free_ports
from tests.testbed.node import Cluster
from tests.testbed.prometheus import Prometheus
from tests.testbed.scraping import scrape_configs

from trial_protocol import names
from tuning_operator.backends.kubernetes.resources import TUNING_JOBS, name_of

QUICK = Limits(patience=1, stuck=6, waiting=600, acknowledged=3)
TRAINS = """
import math, pathlib, time, tuning_trainer
trial = tuning_trainer.start()
rate, kind = trial.parameters["lr"], trial.parameters["kind"]
def wait():
    while not pathlib.Path("/tmp/go").exists():
        time.sleep(0.1)
trial.poll(step=0)
for step in range(1, 61):
    time.sleep(0.1)
    if kind != "deaf" or step == 60:
        trial.poll(step=step)
    loss = abs(math.log10(rate) + 1.5) + 1 / step
    if kind == "diverges" and step > 10:
        loss = math.nan
    scale = trial.learning_rate_scale
    trial.record_step(step=step, loss=loss, gradient_norm=loss, learning_rate=rate * scale, tokens=10 * step)
    if step % 2 == 0:
        trial.report(step=step, eval_loss=loss)
    if kind == "silent" and step == 20:
        trial.close()
        wait()
    if kind == "hangs" and step == 20 or kind == "deaf" and step == 59:
        wait()
"""


@contextmanager
def watched(
    cluster: Cluster, monitors: list[dict[str, Any]], server: Any, port: int, tmp_path: Path
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes trials by their monitor, and an operator that is a process of this machine."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump(rule_file(QUICK)))
    (of_trials,) = [one for one in monitors if one["metadata"]["name"].endswith("-trials")]
    configs = scrape_configs(of_trials, kubeconfig=cluster.kubeconfig, interval="500ms")
    operator = {"job_name": "operator", "honor_labels": True, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    with server([*configs, operator], interval="500ms", rule_files=[rules]) as prometheus:
        yield prometheus


def firing(prometheus: Prometheus) -> set[str]:
    return {alert["labels"]["alertname"] for alert in prometheus.alerts() if alert["state"] == "firing"}


async def fires(prometheus: Prometheus, name: str, *, seconds: float = 60) -> None:
    await _until(lambda: name in firing(prometheus), f"{name} fires", seconds)


async def clears(prometheus: Prometheus, name: str, *, seconds: float = 60) -> None:
    await _until(lambda: name not in firing(prometheus), f"{name} clears", seconds)


async def _until(holds: Any, what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline, f"never: {what}"
        await asyncio.sleep(0.2)


async def let_go(here: Bed, number: int) -> None:
    """Let a trial that waits go on."""
    pod = name_of(here.pods(number)[-1])
    command = ("exec", pod, "-n", here.namespace, "--", "touch", "/tmp/go")
    await asyncio.to_thread(here.cluster.kubectl, *command)


async def start(here: Bed, *kinds: str, trials: int, parallel: int, audit: float) -> None:
    """Apply a job whose first trials are of these kinds; all others behave, each worse than the one before."""
    given = [*kinds, *["behaves"] * (trials - len(kinds))]
    initial = [{"kind": kind, "lr": round(0.04 * 1.15**number, 4)} for number, kind in enumerate(given)]
    await here.apply(
        container={"command": ["python3", "-c", TRAINS], "env": [{"name": "PYTHONPATH", "value": "/opt"}]},
        parameters=[
            {"name": "lr", "type": "Float", "min": 0.001, "max": 1.0, "scale": "Log", "live": True},
            {"name": "kind", "type": "Categorical", "choices": sorted({*given, "any"})},
        ],
        search={"algorithm": "Random", "seed": 3, "initial": initial},
        stopping=[{"rule": "Divergence"}, {"rule": "Percentile", "percentile": 40}],
        control=[{"rule": "CoolDown", "fraction": 0.5}],
        audit=audit,
        metrics={"interval": "500ms", "firstWithin": "5m"},
        budget={"trials": trials, "parallel": parallel, "failedTrials": 50, "duration": "1h"},
    )


@pytest.mark.timeout(400)
async def test_every_query_of_every_panel_has_data(
    stand_in: Cluster, nursery: Nursery, monitors: list[dict[str, Any]], prometheus_server: Any, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    began = time.time()
    async with bed(stand_in, None) as here:
        with (
            operating(stand_in, here.namespace, nursery, port=port),
            watched(stand_in, monitors, prometheus_server, port, tmp_path) as prometheus,
        ):
            await start(here, trials=16, parallel=4, audit=0.6)
            await here.until(
                "it is complete", lambda: any(is_true(one, "Complete") for one in here.all(TUNING_JOBS)), 240
            )
            (job,) = here.all(TUNING_JOBS)
            given = {"trial": job["status"]["best"]["name"]}
            source = Source(prometheus.url, rate_interval="10s")
            span = Span(start=began, end=time.time())
            without: set[str] = set()
            for page in PAGES:
                chosen = await asyncio.to_thread(source.choices, page, given, span)
                for panel in page.panels:
                    for query in panel.queries:
                        curves = await asyncio.to_thread(source.curves, query, chosen, span)
                        if not any(one.points for one in curves):
                            without.add(query.expression)
                text, empty = await asyncio.to_thread(draw, page, source, span, given)
                assert empty == []
                assert text.count("<section") == len(page.panels)
                for annotation in page.annotations:
                    query = Query(expression=annotation.expression)
                    assert await asyncio.to_thread(source.curves, query, chosen, span), annotation.name
    assert {one.partition("{")[0] for one in without} == {names.METRIC_GPU_MEMORY}, "nothing here has a GPU"


@pytest.mark.timeout(400)
async def test_each_alert_fires_by_a_fault_and_clears(
    stand_in: Cluster, nursery: Nursery, monitors: list[dict[str, Any]], prometheus_server: Any, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    seen: set[str] = set()

    async def comes_and_goes(name: str, mend: Any) -> None:
        try:
            await fires(prometheus, name)
        except AssertionError as error:
            raise AssertionError(f"{error}; {here.summary()}") from None
        seen.add(name)
        await mend()
        await clears(prometheus, name)

    async with bed(stand_in, None) as here:
        with watched(stand_in, monitors, prometheus_server, port, tmp_path) as prometheus:
            with operating(stand_in, here.namespace, nursery, port=port):
                await start(
                    here,
                    "diverges",
                    "diverges",
                    "diverges",
                    "silent",
                    "hangs",
                    "deaf",
                    trials=14,
                    parallel=7,
                    audit=0.0,
                )
                await asyncio.gather(
                    comes_and_goes("TuningTrialsDiverging", lambda: asyncio.sleep(0)),
                    comes_and_goes("TuningScrapesFailing", lambda: let_go(here, 3)),
                    comes_and_goes("TuningControlNotAcknowledged", lambda: let_go(here, 5)),
                )
                began = datetime.fromisoformat(here.all(TUNING_JOBS)[0]["status"]["startTime"])
                used = (datetime.now(UTC) - began).total_seconds()
                await here.patch(budget={"duration": f"{math.ceil(used / 0.92)}s"})
                await comes_and_goes("TuningBudgetNearlyUsed", lambda: here.patch(budget={"duration": "1h"}))
                await comes_and_goes("TuningTrialStuck", lambda: let_go(here, 4))
            await fires(prometheus, "TuningOperatorDown")
            seen.add("TuningOperatorDown")
            with operating(stand_in, here.namespace, nursery, port=port):
                await clears(prometheus, "TuningOperatorDown")
    assert seen == {alert.name for alert in alerts()}
