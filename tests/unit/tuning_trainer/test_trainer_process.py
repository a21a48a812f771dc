"""The trainer as a process: killed, asked to end, configured wrongly, and several at once."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from trial_protocol import names
from trial_protocol.environment import TrialEnvironment
from trial_protocol.result import Outcome, TrialResult
from tuning_trainer.__main__ import EXIT_INTERRUPTED, main
from tuning_trainer.checkpoint_stores import FolderStore
from tuning_trainer.checkpoints import Checkpoints
from tuning_trainer.tasks import TASKS

PARAMETERS: dict[str, object] = {"width": 4, "depth": 2, "batch_size": 16, "lr": 0.01, "dropout": 0.2}
FLAGS = ["digits", "--eval-every", "50", "--checkpoint-every", "40"]
STEPS = 1200.0


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def environment(folder: Path, *, total: float = STEPS, **changed: Any) -> dict[str, str]:
    trial = TrialEnvironment(
        job="test",
        trial="test-1",
        parameters={**PARAMETERS, **changed},
        seed=3,
        total=total,
        checkpoint_uri=str(folder / "checkpoints"),
        termination_path=str(folder / "result.json"),
    )
    return trial.variables()


def train_here(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], flags: list[str] = FLAGS) -> int:
    with monkeypatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        return main(flags)


def step_of(folder: Path) -> int:
    names_of_files = [path.name for path in (folder / "checkpoints").glob("*.checkpoint")]
    return max((int(name.split("-")[2].removesuffix(".checkpoint")) for name in names_of_files), default=0)


def wait_for(process: subprocess.Popen[bytes], condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert process.poll() is None, "the trainer ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def final_state(folder: Path) -> dict[str, object]:
    state = Checkpoints(FolderStore(folder / "checkpoints")).latest()
    assert state is not None
    return state


def without_time(lines: object) -> list[dict[str, object]]:
    assert isinstance(lines, list)
    records = [json.loads(line) for line in lines]
    for record in records:
        record.pop("time"), record.pop("attempt"), record["values"].pop("train_seconds")
    return records


@pytest.mark.timeout(240)
def test_killed_then_asked_to_end_then_resumed_is_the_undisturbed_training_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disturbed, undisturbed = tmp_path / "disturbed", tmp_path / "undisturbed"
    disturbed.mkdir()
    undisturbed.mkdir()
    command = [sys.executable, "-m", "tuning_trainer", *FLAGS]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment(disturbed)}

    for send, expected, after in ((signal.SIGKILL, -signal.SIGKILL, 80), (signal.SIGTERM, EXIT_INTERRUPTED, 240)):
        with subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL) as process:
            try:
                wait_for(process, lambda at_least=after: step_of(disturbed) >= at_least)  # type: ignore[misc]
                process.send_signal(send)
                assert process.wait(30) == expected
            finally:
                process.kill()
    reached = step_of(disturbed)
    assert reached < STEPS
    result = TrialResult.from_json((disturbed / "result.json").read_text())
    assert (result.outcome, result.step) == (Outcome.INTERRUPTED, reached)
    assert Path(result.checkpoint).is_file()

    assert train_here(monkeypatch, environment(disturbed)) == 0
    assert train_here(monkeypatch, environment(undisturbed)) == 0
    one, other = final_state(disturbed), final_state(undisturbed)
    assert one["progress"] == other["progress"]
    assert without_time(one["history"]) == without_time(other["history"])
    weights, expected_weights = one["model"], other["model"]
    assert isinstance(weights, dict)
    assert isinstance(expected_weights, dict)
    assert all(torch.equal(weights[name], expected_weights[name]) for name in expected_weights)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"optimizer": "adamww"}, "Did you mean 'adamw'?"),
        ({"learning_rat": 0.1}, "There is no parameter 'learning_rat'"),
        ({"lr": 0.0}, "lr must be greater than 0"),
    ],
)
def test_parameters_that_cannot_work_end_with_64_and_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], sentence: str
) -> None:
    assert train_here(monkeypatch, environment(tmp_path, **changed)) == names.EXIT_CONFIGURATION_ERROR
    result = TrialResult.from_json((tmp_path / "result.json").read_text())
    assert result.outcome is Outcome.CONFIGURATION_ERROR
    assert sentence in result.message


def test_a_wrong_flag_ends_with_64(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["digits", "--learning", "3"])
    assert ended.value.code == names.EXIT_CONFIGURATION_ERROR
    assert "--learning" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("axis", "total", "steps"),
    [(names.METRIC_STEP, 3.0, 3), (names.METRIC_SAMPLES, 40.0, 3), (names.METRIC_EPOCHS, 0.05, 5)],
)
def test_the_schedule_is_as_long_as_the_axis_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, axis: str, total: float, steps: int
) -> None:
    variables = {**environment(tmp_path, total=total), names.ENV_AXIS: axis}
    assert train_here(monkeypatch, variables) == 0
    assert TrialResult.from_json((tmp_path / "result.json").read_text()).step == steps


def test_an_axis_that_cannot_be_planned_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {**environment(tmp_path), names.ENV_AXIS: names.METRIC_SECONDS}
    assert train_here(monkeypatch, variables) == names.EXIT_CONFIGURATION_ERROR


def test_by_hand_it_reaches_98_percent(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["digits", "--steps", "300", "--eval-every", "100"]) == 0
    last = capsys.readouterr().out.splitlines()[-1].split()
    assert float(last[last.index("accuracy") + 1]) >= 0.98


def test_the_byte_model_learns(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--steps", "30", "--width", "32", "--depth", "1", "--heads", "2", "--context", "32", "--eval-every", "30"]
    assert main(["bytes", *small, "--lr", "0.01", "--threads", "1"]) == 0
    last = capsys.readouterr().out.splitlines()[-1].split()
    assert float(last[last.index("eval_loss") + 1]) < 4.2


def test_the_tasks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in TASKS)


TWO_RANKS = """
import os, sys
sys.path.insert(0, sys.argv[1])
import torch, torch._dynamo
torch.set_num_threads(1)
rank = 0 if os.fork() else 1
from test_trainer_loop import ScriptedTrial, TINY, message
from tuning_trainer.loop import Training
from tuning_trainer.ranks import Ranks
from tuning_trainer.settings import parse
from tuning_trainer.tasks.digits import Digits, DigitsSettings

