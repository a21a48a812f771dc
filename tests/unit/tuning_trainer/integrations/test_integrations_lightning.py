"""A real Lightning training as a trial: reported, steered at a step boundary, ended by SIGTERM."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.tuning_trainer.clients import ask, put, scrape, serving, token
from torch.utils.data import DataLoader, TensorDataset

lightning = pytest.importorskip("lightning")

from lightning.pytorch.utilities.exceptions import SIGTERMException  # noqa: E402

from tuning_trainer.client import Trial  # noqa: E402
from tuning_trainer.integrations.lightning import TuningCallback  # noqa: E402

pytestmark = [
    pytest.mark.timeout(240),
    # Lightning advises of workers and loggers, and calls torch's older names; none of it is ours to mend.
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]
INPUTS = torch.linspace(-1, 1, 32).unsqueeze(1)


class Line(lightning.LightningModule):
    """Fits y = 3x; whatever a test wants to happen before a step happens there."""

    def __init__(self, before: dict[int, Any]) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self._before = before
        self.rates: list[float] = []

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        if (act := self._before.get(self.global_step)) is not None:
            act()
        return torch.nn.functional.mse_loss(self.layer(batch[0]), 3 * batch[0])

    def validation_step(self, batch: list[torch.Tensor], _: int) -> None:
        self.log("val/loss", torch.nn.functional.mse_loss(self.layer(batch[0]), 3 * batch[0]))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0), "interval": "step"},
        }


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    with serving(tmp_path, total=16) as one:
        yield one


def fit(trial: Trial, module: Line, folder: Path, **settings: Any) -> Any:
    batches = DataLoader(TensorDataset(INPUTS), batch_size=8)
    trainer = lightning.Trainer(
        callbacks=[TuningCallback(trial)],
        accelerator="cpu",
        max_epochs=4,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **settings,
    )
    trainer.fit(module, batches, batches)
    return trainer


def test_what_is_validated_is_reported_with_its_step_and_the_rate_in_force(trial: Trial, tmp_path: Path) -> None:
    module = Line({6: lambda: put(trial, token(1, 0.5))})
    fit(trial, module, tmp_path)
    records = [record for record in trial.history if "val_loss" in record.values]
    assert [record.step for record in records] == [4, 8, 12, 16]
    assert [record.learning_rate for record in records] == pytest.approx([0.1, 0.05, 0.05, 0.05])
    assert [record.revision for record in records] == [0, 1, 1, 1]
    assert records[-1].values["val_loss"] < records[0].values["val_loss"]
    samples = scrape(trial)
    assert samples["train_step"] == 16
    assert samples["tuning_control_revision"] == 1


def test_the_check_before_training_is_not_an_evaluation(trial: Trial, tmp_path: Path) -> None:
    seen: list[int] = []
    fit(trial, Line({0: lambda: seen.append(len(trial.history))}), tmp_path, num_sanity_val_steps=2)
    assert seen == [0]


def test_losses_of_every_step_are_seen_a_single_infinite_one_too(trial: Trial, tmp_path: Path) -> None:
    module = Line({})
    module._before[5] = lambda: module.layer.weight.data.fill_(float("inf"))
    fit(trial, module, tmp_path)
    assert scrape(trial)["tuning_train_loss_nonfinite_total"] >= 1


@pytest.mark.parametrize("accumulate", [1, 2])
def test_steps_are_the_optimizers(trial: Trial, tmp_path: Path, accumulate: int) -> None:
    fit(trial, Line({}), tmp_path, accumulate_grad_batches=accumulate)
    assert scrape(trial)["train_step"] == 16 / accumulate


def test_a_request_to_end_ends_the_training_at_the_next_step(trial: Trial, tmp_path: Path) -> None:
    module = Line({5: lambda: os.kill(os.getpid(), signal.SIGTERM)})
    with suppress(SIGTERMException):  # Lightning may come first with its own way to end.
        fit(trial, module, tmp_path)
    assert trial.should_stop
    assert scrape(trial)["train_step"] < 8
    assert ask(trial, "/metrics").status == 200
