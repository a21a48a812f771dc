"""A trial's process from start to end: inside and outside a tuning job, asked to stop, failing, restarted."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.tuning_trainer.clients import KEYS, NAME, scrape, serving, token

import tuning_trainer
from trial_protocol import names
from trial_protocol.environment import TrialEnvironment
from trial_protocol.errors import ProtocolError
from trial_protocol.history import HistoryRecord
from trial_protocol.result import Outcome, TrialResult


def result(tmp_path: Path) -> TrialResult:
    return TrialResult.from_json((tmp_path / "result.json").read_text())


def run_trial(tmp_path: Path, script: str, **fields: Any) -> subprocess.CompletedProcess[str]:
    """Run a script as the process of a trial."""
    environment = TrialEnvironment(
        job="digits", trial=NAME, termination_path=str(tmp_path / "result.json"), public_key=KEYS.public_pem, **fields
    )
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, **environment.variables()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_lines_of_the_package_docstring_make_a_trial(tmp_path: Path) -> None:
    assert tuning_trainer.__doc__ is not None
    example = tuning_trainer.__doc__.split("::\n\n")[1].split("\n\n")[0]
    script = "def train(learning_rate): return 1 - learning_rate\n" + textwrap.dedent(example)
    ended = run_trial(tmp_path, script, parameters={"lr": 0.25}, control=token(1, 2.0))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("tuning: serving on port ")
    told = result(tmp_path)
    assert replace(told, history=()) == TrialResult(
        outcome=Outcome.COMPLETED, step=100, values={"eval_loss": 1 - 0.25 * 2.0}, revision=1
    )
    assert [record.step for record in told.history] == list(range(101 - len(told.history), 101))
    assert len(told.history) >= 40
    (tmp_path / "result.json").unlink()
    alone = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert (alone.stdout, alone.stderr) == ("", "tuning: not in a tuning job; nothing is reported\n")
    assert not (tmp_path / "result.json").exists()


def test_outside_a_tuning_job_everything_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    with tuning_trainer.start(variables={}) as trial:
        trial.record_step(step=1, loss=0.5)
        trial.report(step=1, eval_loss=0.5)
        trial.restore_history([HistoryRecord(step=1, attempt=1, time=0.0, values={})])
        trial.finish(Outcome.COMPLETED)
        assert (trial.active, trial.parameters, trial.port, trial.history) == (False, {}, None, [])
        assert (trial.should_stop, trial.learning_rate_scale, trial.poll(step=1)) == (False, 1.0, None)
        assert signal.getsignal(signal.SIGTERM) is handler
    assert capsys.readouterr() == ("", "tuning: not in a tuning job; nothing is reported\n")


def test_only_the_first_rank_serves(tmp_path: Path) -> None:
    environment = TrialEnvironment(job="digits", trial=NAME, parameters={"lr": 0.1}, control=token(1))
    with tuning_trainer.start(variables={**environment.variables(), "RANK": "1"}) as trial:
        trial.report(step=1, eval_loss=0.5)
        assert (trial.active, trial.port, trial.parameters, trial.history) == (True, None, {"lr": 0.1}, [])
    with pytest.raises(ProtocolError, match="RANK"):
        tuning_trainer.start(variables={**environment.variables(), "RANK": "first"})


def test_importing_it_takes_neither_torch_nor_time() -> None:
    script = """
        import sys, time
        started = time.perf_counter()
        import tuning_trainer
        print(time.perf_counter() - started)
        light = {"jwt", "prometheus_client", "http.server", "torch", "numpy"} & set(sys.modules)
        tuning_trainer.start
        print(light, "torch" in sys.modules or "numpy" in sys.modules)
    """
    shown = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=True
    )
    seconds, rest = shown.stdout.splitlines()
    assert rest == "set() False"
    assert float(seconds) < 0.25


@pytest.mark.parametrize(
    ("end", "code", "outcome", "message"),
    [
        ("", 0, Outcome.COMPLETED, ""),
        ("raise RuntimeError('boom')", 1, Outcome.FAILED, "RuntimeError: boom"),
        (
            "class OutOfMemoryError(RuntimeError): pass\nraise OutOfMemoryError('16 GiB')",
            1,
            Outcome.OUT_OF_MEMORY,
            "OutOfMemoryError: 16 GiB",
        ),
        ("sys.exit(64)", 64, Outcome.CONFIGURATION_ERROR, "SystemExit: 64"),
        ("sys.exit(3)", 3, Outcome.FAILED, "SystemExit: 3"),
        ("sys.exit(0)", 0, Outcome.COMPLETED, ""),
        ("os.kill(os.getpid(), signal.SIGTERM)", 0, Outcome.INTERRUPTED, ""),
    ],
)
def test_every_end_is_told(tmp_path: Path, end: str, code: int, outcome: Outcome, message: str) -> None:
    script = "import os, signal, sys, tuning_trainer\nwith tuning_trainer.start() as trial:\n"
    script += textwrap.indent(f"trial.report(step=5, eval_loss=0.5)\n{end}\n", "    ")
    ended = run_trial(tmp_path, script)
    assert ended.returncode == code, ended.stderr
    told = result(tmp_path)
    assert (told.outcome, told.message, told.step, told.values) == (outcome, message, 5, {"eval_loss": 0.5})


@pytest.mark.parametrize(("end", "outcome"), [("", Outcome.COMPLETED), ("1 / 0", Outcome.FAILED)])
def test_a_loop_that_never_finishes_has_its_result_written_at_exit(tmp_path: Path, end: str, outcome: Outcome) -> None:
    script = f"import tuning_trainer\ntrial = tuning_trainer.start()\ntrial.report(step=5, eval_loss=0.5)\n{end}\n"
    run_trial(tmp_path, script)
    assert result(tmp_path).outcome is outcome
    assert result(tmp_path).values == {"eval_loss": 0.5}


def test_an_own_word_at_the_end_stands(tmp_path: Path) -> None:
    with serving(tmp_path) as trial, trial:
        trial.report(step=5, eval_loss=0.5)
        trial.finish(Outcome.NON_FINITE, values={"eval_loss": math.inf}, checkpoint="a/b", message="lost")
        assert scrape(trial)["eval_loss"] == 0.5
    told = result(tmp_path)
    assert [record.values["eval_loss"] for record in told.history] == [0.5]
    assert replace(told, history=()) == TrialResult(
        outcome=Outcome.NON_FINITE, step=5, values={"eval_loss": math.inf}, checkpoint="a/b", message="lost"
    )


def test_the_last_word_has_the_evaluations_of_this_process_and_not_those_before_it(tmp_path: Path) -> None:
    earlier = HistoryRecord(step=5, attempt=1, time=1.0, values={"train_step": 5.0, "eval_loss": 0.7})
    with serving(tmp_path) as trial, trial:
        trial.restore_history([earlier])
        trial.report(step=10, eval_loss=0.5, learning_rate=1e-3)
        trial.report(step=15, eval_loss=0.4, learning_rate=1e-3)
        newest = trial.history[1:]
    assert list(result(tmp_path).history) == newest
    assert [record.step for record in newest] == [10, 15]


def test_the_termination_message_is_written_into_the_file_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("x" * 5000)
    inode = path.stat().st_ino
    with serving(tmp_path) as trial:
        trial.finish(Outcome.COMPLETED)
    assert path.stat().st_ino == inode
    assert result(tmp_path).outcome is Outcome.COMPLETED


def test_a_result_that_cannot_be_written_ends_no_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(tmp_path, termination_path=str(tmp_path / "missing" / "result.json")) as trial:
        trial.finish(Outcome.COMPLETED)
        trial.finish(Outcome.COMPLETED, checkpoint="c" * 5000)
    assert capsys.readouterr().err.count("the result could not be written") == 2


def test_sigterm_is_seen_and_passed_on(tmp_path: Path) -> None:
    seen: list[int] = []

    def earlier(number: int, frame: object) -> None:
        seen.append(number)

    before = signal.signal(signal.SIGTERM, earlier)
    try:
        with serving(tmp_path) as trial:
            assert not trial.should_stop
            signal.raise_signal(signal.SIGTERM)
            assert trial.should_stop
            assert seen == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is earlier
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_no_handler_is_installed(tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    handlers: list[object] = []

    def work() -> None:
        with serving(tmp_path) as trial:
            trial.report(step=1, eval_loss=0.5)
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [handler]


def test_a_restarted_trial_still_serves_everything(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        for step in (10, 20):
            first.report(step=step, eval_loss=1 / step)
        saved = [record.to_json() for record in first.history]
    with serving(tmp_path, attempt=2) as second:
        second.restore_history(HistoryRecord.from_json(line) for line in saved)
        assert scrape(second)["train_step"] == 20
        assert scrape(second)["eval_loss"] == 1 / 20
        second.report(step=15, eval_loss=0.5)
        assert [(record.attempt, record.step) for record in second.history] == [(1, 10), (1, 20), (2, 15)]
        assert scrape(second)["train_step"] == 15
        assert second.history[-1].values[names.METRIC_SECONDS] >= second.history[1].values[names.METRIC_SECONDS]


@pytest.mark.parametrize(
    ("metric", "value", "complaint"),
    [
        ("eval-loss", 1.0, "letters"),
        ("äh", 1.0, "letters"),
        ("tuning_revision", 1.0, "client itself"),
        ("train_seconds", 1.0, "client itself"),
        ("eval_loss", "low", "must be a number"),
        ("eval_loss", None, "must be a number"),
    ],
)
def test_a_metric_that_cannot_be_exported_is_named(tmp_path: Path, metric: str, value: Any, complaint: str) -> None:
    with serving(tmp_path) as trial:
        with pytest.raises(ProtocolError, match=complaint) as error:
            trial.report(step=1, **{metric: value})
        assert metric in str(error.value)
        assert trial.history == []


def test_numbers_of_any_kind_are_taken(tmp_path: Path) -> None:
    with serving(tmp_path) as trial:
        trial.report(step=1, whole=3, flag=True, huge=10**400, lost=math.nan)
        samples = scrape(trial)
    assert (samples["whole"], samples["flag"], samples["huge"]) == (3.0, 1.0, math.inf)
    assert math.isnan(samples["lost"])


def test_the_package_names_what_it_exports() -> None:
    assert set(tuning_trainer.__all__) == {"Trial", "start"}
    assert tuning_trainer.Trial.__module__ == "tuning_trainer.client"
    with pytest.raises(AttributeError, match="stop"):
        tuning_trainer.stop  # noqa: B018
