"""What can be trained: a task is a model, its batches and its evaluation; the loop knows nothing else of it.

Adding one: a module with a settings class and a class that fulfils `Task`, and a line in `TASKS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import nn

from tuning_trainer.settings import TrainingSettings
from tuning_trainer.tasks import bytes as bytes_task
from tuning_trainer.tasks import digits as digits_task


class Task(Protocol):
    """One thing to learn, its data already on the device.

    Attributes:
        training_samples: Samples in one epoch.
        tokens_per_sample: For the tokens axis; 1 where a sample is one thing.
    """

    training_samples: int
    tokens_per_sample: int

    def model(self) -> nn.Module:
        """Return an untrained model, initialised from torch's global generator."""

    def batch(self, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return inputs and targets of the batch at `position`: a pure function of the seed and the position."""

    def loss(self, model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the training loss of one batch, a scalar."""

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Return ``eval_loss`` and whatever else is worth reporting, over the whole validation part."""


class TaskBuilder(Protocol):
    """Makes a task: loads its data to the device; each of `world_size` ranks takes its share of every batch."""

    def __call__(self, settings: Any, device: torch.device, *, rank: int = 0, world_size: int = 1) -> Task:
        """Return the task, ready to train."""


@dataclass(frozen=True)
class TaskKind:
    """A task's name on the command line is its key in `TASKS`."""

    summary: str
    settings: type[TrainingSettings]
    build: TaskBuilder


TASKS: Mapping[str, TaskKind] = MappingProxyType(
    {
        "digits": TaskKind(
            "classify scikit-learn's 1,797 images of digits; seconds on one CPU thread",
            digits_task.DigitsSettings,
            digits_task.Digits,
        ),
        "bytes": TaskKind(
            "a small GPT over the bytes of Python's own library; a minute or two on a CPU, any GPU unchanged",
            bytes_task.BytesSettings,
            bytes_task.Bytes,
        ),
    }
)
