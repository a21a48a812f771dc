"""The training loop; `Training.run` is to be read from top to bottom.

Everything that an operator or the system asks of a training (a new learning rate, the final decay, going back, ending)
is done at a step boundary, before a step. Losses are read a few steps late, together, so that no step waits for the
one before it on a GPU, and the bookkeeping costs little beside a small model's step.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from trial_protocol.control import message_from_json, message_to_json
from trial_protocol.errors import ConfigurationError
from trial_protocol.history import HistoryRecord
from trial_protocol.result import Outcome
from tuning_trainer.checkpoint_stores import MemoryStore, Store
from tuning_trainer.checkpoints import Checkpoints
from tuning_trainer.device import choose_precision
from tuning_trainer.optimizers import build_optimizer, set_learning_rate
from tuning_trainer.progress import Progress
from tuning_trainer.randomness import random_state, seed_everything, set_random_state
from tuning_trainer.ranks import Ranks
from tuning_trainer.schedules import Schedule
from tuning_trainer.settings import TrainingSettings, differences
from tuning_trainer.steering import Orders, TrialLink, next_orders
from tuning_trainer.tasks import Task

_LATE_STEPS = 10
_LATE_SECONDS = 0.25
"""Losses are read together when so many steps or so much time have passed since the last look."""
_NORM_EVERY = 50
"""Steps between measurements of the gradient norm when nothing is clipped: it costs a pass over all gradients."""
_CHECKPOINT_SHARE = 0.002
"""Largest part of the time that checkpoints may take when no interval is set."""
_WAIT_SECONDS = 0.05
"""Between two looks for a restore while the weights are not finite."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a training ended."""

    outcome: Outcome
    step: int
    values: Mapping[str, float]
    checkpoint: str = ""
    message: str = ""


