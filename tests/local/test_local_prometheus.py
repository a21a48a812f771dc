"""The real client, read by a look at itself and by a real Prometheus: both find the same evaluations."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from tests.local.jobs import bare, run_here
from tests.testbed.binaries import binary
from tests.testbed.prometheus import Prometheus

from trial_protocol import names
from trial_protocol.environment import TrialEnvironment
from tuning_operator.api.parse import parse_manifest
from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.scrape.look import Look
from tuning_operator.scrape.scraper import Scraper
from tuning_operator.scrape.source import Place
from tuning_trainer.client import Trial

VALUES = (0.1, 0.1 + 0.2, 1e-300, float("nan"), float("inf"), 12345678.901234567, 0.25)
Server = Callable[..., AbstractContextManager[Prometheus]]


def spec(axis: str, url: str) -> TuningJobSpec:
    return parse_manifest(
        {
            "apiVersion": "tuning-operator.io/v1alpha1",
            "kind": "TuningJob",
            "metadata": {"name": "job"},
            "spec": {
                "objective": {"metric": "eval_loss"},
                "axis": {"metric": axis, "total": 10_000},
                "parameters": [{"name": "lr", "type": "Float", "min": 0.1, "max": 1}],
                "metrics": {"prometheus": {"url": url}},
            },
        }
    ).spec


def told(looks: list[Look]) -> list[str]:
    """Every evaluation with all that rules may judge by, NaN among it."""
    return [repr((one.position, one.value, one.time, one.learning_rate)) for look in looks for one in look.observations]


@pytest.mark.parametrize("axis", ["train_step", "train_tokens"])
async def test_both_find_the_same_evaluations(axis: str, tmp_path: Path, prometheus_server: Server) -> None:
    trial = Trial(
        TrialEnvironment(job="job", trial="job-0000", axis=axis, total=1e4, termination_path=str(tmp_path / "result"))
    )
    config: dict[str, Any] = {
        "job_name": "trials",
        "params": {"window": ["prometheus"]},
        "static_configs": [
            {"targets": [f"127.0.0.1:{trial.port}"], "labels": {"namespace": "team", "pod": "job-0000-abcde"}}
        ],
    }
    try:
        with prometheus_server([config], interval="200ms") as server:
            async with Scraper() as scraper:
                job = spec(axis, server.url)
                source = scraper.source(spec=job, namespace="team")
                assert await source.check() is None
                place = Place(url="", pod="job-0000-abcde", attempt=1, since=None, seen=set())
                through, own = (
                    source.reader(place),
                    scraper.reader(url=f"http://127.0.0.1:{trial.port}", spec=job, attempt=1),
                )
                found: list[Look] = []
                for number, value in enumerate(VALUES, 1):
                    step = 10 * number
                    trial.record_step(step=step - 5, loss=1.0, tokens=100.0 * step - 50, learning_rate=0.3)
                    trial.report(
                        step=step, tokens=100.0 * step, eval_loss=value, accuracy=0.5, learning_rate=0.3 / step
                    )
                    shown = f'{names.METRIC_EVALUATION_STEP}{{metric="eval_loss"}} == {step}'
                    await asyncio.to_thread(server.until, shown)
                    if number % 3 == 0:
                        (looks,) = await source.look([through])
                        found += looks
                trial.record_step(step=99, loss=1.0, tokens=9_900.0, learning_rate=0.3)
                await asyncio.to_thread(server.until, "train_step == 99")
                (looks,) = await source.look([through])
                found += looks
                directly = await scraper.look(own)
                assert told(found) == told([directly])
                assert len(told(found)) == len(VALUES)
                assert {(one.step, one.time) for one in directly.records} == {
                    (one.step, one.time) for look in found for one in look.records
                }
                assert (found[-1].position, found[-1].fraction) == (directly.position, directly.fraction)
                (again,) = await source.look([through])
                assert told(list(again)) == []
                reader = source.reader(Place(url="", pod="nobody", attempt=1, since=None, seen=set()))
                assert f'{server.url} has no series {{namespace="team",pod=~"nobody"}}' in await reader.explain()
    finally:
        trial.close()


def test_the_configuration_in_the_guide_is_one(tmp_path: Path, prometheus_server: Server) -> None:
    (example,) = re.findall(r"```yaml\n(scrape_configs:.*?)```", Path("docs/metrics.md").read_text(), re.DOTALL)
    config = tmp_path / "prometheus.yaml"
    config.write_text(example)
    checked = subprocess.run(
        [binary("promtool"), "check", "config", config], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


async def test_a_run_on_this_machine_reads_its_trials_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    metrics = {"interval": "100ms", "firstWithin": "20s", "prometheus": {"url": "http://127.0.0.1:1"}}
    view = await run_here(bare(tmp_path / "journal", metrics=metrics), tmp_path)
    assert view.trials[0].result is not None
    assert "spec.metrics.prometheus is for a cluster" in caplog.text
