"""The loop on tiny models; what an operator says is scripted by step, so that every run is the same."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from trial_protocol.control import ControlMessage
from trial_protocol.errors import ConfigurationError
from trial_protocol.history import HistoryRecord
from trial_protocol.result import Outcome
from tuning_trainer.checkpoint_stores import FolderStore
from tuning_trainer.loop import Ended, Training
from tuning_trainer.optimizers import KINDS
from tuning_trainer.settings import OPTIMIZERS, parse
from tuning_trainer.startup import defer_compiler
from tuning_trainer.tasks.digits import Digits, DigitsSettings

TINY = {"width": 4, "depth": 2, "batch_size": 16, "steps": 24, "eval_every": 6, "dropout": 0.2, "augment": True}


def message(
    *, revision: int = 1, scale: float = 1.0, begin_decay: bool = False, restore: bool = False
) -> ControlMessage:
    return ControlMessage(
        trial="tiny", revision=revision, learning_rate_scale=scale, begin_decay=begin_decay, restore=restore
    )


@dataclass
class ScriptedTrial:
    """Says its messages at the steps of the script, and keeps what it is told."""

    script: dict[int, ControlMessage] = field(default_factory=dict)
    stop_at: int | None = None
    active: bool = True
    should_stop: bool = False
    control: ControlMessage | None = None
    losses: list[tuple[int, float]] = field(default_factory=list)
    learning_rates: dict[int, float] = field(default_factory=dict)
    restored: list[dict[str, float]] = field(default_factory=list)
    reports: list[dict[str, float]] = field(default_factory=list)

    def poll(self, *, step: int) -> ControlMessage | None:
        self._look_at(step)
        arrived = self.script.pop(step, None)
        self.control = arrived or self.control
        return arrived

    def _look_at(self, step: int) -> None:
        self.should_stop = self.stop_at is not None and step >= self.stop_at

    @property
    def history(self) -> list[HistoryRecord]:
        return [HistoryRecord(step=int(values["step"]), attempt=1, time=0.0, values=values) for values in self.reports]

    def restore_history(self, records: Iterable[HistoryRecord]) -> None:
        self.restored = [dict(record.values) for record in records]

    def restore_control(self, message: ControlMessage) -> None:
        self.control = message

    def record_step(self, *, step: int, loss: float, learning_rate: float | None = None, **_: float | None) -> None:
        self.losses.append((step, loss))
        self._look_at(step)
        self.learning_rates[step] = math.nan if learning_rate is None else learning_rate

    def report(self, **values: float | None) -> None:
        self.reports.append({name: value for name, value in values.items() if value is not None})


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    defer_compiler()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train(
    trial: ScriptedTrial,
    directory: Path | None = None,
    *,
    clock: Callable[[], float] | None = None,
    sleep: Callable[[float], None] | None = None,
    **parameters: object,
) -> tuple[Ended, Training]:
    settings = parse(DigitsSettings, {**TINY, **parameters})
    device = torch.device("cpu")
    now = [0.0]

    def pass_time(seconds: float) -> None:
        now[0] += seconds

    training = Training(
        Digits(settings, device),
        settings,
        trial,
        device=device,
        store=FolderStore(directory) if directory else None,
        clock=clock or (lambda: now[0]),
        sleep=sleep or pass_time,
    )
    return training.run(), training


def weights(training: Training) -> list[torch.Tensor]:
    return [parameter.detach() for parameter in training.model.parameters()]


def same(one: Training, other: Training) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def test_every_named_optimizer_exists() -> None:
    assert tuple(KINDS) == OPTIMIZERS


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns(optimizer: str) -> None:
    trial = ScriptedTrial()
    ended, _ = train(trial, optimizer=optimizer, lr=0.002 if optimizer == "rmsprop" else 0.02, steps=40, eval_every=40)
    assert ended.outcome is Outcome.COMPLETED
    assert ended.values["eval_loss"] < 2.0


def test_evaluations_come_at_their_steps_with_all_counters() -> None:
    trial = ScriptedTrial()
    ended, _ = train(trial, steps=20)
    assert [report["step"] for report in trial.reports] == [6, 12, 18, 20]
    assert trial.reports[0]["samples"] == trial.reports[0]["tokens"] == 96
    assert trial.reports[-1]["epochs"] == pytest.approx(320 / 1438)
    assert trial.reports[-1]["eval_loss"] == ended.values["eval_loss"]
    mean = sum(loss for step, loss in trial.losses if step > 18) / 2
    assert trial.reports[-1]["train_loss"] == pytest.approx(mean)
    assert [step for step, _ in trial.losses] == list(range(1, 21))


@pytest.mark.parametrize("stop_at", [1, 6, 13, 23])
def test_a_stopped_and_resumed_run_is_the_undisturbed_one_bit_for_bit(tmp_path: Path, stop_at: int) -> None:
    undisturbed, first, second = ScriptedTrial(), ScriptedTrial(stop_at=stop_at), ScriptedTrial()
    _, whole = train(undisturbed)
    ended, _ = train(first, tmp_path)
    assert (ended.outcome, ended.step) == (Outcome.INTERRUPTED, stop_at)
    assert Path(ended.checkpoint).is_file()
    torch.manual_seed(987)
    _, resumed = train(second, tmp_path)
    assert first.losses + second.losses == undisturbed.losses
    assert first.reports + second.reports == undisturbed.reports
    assert second.restored == first.reports
    assert same(whole, resumed)


def test_control_survives_an_interruption(tmp_path: Path) -> None:
    script = {5: message(scale=0.5), 9: message(revision=2, scale=0.25, begin_decay=True)}
    undisturbed, first, second = ScriptedTrial(dict(script)), ScriptedTrial(dict(script), stop_at=15), ScriptedTrial()
    train(undisturbed)
    train(first, tmp_path)
    train(second, tmp_path)
    assert first.losses + second.losses == undisturbed.losses


def test_the_learning_rate_is_base_times_schedule_times_scale() -> None:
    trial = ScriptedTrial({10: message(scale=0.5)})
    train(trial, lr=0.01, schedule="constant", warmup=0.0)
    assert trial.learning_rates[10] == pytest.approx(0.01)
    assert trial.learning_rates[11] == pytest.approx(0.005)


def test_begin_decay_falls_in_a_line_from_here_to_the_end() -> None:
    trial = ScriptedTrial({12: message(begin_decay=True)})
    train(trial, lr=0.01, schedule="constant", warmup=0.0)
    rates = [trial.learning_rates[step] for step in range(12, 25)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[1:] == pytest.approx([0.01 * (1 - (n + 0.5) / 12) for n in range(12)])


def test_restore_goes_back_to_the_last_good_checkpoint_with_the_new_scale_and_other_data() -> None:
    trial = ScriptedTrial({10: message(scale=0.5, restore=True)})
    ended, training = train(trial, checkpoint_every=4, lr=0.01, schedule="constant", warmup=0.0)
    steps = [step for step, _ in trial.losses]
    assert steps == [*range(1, 11), *range(9, 25)]
    assert trial.learning_rates[24] == pytest.approx(0.005)
    assert training.progress.position == 26
    assert ended.outcome is Outcome.COMPLETED


def test_a_learning_rate_too_high_explodes_and_a_lower_one_from_the_last_good_checkpoint_does_not() -> None:
    hopeless = ScriptedTrial()
    high: dict[str, Any] = {
        "optimizer": "sgd",
        "lr": 0.5,
        "width": 16,
        "depth": 3,
        "steps": 80,
        "eval_every": 20,
        "augment": False,
    }
    ended, _ = train(hopeless, **high, nonfinite_seconds=1.0)
    assert ended.outcome is Outcome.NON_FINITE
    assert max(loss for _, loss in hopeless.losses if math.isfinite(loss)) > 100
    assert "lower learning rate" in ended.message

    rescued = ScriptedTrial({ended.step: message(scale=0.1, restore=True)})
    ended, _ = train(rescued, **high, nonfinite_seconds=1.0)
    assert ended.outcome is Outcome.COMPLETED
    assert ended.values["accuracy"] > 0.8


def test_lost_weights_are_reported_and_waited_for_without_spinning() -> None:
    trial = ScriptedTrial()
    waits: list[float] = []
    now = [0.0]

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    ended, _ = train(trial, optimizer="sgd", lr=1e6, nonfinite_seconds=2.0, clock=lambda: now[0], sleep=sleep)
    assert ended.outcome is Outcome.NON_FINITE
    assert 1.9 <= sum(waits) <= 2.1
    assert min(waits) >= 0.01
    assert math.isnan(trial.reports[-1]["eval_loss"])
    assert len({step for step, loss in trial.losses if math.isnan(loss)}) <= 10


def test_outside_a_tuning_job_nobody_would_restore_so_nothing_is_waited_for() -> None:
    trial = ScriptedTrial(active=False)
    waits: list[float] = []
    ended, _ = train(trial, optimizer="sgd", lr=1e6, sleep=waits.append)
    assert (ended.outcome, waits) == (Outcome.NON_FINITE, [])


def test_a_checkpoint_of_another_configuration_is_not_continued_from(tmp_path: Path) -> None:
    train(ScriptedTrial(stop_at=3), tmp_path)
    with pytest.raises(ConfigurationError, match="another value of lr, width"):
        train(ScriptedTrial(), tmp_path, lr=0.5, width=8)


def test_a_checkpoint_made_while_the_loss_is_above_the_untrained_one_is_not_good(tmp_path: Path) -> None:
    _, training = train(ScriptedTrial(), tmp_path, optimizer="sgd", lr=0.02, steps=6, checkpoint_every=2)
    training.progress.last_loss = 99.0
    training.progress.step += 1
    training._save()
    assert not Path(training._checkpoints.location(good=False)).name.endswith("-good.checkpoint")
    assert "step-6-good" in training._checkpoints.location(good=True)