ranks = Ranks(rank=rank, world_size=2)
device = torch.device("cpu")
ranks.join(device)
settings = parse(DigitsSettings, {**TINY, "schedule": "constant", "warmup": 0.0, "lr": 0.01})
trial = ScriptedTrial({8: message(scale=0.5)} if rank == 0 else {}, stop_at=18 if rank == 1 else None)
task = Digits(settings, device, rank=rank, world_size=2)
training = Training(task, settings, trial, device=device, ranks=ranks)
ended = training.run()
total = sum(float(p.double().sum()) for p in training.model.parameters())
rates = [round(trial.learning_rates[step], 6) for step in (8, 9)]
open(f"{sys.argv[2]}/{rank}", "w").write(f"{ended.outcome} {ended.step} {rates} {total!r} {len(trial.reports)}")
ranks.leave()
if rank == 0:
    os.wait()
"""


@pytest.mark.timeout(240)
def test_what_one_rank_hears_every_rank_does_at_the_same_step(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **meeting}
    arguments = [sys.executable, "-c", textwrap.dedent(TWO_RANKS), str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(arguments, env=variables, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    first, second = ((tmp_path / str(rank)).read_text() for rank in (0, 1))
    assert first.startswith("Interrupted 18 [0.01, 0.005]")
    assert first.rsplit(" ", 1)[0] == second.rsplit(" ", 1)[0]
    assert (first[-1], second[-1]) == ("3", "0")
