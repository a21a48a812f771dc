"""A torch optimizer that follows the operator, beside every kind of scheduler."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.tuning_trainer.clients import put, serving, token

from tuning_trainer.integrations.pytorch import steer

SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "cosine, from the rate before": lambda one: torch.optim.lr_scheduler.CosineAnnealingLR(one, 10),
    "exponential, from the rate before": lambda one: torch.optim.lr_scheduler.ExponentialLR(one, 0.9),
    "lambda, from the base": lambda one: torch.optim.lr_scheduler.LambdaLR(one, lambda epoch: 1 / (epoch + 1)),
}


def optimizer_of(weight: torch.Tensor) -> torch.optim.Optimizer:
    return torch.optim.SGD([weight], lr=1.0)


def moves(optimizer: torch.optim.Optimizer, weight: torch.Tensor, scheduler: Any) -> float:
    """Take one step along a gradient of one, and return how far it went: the learning rate in force."""
    before = weight.item()
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    scheduler.step()
    return before - weight.item()


@pytest.mark.parametrize("schedule", SCHEDULERS.values(), ids=SCHEDULERS)
def test_every_step_is_the_schedules_own_times_the_scale(
    tmp_path: Path, schedule: Callable[[torch.optim.Optimizer], Any]
) -> None:
    plain, steered = (torch.zeros(1, requires_grad=True) for _ in range(2))
    alone, followed = optimizer_of(plain), optimizer_of(steered)
    schedulers = schedule(alone), schedule(followed)
    with serving(tmp_path) as trial:
        steering = steer(followed, trial)
        assert steering.learning_rate is None
        for step in range(8):
            if step == 4:
                put(trial, token(1, 0.25))
                trial.poll(step=step)
            wanted = moves(alone, plain, schedulers[0]) * (0.25 if step >= 4 else 1.0)
            assert moves(followed, steered, schedulers[1]) == pytest.approx(wanted, rel=1e-4)
            assert steering.learning_rate == pytest.approx(wanted, rel=1e-4)
        assert followed.param_groups[0]["lr"] == pytest.approx(alone.param_groups[0]["lr"])


def test_a_step_that_raised_leaves_no_scale_behind(tmp_path: Path) -> None:
    weight = torch.zeros(1, requires_grad=True)
    optimizer = optimizer_of(weight)

    def broken() -> float:
        raise RuntimeError("no loss")

    with serving(tmp_path) as trial:
        put(trial, token(1, 0.5))
        trial.poll(step=0)
        steer(optimizer, trial)
        with pytest.raises(RuntimeError, match="no loss"):
            optimizer.step(broken)
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        assert weight.item() == -0.5


def test_a_removed_steering_leaves_the_optimizer_as_it_was(tmp_path: Path) -> None:
    weight = torch.zeros(1, requires_grad=True)
    optimizer = optimizer_of(weight)
    with serving(tmp_path) as trial:
        put(trial, token(1, 0.5))
        trial.poll(step=0)
        steer(optimizer, trial).remove()
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        assert weight.item() == -1.0