class Training:
    """One attempt at one training, from its newest checkpoint if there is one."""

    def __init__(
        self,
        task: Task,
        settings: TrainingSettings,
        trial: TrialLink,
        *,
        device: torch.device,
        store: Store | None = None,
        ranks: Ranks | None = None,
        show: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Build model and optimizer and load the newest checkpoint.

        Raises:
            ConfigurationError: The checkpoint belongs to other settings.
        """
        self._task, self._settings, self._trial = task, settings, trial
        self._ranks = ranks or Ranks()
        self._show, self._clock, self._sleep = show, clock, sleep
        seed_everything(settings.seed)
        self.model = task.model().to(device)
        self._device = device
        self._parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self._trained = self._ranks.wrap(self.model)
        self._optimizer = build_optimizer(self.model, settings)
        self._schedule = Schedule(
            shape=settings.schedule, warmup=settings.warmup, decay=settings.decay, floor=settings.floor
        )
        self._precision = choose_precision(settings.precision, device)
        self._unread: list[tuple[int, float, torch.Tensor, torch.Tensor | None]] = []
        self._read_at = clock()
        self._checkpoints = Checkpoints(store or MemoryStore(), writes=self._ranks.is_first)
        self._saved_step, self._saved_at, self._save_seconds = -1, clock(), 0.0
        self.progress = Progress()
        self._lost_since: float | None = None
        if self._ranks.rank:
            seed_everything(settings.seed + 1000003 * self._ranks.rank)
        saved = self._checkpoints.latest()
        if saved is None:
            self._save()
        else:
            self._resume(saved)

    def run(self) -> Ended:
        """Train to the end of the schedule, or until something ends it earlier."""
        settings, progress, trial, task = self._settings, self.progress, self._trial, self._task
        while progress.step < settings.steps or self._lost_since is not None:
            # At the boundary: what was asked for since the last step.
            orders = next_orders(trial, self._ranks, step=progress.step, give_up=self._lost_patience())
            if orders.changed:
                self._obey(orders)
            if orders.stop:
                self._read_losses()
                self._save()
                return self._ended(Outcome.INTERRUPTED, f"Asked to stop at step {progress.step} of {settings.steps}.")
            if orders.give_up and self._lost_since is not None:
                return self._ended(
                    Outcome.NON_FINITE,
                    f"The weights were not finite after step {progress.step} and nobody restored them"
                    f" within {settings.nonfinite_seconds:g} s; a lower learning rate may help.",
                )
            if self._lost_since is not None:
                trial.record_step(step=progress.step, loss=math.nan)
                self._sleep(_WAIT_SECONDS)
                continue

            # One optimizer step.
            learning_rate = self._learning_rate()
            set_learning_rate(self._optimizer, learning_rate)
            inputs, targets = task.batch(progress.position)
            with self._precision():
                loss = task.loss(self._trained, inputs, targets)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = self._clip()
            self._optimizer.step()
            progress.step += 1
            progress.position += 1

            # What came of it.
            self._unread.append((progress.step, learning_rate, loss.detach(), norm))
            evaluated = progress.step == settings.steps or progress.step % settings.eval_every == 0
            if evaluated or self._reading_due():
                self._read_losses()
            if evaluated:
                self._evaluate(learning_rate)
            if self._checkpoint_due(evaluated) and self._lost_since is None:
                self._read_losses()
                self._save()
        self._save()
        if not math.isfinite(progress.latest.get("eval_loss", math.nan)):
            return self._ended(
                Outcome.NON_FINITE, "The training came to its end with an evaluation that is not finite."
            )
        return self._ended(Outcome.COMPLETED, "")

    def _learning_rate(self) -> float:
        """Base x schedule x scale, at the middle of the coming step so that neither end of the plan is a step of 0."""
        progress, settings = self.progress, self._settings
        fraction = (progress.step + 0.5) / settings.steps
        return settings.lr * self._schedule.factor(fraction, decay_from=progress.decay_from) * progress.scale

    def _clip(self) -> torch.Tensor | None:
        """Return the norm of all gradients where it is known; they are scaled down if it is above the limit."""
        clip = self._settings.clip
        if not clip and self.progress.step % _NORM_EVERY:
            return None
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if clip:
            torch.nn.utils.clip_grads_with_norm_(self._parameters, clip, norm)
        return norm

    def _reading_due(self) -> bool:
        """Whether to look at the losses, which is done a few steps late.

        With several ranks it is every step, since their clocks differ; and it is the first step after an evaluation,
        so that the time of steps is measured from there.
        """
        if self._ranks.several or self._unread[0][0] % self._settings.eval_every == 1:
            return True
        return len(self._unread) >= _LATE_STEPS or self._clock() - self._read_at >= _LATE_SECONDS

    def _read_losses(self) -> None:
        """Bring losses and gradient norms of the last steps to the host and report them; notice lost weights."""
        if not self._unread:
            return
        unread, self._unread, self._read_at = self._unread, [], self._clock()
        tensors = [loss for _, _, loss, _ in unread]
        tensors += [norm for _, _, _, norm in unread if norm is not None]
        if self._device.type == "cpu" and not self._ranks.several:
            numbers = [tensor.item() for tensor in tensors]
        else:
            numbers = self._ranks.mean(torch.stack(tensors).float()).tolist()
        known_norms = iter(numbers[len(unread) :])
        per_step = self._settings.batch_size
        for (step, learning_rate, _, norm), loss in zip(unread, numbers, strict=False):
            self.progress.add_loss(loss)
            self._trial.record_step(
                step=step,
                loss=loss,
                gradient_norm=None if norm is None else next(known_norms),
                learning_rate=learning_rate,
                samples=step * per_step,
                tokens=step * per_step * self._task.tokens_per_sample,
            )
        if self._lost_since is None and not all(map(math.isfinite, numbers)) and not self._weights_finite():
            self._lost_since = self._clock()
            if self.progress.step % self._settings.eval_every and self.progress.step < self._settings.steps:
                self._evaluate(unread[-1][1])

    def _evaluate(self, learning_rate: float) -> None:
        """Evaluate, report and show the line; the random state is left as it was."""
        progress, settings = self.progress, self._settings
        self.model.eval()
        with torch.inference_mode(), self._precision():
            values = self._task.evaluate(self.model)
        self.model.train()
        progress.latest = {**values, "train_loss": progress.take_mean_loss()}
        if math.isfinite(values["eval_loss"]):
            progress.best = min(progress.best, values["eval_loss"])
        if not self._ranks.is_first:
            return
        samples = progress.step * settings.batch_size
        self._trial.report(
            step=progress.step,
            samples=samples,
            tokens=samples * self._task.tokens_per_sample,
            epochs=samples / self._task.training_samples,
            learning_rate=learning_rate,
            **progress.latest,
        )
        shown = "  ".join(f"{name} {value:.4f}" for name, value in progress.latest.items())
        self._show(f"step {progress.step}/{settings.steps}  {shown}  lr {learning_rate:.3g}")

    def _obey(self, orders: Orders) -> None:
        """Apply a control message."""
        progress = self.progress
        self._read_losses()
        progress.scale = orders.scale
        if orders.begin_decay and progress.decay_from is None:
            progress.decay_from = progress.step / self._settings.steps
        decay = ", which decays from here on" if orders.begin_decay else ""
        self._show(f"After step {progress.step}: the learning rate is scaled by {progress.scale:g}{decay}.")
        if orders.restore:
            saved = self._checkpoints.last_good()
            if saved is None:
                self._show("A restore was asked for, but there is no good checkpoint; training goes on.")
                return
            progress.go_back_to(saved["progress"])
            self._load_weights(saved)
            self._lost_since, self._saved_step = None, -1
            self._show(f"Restored the weights of step {progress.step}.")

    def _lost_patience(self) -> bool:
        if self._lost_since is None:
            return False
        return not self._trial.active or self._clock() - self._lost_since >= self._settings.nonfinite_seconds

    def _weights_finite(self) -> bool:
        with torch.no_grad():
            return bool(torch.stack([parameter.isfinite().all() for parameter in self._parameters]).all())

    def _checkpoint_due(self, evaluated: bool) -> bool:
        if self._settings.checkpoint_every:
            return self.progress.step % self._settings.checkpoint_every == 0
        if self._ranks.several:
            return evaluated
        return evaluated and self._clock() - self._saved_at >= self._save_seconds / _CHECKPOINT_SHARE

    def _save(self) -> None:
        """Write a checkpoint, unless this step's is written already."""
        progress = self.progress
        if self._saved_step == progress.step:
            return
        started = self._clock()
        good = self._lost_since is None and progress.is_sound
        control = self._trial.control
        state = {
            "settings": dataclasses.asdict(self._settings),
            "progress": dataclasses.asdict(progress),
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "random": random_state(),
            "history": [record.to_json() for record in self._trial.history],
            "control": None if control is None else {"trial": control.trial, "message": message_to_json(control)},
        }
        self._checkpoints.save(state, step=progress.step, good=good)
        self._saved_step, self._saved_at = progress.step, self._clock()
        self._save_seconds = self._saved_at - started

    def _resume(self, saved: dict[str, Any]) -> None:
        different = differences(self._settings, saved["settings"])
        if different:
            raise ConfigurationError(
                f"The checkpoint was written with another value of {', '.join(different)};"
                " name another folder for this training, or remove the old one."
            )
        self.progress.__dict__.update(saved["progress"])
        self._load_weights(saved)
        if self._ranks.is_first:
            set_random_state(saved["random"])
            self._trial.restore_history(HistoryRecord.from_json(line) for line in saved["history"])
            control = saved["control"]
            if control is not None:
                self._trial.restore_control(message_from_json(control["message"], trial=control["trial"]))
        self._saved_step = self.progress.step
        self._show(f"Continuing from the checkpoint of step {self.progress.step}.")

    def _load_weights(self, saved: dict[str, Any]) -> None:
        self.model.load_state_dict(saved["model"])
        self._optimizer.load_state_dict(saved["optimizer"])

    def _ended(self, outcome: Outcome, message: str) -> Ended:
        return Ended(
            outcome=outcome,
            step=self.progress.step,
            values=self.progress.latest,
            checkpoint=self._checkpoints.location(good=outcome is Outcome.NON_FINITE),
            message=message,
        )
