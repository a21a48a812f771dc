"""The command as a person runs it: real processes, a real log, Ctrl-C and --resume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuning_operator.cli.exits import ExitCode

TRAINER = """\
import sys, time
import tuning_trainer
from trial_protocol.result import Outcome

trial = tuning_trainer.start()
for step in range(1, 21):
    trial.record_step(step=step, loss=1 / step)
    trial.report(step=step, learning_rate=trial.parameters["lr"], eval_loss=trial.parameters["lr"] + 1 / step)
    if trial.should_stop:
        trial.finish(Outcome.INTERRUPTED, values={"eval_loss": 1 / step})
        sys.exit(0)
    time.sleep(float(sys.argv[1]))
trial.finish(Outcome.COMPLETED, values={"eval_loss": trial.parameters["lr"] + 1 / 20})
"""

MANIFEST = """\
apiVersion: tuning-operator.io/v1alpha1
kind: TuningJob
metadata: {{name: small}}
spec:
  objective: {{metric: eval_loss}}
  axis: {{total: 20}}
  parameters: [{{name: lr, type: Float, min: 0.001, max: 0.1, scale: Log}}]
  search: {{algorithm: Random, seed: 1}}
  budget: {{trials: 2, parallel: 2}}
  metrics: {{interval: 100ms}}
  trial: {{command: ["{python}", "{script}", "{pause}"]}}
"""


class Command:
    """Starts ``tuning`` in a directory of its own and ends what is left."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started: list[subprocess.Popen[str]] = []
        (directory / "trainer.py").write_text(TRAINER, encoding="utf-8")

    def manifest(self, *, pause: float) -> None:
        text = MANIFEST.format(python=sys.executable, script=self.directory / "trainer.py", pause=pause)
        (self.directory / "job.yaml").write_text(text, encoding="utf-8")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tuning_operator.cli", *arguments],
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        )
        self.started.append(process)
        return process

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=90)
        return process.returncode, out, err


@pytest.fixture
def tuning(tmp_path: Path) -> Iterator[Command]:
    command = Command(tmp_path)
    yield command
    for process in command.started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)


def test_a_run_tells_its_story_and_leaves_report_table_and_status(tuning: Command) -> None:
    tuning.manifest(pause=0.05)
    code, out, err = tuning("run", "job.yaml")
    assert code == ExitCode.OK, err
    for line in ("trial 0 started: lr=", "trial 1 completed at 100 %", "new best: trial", "small finished after"):
        assert line in out
    run = tuning.directory / "runs" / "small"
    assert {"report.html", "results.csv", "events.jsonl"} <= {path.name for path in run.iterdir()}
    code, out, _ = tuning("status", "small", "-o", "json")
    document = json.loads(out)
    assert (code, document["finished"], document["trials"]["reasons"]) == (0, "TrialsCompleted", {"Completed": 2})
    code, _, err = tuning("run", "job.yaml")
    assert code == ExitCode.ENVIRONMENT
    assert "--resume" in err
    assert "Traceback" not in err


def test_an_interrupted_run_says_how_to_continue_and_then_does(tuning: Command) -> None:
    tuning.manifest(pause=0.3)
    process = tuning.start("run", "job.yaml", "--quiet")
    log = tuning.directory / "runs" / "small" / "events.jsonl"
    give_up = time.monotonic() + 60
    while not (log.exists() and "MarkReached" in log.read_text(encoding="utf-8")):
        assert time.monotonic() < give_up
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "--resume" in err
    code, out, err = tuning("run", "job.yaml", "--resume", "--quiet")
    assert code == ExitCode.OK, err
    assert "2 completed" in out
