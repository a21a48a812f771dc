"""Jobs of stand-in trials, and what their runs leave behind."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from trial_protocol import names
from tuning_operator.api.parse import parse_manifest
from tuning_operator.api.tuning_job import TuningJob
from tuning_operator.backends.local.runner import run
from tuning_operator.engine.view import JobView, TrialView

HERE = Path(__file__).parent
STEPS = 40


def manifest(command: list[str], *, steps: int = STEPS, **spec: Any) -> dict[str, Any]:
    """Return the manifest of a job whose trials are one command."""
    trial = {"command": command, "gracePeriod": "3s", "retries": 1, **spec.pop("trial", {})}
    return {
        "apiVersion": "tuning-operator.io/v1alpha1",
        "kind": "TuningJob",
        "metadata": {"name": "job"},
        "spec": {
            "objective": {"metric": "eval_loss"},
            "axis": {"metric": "train_step", "total": steps},
            "parameters": [{"name": "lr", "type": "Float", "min": 0.01, "max": 1.0, "live": True}],
            "search": {"algorithm": "Random", "seed": 3},
            "audit": 0,
            "budget": {"trials": 1, "parallel": 2, "failedTrials": 9},
            "metrics": {"interval": "100ms", "firstWithin": "20s"},
            "trial": trial,
            **spec,
        },
    }


def bare(journal: Path, *options: str, steps: int = STEPS, **spec: Any) -> TuningJob:
    """Return a job of `bare_trial.py`."""
    command = [sys.executable, "-S", str(HERE / "bare_trial.py"), str(journal), f"steps={steps}", *options]
    return parse_manifest(manifest(command, steps=steps, **spec))


def client(*options: str, steps: int = 60, **spec: Any) -> TuningJob:
    """Return a job of `client_trial.py`."""
    command = [sys.executable, str(HERE / "client_trial.py"), f"steps={steps}", *options]
    return parse_manifest(manifest(command, steps=steps, **spec))


async def run_here(job: TuningJob, tmp_path: Path, **settings: Any) -> JobView:
    """Run a job in the folder ``run``, without GPUs."""
    return await run(job, directory=tmp_path / "run", gpus=(), **settings)


async def run_one(job: TuningJob, tmp_path: Path) -> TrialView:
    """Run a job of one trial and return that trial."""
    view = await run_here(job, tmp_path)
    assert view.finished is not None
    assert_nothing_runs(tmp_path)
    (trial,) = view.trials
    return trial


def read_journal(path: Path) -> list[tuple[str, str, int, int, int]]:
    """Return what the trials wrote: what, trial, attempt, process, step."""
    return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


async def until_started(journal: Path, *, trials: int = 1) -> None:
    """Wait until so many trials have started."""
    async with asyncio.timeout(30):
        while sum(line[0] == "start" for line in read_journal(journal)) < trials:  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.02)


def live_processes(tmp_path: Path) -> dict[int, Mapping[str, str]]:
    """Return the environment of every live process that belongs to a run below `tmp_path`."""
    found: dict[int, Mapping[str, str]] = {}
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            is_ours = environment.get(names.ENV_TERMINATION_PATH, "").startswith(f"{tmp_path}{os.sep}")
            if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = environment
        except psutil.Error:
            continue
    return found


def assert_nothing_runs(tmp_path: Path) -> None:
    """A run must not leave a process behind."""
    assert live_processes(tmp_path) == {}
