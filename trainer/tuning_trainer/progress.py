"""How far a training has come: everything of it that is neither weights nor optimizer nor random state."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

_SOUND = 1.5
"""A loss above so many times the untrained model's is that of a training which diverges."""


@dataclass(kw_only=True)
class Progress:
    """Kept in every checkpoint, so that a resumed training cannot be told from one that was never disturbed.

    Attributes:
        step: Optimizer steps done.
        position: Batches drawn. Ahead of `step` after a restore, which skips the data that did the harm.
        scale: Factor of the learning rate that the operator wants.
        decay_from: Fraction of the training at which a final decay was asked for, or None.
        initial_loss: Loss of the untrained model on its first batch.
        last_loss: Loss of the last step.
        best: Lowest evaluation loss so far.
        loss_sum: Of the training losses since the last evaluation.
        loss_count: Their number.
        latest: Values of the last evaluation.
    """

    step: int = 0
    position: int = 0
    scale: float = 1.0
    decay_from: float | None = None
    initial_loss: float = math.inf
    last_loss: float = 0.0
    best: float = math.inf
    loss_sum: float = 0.0
    loss_count: int = 0
    latest: dict[str, float] = field(default_factory=dict)

    def add_loss(self, loss: float) -> None:
        """Count one training loss."""
        if math.isinf(self.initial_loss):
            self.initial_loss = loss
        self.last_loss = loss
        self.loss_sum += loss
        self.loss_count += 1

    @property
    def is_sound(self) -> bool:
        """Whether weights of this moment are worth going back to: no loss is far above that of the untrained model."""
        limit = _SOUND * self.initial_loss
        losses = [self.last_loss, self.latest.get("train_loss", 0.0), self.latest.get("eval_loss", 0.0)]
        return all(math.isfinite(loss) and loss <= limit for loss in losses)

    def take_mean_loss(self) -> float:
        """Return the mean training loss since the last call; NaN when there was none or one was not finite."""
        mean = self.loss_sum / self.loss_count if self.loss_count else math.nan
        self.loss_sum, self.loss_count = 0.0, 0
        return mean

    def go_back_to(self, saved: dict[str, Any]) -> None:
        """Take over a checkpoint's progress, but keep what was ordered since and draw no batch a second time."""
        position, scale, decay_from = self.position, self.scale, self.decay_from
        self.__dict__.update(saved)
        self.position, self.scale, self.decay_from = position, scale, decay_from
