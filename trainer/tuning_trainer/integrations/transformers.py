"""Hugging Face transformers: one callback makes a ``Trainer`` a trial.

    from tuning_trainer.integrations.transformers import TuningCallback

    trainer = transformers.Trainer(..., callbacks=[TuningCallback()])

Outside a tuning job it does nothing. What `evaluate` measures is reported (``eval_loss``, ...), the training loss is
recorded whenever the Trainer logs it (``logging_steps``; with its default ``logging_nan_inf_filter`` it hides losses
that are not finite), a change of the learning rate is followed at the next step,
and SIGTERM saves a checkpoint and ends the training. Give ``TrainingArguments`` the folder
``callback.trial.checkpoint_uri`` as ``output_dir``, and resume from its newest checkpoint. A message that asks to
restore the last good checkpoint is followed in its learning rate only.
"""

from __future__ import annotations

from typing import Any

import transformers

from tuning_trainer.client import Trial, start
from tuning_trainer.integrations.metrics import reportable
from tuning_trainer.integrations.pytorch import Steering, steer


class TuningCallback(transformers.TrainerCallback):
    """Reports to the tuning job, and follows it.

    Args:
        trial: By default that of the environment.
    """

    def __init__(self, trial: Trial | None = None) -> None:
        self.trial = trial or start()
        self._steering: Steering | None = None

    def on_train_begin(
        self,
        args: transformers.TrainingArguments,  # noqa: ARG002
        state: transformers.TrainerState,  # noqa: ARG002
        control: transformers.TrainerControl,  # noqa: ARG002
        optimizer: Any = None,
        **_: Any,
    ) -> None:
        """Put the trial's scale on the optimizer."""
        if optimizer is not None:
            self._steering = steer(getattr(optimizer, "optimizer", optimizer), self.trial)

    def on_step_end(
        self,
        args: transformers.TrainingArguments,  # noqa: ARG002
        state: transformers.TrainerState,
        control: transformers.TrainerControl,
        **_: Any,
    ) -> None:
        """Obey."""
        self.trial.poll(step=state.global_step)
        if self.trial.should_stop:
            control.should_save = control.should_training_stop = True

    def on_log(
        self,
        args: transformers.TrainingArguments,  # noqa: ARG002
        state: transformers.TrainerState,
        control: transformers.TrainerControl,  # noqa: ARG002
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Record the training loss that the Trainer logs: the mean since its last log."""
        if logs is not None and "loss" in logs:
            self.trial.record_step(
                step=state.global_step,
                loss=float(logs["loss"]),
                gradient_norm=float(logs["grad_norm"]) if "grad_norm" in logs else None,
                learning_rate=self._rate,
            )

    def on_evaluate(
        self,
        args: transformers.TrainingArguments,  # noqa: ARG002
        state: transformers.TrainerState,
        control: transformers.TrainerControl,  # noqa: ARG002
        metrics: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Report what was evaluated."""
        values = reportable(metrics or {})
        values.pop("epoch", None)
        self.trial.report(step=state.global_step, epochs=state.epoch, learning_rate=self._rate, **values)

    def on_train_end(
        self,
        args: transformers.TrainingArguments,  # noqa: ARG002
        state: transformers.TrainerState,  # noqa: ARG002
        control: transformers.TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        """Leave the optimizer as it was."""
        if self._steering is not None:
            self._steering.remove()

    @property
    def _rate(self) -> float | None:
        return self._steering.learning_rate if self._steering else None
