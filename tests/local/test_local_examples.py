"""The examples of own trainers, each as a person starts it: the program, as the one trial of its job."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from tests.local.jobs import run_here

from tuning_operator.api.parse import parse_manifest
from tuning_operator.engine.events import EndReason

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = {"own_trainer": None, "lightning_trainer": "lightning", "transformers_trainer": "transformers"}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", PROGRAMS)
async def test_an_example_trains_as_a_trial(name: str, tmp_path: Path) -> None:
    if (library := PROGRAMS[name]) is not None:
        pytest.importorskip(library)
    manifest = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    manifest["spec"]["budget"] = {"trials": 1, "parallel": 1, "failedTrials": 0}
    manifest["spec"]["metrics"]["firstWithin"] = "4m"
    manifest["spec"]["trial"]["command"] = [sys.executable, str(EXAMPLES / f"{name}.py")]
    view = await run_here(parse_manifest(manifest), tmp_path)
    (trial,) = view.trials
    assert trial.reason is EndReason.COMPLETED
    assert trial.result is not None
    assert trial.fraction == 1.0
    assert len(trial.points) >= 5
