"""A real training by transformers' Trainer as a trial: reported, steered at a step boundary, ended by SIGTERM."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.tuning_trainer.clients import put, scrape, serving, token

transformers = pytest.importorskip("transformers")

from tuning_trainer.client import Trial  # noqa: E402
from tuning_trainer.integrations.transformers import TuningCallback  # noqa: E402

pytestmark = [
    pytest.mark.timeout(240),
    # The Trainer advises of pinned memory and calls older names of torch; none of it is ours to mend.
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]


class Line(torch.nn.Module):
    """Fits y = 3x; whatever a test wants to happen at a call happens there."""

    def __init__(self, before: dict[int, Callable[[], Any]]) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self._before = before
        self._calls = 0

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        if self.training:
            if (act := self._before.get(self._calls)) is not None:
                act()
            self._calls += 1
        guess = self.layer(x)
        return {"loss": torch.nn.functional.mse_loss(guess, labels), "logits": guess}


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    with serving(tmp_path, total=16) as one:
        yield one


def train(trial: Trial, model: Line, folder: Path) -> Any:
    data = [{"x": torch.tensor([x]), "labels": torch.tensor([3 * x])} for x in torch.linspace(-1, 1, 32).tolist()]
    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "out"),
        per_device_train_batch_size=8,
        num_train_epochs=4,
        learning_rate=0.1,
        lr_scheduler_type="constant",
        logging_steps=1,
        eval_strategy="epoch",
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = transformers.Trainer(
        model=model, args=arguments, train_dataset=data, eval_dataset=data, callbacks=[TuningCallback(trial)]
    )
    trainer.train()
    return trainer


def test_what_is_evaluated_is_reported_with_its_step_and_the_rate_in_force(trial: Trial, tmp_path: Path) -> None:
    train(trial, Line({5: lambda: put(trial, token(1, 0.5))}), tmp_path)
    records = [record for record in trial.history if "eval_loss" in record.values]
    assert [record.step for record in records] == [4, 8, 12, 16]
    assert [record.learning_rate for record in records] == pytest.approx([0.1, 0.05, 0.05, 0.05])
    assert [record.revision for record in records] == [0, 1, 1, 1]
    assert records[-1].values["train_epochs"] == pytest.approx(4.0)
    assert records[-1].values["eval_loss"] < records[0].values["eval_loss"]


def test_the_training_loss_is_recorded(trial: Trial, tmp_path: Path) -> None:
    train(trial, Line({}), tmp_path)
    samples = scrape(trial)
    assert samples["train_step"] == 16
    assert samples["tuning_gradient_norm"] > 0


def test_a_request_to_end_saves_a_checkpoint_and_ends_at_the_next_step(trial: Trial, tmp_path: Path) -> None:
    train(trial, Line({5: lambda: os.kill(os.getpid(), signal.SIGTERM)}), tmp_path)
    assert trial.should_stop
    assert scrape(trial)["train_step"] == 6
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoint-6"]
