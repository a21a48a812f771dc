"""Any torch optimizer, steered: whatever sets its learning rate, each step is taken at the scaled one.

The scale is put on just before a step and taken off just after it. So it never gets mixed up with a scheduler, not
even with one that computes the next rate from the current one (``CosineAnnealingLR`` and most others do).

    import tuning_trainer
    from tuning_trainer.integrations.pytorch import steer

    trial = tuning_trainer.start()
    steering = steer(optimizer, trial)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed

from tuning_trainer.client import Trial


class Steering:
    """What `steer` put on an optimizer.

    Attributes:
        learning_rate: At which the newest step was taken, that of the first parameter group; None before the first.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, scale: Callable[[], float]) -> None:
        self.learning_rate: float | None = None
        self._scale = scale
        self._own: list[Any] | None = None
        self._hooks = [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        ]

    def remove(self) -> None:
        """Leave the optimizer as it was."""
        for hook in self._hooks:
            hook.remove()

    def _before(self, optimizer: torch.optim.Optimizer, _arguments: Any, _keywords: Any) -> None:
        self._after(optimizer)  # A step that raised has left its scale on.
        scale = self._scale()
        self._own = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * scale
        self.learning_rate = float(optimizer.param_groups[0]["lr"])

    def _after(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if self._own is not None:
            for group, own in zip(optimizer.param_groups, self._own, strict=True):
                group["lr"] = own
            self._own = None


def steer(optimizer: torch.optim.Optimizer, trial: Trial) -> Steering:
    """Have every step of an optimizer taken at the trial's scale, on all ranks at that of the first.

    A step that is recorded once as a CUDA graph keeps the learning rate that it was recorded with.
    """
    device = optimizer.param_groups[0]["params"][0].device
    return Steering(optimizer, lambda: _agreed(trial.learning_rate_scale, device))


def _agreed(scale: float, device: torch.device) -> float:
    """Return the first rank's scale: it alone hears the operator."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return scale
    if torch.distributed.get_world_size() == 1:
        return scale
    value = torch.tensor([scale], dtype=torch.float64, device=device)
    torch.distributed.broadcast(value, src=0)
    return float(value.item())
