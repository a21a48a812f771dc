"""Lightning: one callback makes a ``Trainer`` a trial.

    from tuning_trainer.integrations.lightning import TuningCallback

    trainer = lightning.Trainer(callbacks=[TuningCallback()], ...)

Outside a tuning job it does nothing. What `validation_step` logs is reported (``val/loss`` as ``val_loss``), the
training loss is recorded, a change of the learning rate is followed at the next step, and SIGTERM ends the training.
Checkpoints stay Lightning's: give ``ModelCheckpoint`` the folder ``callback.trial.checkpoint_uri`` and ``fit`` the
``ckpt_path="last"``. A message that asks to restore the last good checkpoint is followed in its learning rate only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning
import torch

from tuning_trainer.client import Trial, start
from tuning_trainer.integrations.metrics import reportable
from tuning_trainer.integrations.pytorch import Steering, steer


class TuningCallback(lightning.Callback):
    """Reports to the tuning job, and follows it.

    Args:
        trial: By default that of the environment.
        loss_every: Optimizer steps between two looks at the training loss; each look waits for the device.
    """

    def __init__(self, trial: Trial | None = None, *, loss_every: int = 1) -> None:
        self.trial = trial or start()
        self._loss_every = loss_every
        self._steering: list[Steering] = []
        self._step = 0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Put the trial's scale on every optimizer."""
        self._step = trainer.global_step
        self._steering = [steer(optimizer, self.trial) for optimizer in trainer.optimizers]

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,  # noqa: ARG002
        outputs: torch.Tensor | Mapping[str, Any] | None,
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Record the step, and obey."""
        step = trainer.global_step
        if step > self._step:
            self._step = step
            self.trial.poll(step=step)
            loss = outputs["loss"] if isinstance(outputs, Mapping) else outputs
            if loss is not None and step % self._loss_every == 0:
                rate = self._steering[0].learning_rate if self._steering else None
                self.trial.record_step(step=step, loss=float(loss), learning_rate=rate)
        if self.trial.should_stop:
            trainer.should_stop = True

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Report what was validated."""
        if trainer.sanity_checking:
            return
        rate = self._steering[0].learning_rate if self._steering else None
        metrics = reportable(trainer.callback_metrics)
        self.trial.report(step=trainer.global_step, epochs=float(trainer.current_epoch), learning_rate=rate, **metrics)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Leave the optimizers as they were."""
        for steering in self._steering:
            steering.remove()
