"""The optimizers that torch ships, chosen by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from tuning_trainer.settings import TrainingSettings


def _adaptive(settings: TrainingSettings) -> dict[str, Any]:
    return {"betas": (settings.beta1, settings.beta2)}


def _nothing(settings: TrainingSettings) -> dict[str, Any]:  # noqa: ARG001
    return {}


def _decoupled(settings: TrainingSettings) -> dict[str, Any]:
    return {**_adaptive(settings), "decoupled_weight_decay": True}


def _sgd(settings: TrainingSettings) -> dict[str, Any]:
    return {"momentum": settings.momentum, "nesterov": settings.momentum > 0}


def _rmsprop(settings: TrainingSettings) -> dict[str, Any]:
    return {"momentum": settings.momentum}


KINDS: Mapping[str, tuple[Callable[..., torch.optim.Optimizer], Callable[[TrainingSettings], dict[str, Any]]]] = (
    MappingProxyType(
        {
            "sgd": (torch.optim.SGD, _sgd),
            "adam": (torch.optim.Adam, _adaptive),
            "adamw": (torch.optim.AdamW, _adaptive),
            "nadam": (torch.optim.NAdam, _decoupled),
            "radam": (torch.optim.RAdam, _decoupled),
            "rmsprop": (torch.optim.RMSprop, _rmsprop),
            "adagrad": (torch.optim.Adagrad, _nothing),
        }
    )
)


def build_optimizer(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Return the optimizer that the settings name; weight decay applies to matrices, not to biases and gains."""
    kind, options = KINDS[settings.optimizer]
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return kind([group for group in groups if group["params"]], lr=settings.lr, **options(settings))


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Put `learning_rate` in force for every parameter."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
