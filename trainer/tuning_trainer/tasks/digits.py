"""Classify the 1,797 hand-written digits of 8 x 8 pixels that scikit-learn carries (UCI, Alpaydin and Kaynak 1998).

The file is read without importing scikit-learn, whose import takes longer than the training.
"""

from __future__ import annotations

import gzip
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from trial_protocol.errors import ConfigurationError
from tuning_trainer.randomness import generator
from tuning_trainer.settings import TrainingSettings, option

_CLASSES = 10
_SIDE = 8
_VALIDATION_SHARE = 0.2
_SLOPE = 0.1
"""Of the leaky rectifier: after a loss that exploded, a lower learning rate still finds gradients to recover with."""
_ORDER, _SHIFT = 1, 2
"""Purposes of the random numbers, so that they do not depend on each other."""


@dataclass(frozen=True, kw_only=True)
class DigitsSettings(TrainingSettings):
    """Defaults reach 99 % within 400 steps."""

    lr: float = option(3e-3, "base learning rate", above=0.0)
    width: int = option(24, "channels of the convolutions", minimum=1, maximum=1024)
    depth: int = option(3, "number of 3 x 3 convolutions", minimum=1, maximum=32)
    dropout: float = option(0.1, "dropout before the classifier", minimum=0.0, below=1.0)
    label_smoothing: float = option(0.0, "label smoothing of the training loss", minimum=0.0, below=1.0)
    augment: bool = option(False, "shift images by up to one pixel")
    threads: int = option(1, "threads on the CPU; more than one only slows so small a model", minimum=0)


class Digits:
    """The data, split by class in a fixed way that no trial's seed changes, and a small residual network for it."""

    def __init__(self, settings: DigitsSettings, device: torch.device, *, rank: int = 0, world_size: int = 1) -> None:
        """Load the data to `device`."""
        if settings.batch_size % world_size:
            raise ConfigurationError(
                f"batch_size must be a multiple of the {world_size} ranks; it is {settings.batch_size}."
            )
        images, labels = _load()
        validation = _validation_mask(labels)
        self._settings = settings
        self._share = slice(rank, None, world_size)
        self._train = _tensors(images[~validation], labels[~validation], device)
        self._validation = _tensors(images[validation], labels[validation], device)
        self._padded = functional.pad(self._train[0], (1, 1, 1, 1))
        self._order: tuple[int, npt.NDArray[np.int64]] = (-1, np.empty(0, dtype=np.int64))
        self.training_samples = len(self._train[0])
        self.tokens_per_sample = 1

    def model(self) -> nn.Module:
        """Return the network."""
        return _Network(self._settings.width, self._settings.depth, self._settings.dropout)

    def batch(self, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Take the next samples of an order drawn anew for each epoch; a batch may reach into the next one."""
        first = position * self._settings.batch_size
        places = np.arange(first, first + self._settings.batch_size)[self._share]
        rows = np.concatenate(
            [
                self._epoch_order(int(epoch))[places[places // self.training_samples == epoch] % self.training_samples]
                for epoch in np.unique(places // self.training_samples)
            ]
        )
        index = torch.from_numpy(rows)
        images, labels = self._train
        if not self._settings.augment:
            return images[index], labels[index]
        down, right = generator(self._settings.seed, _SHIFT, position).integers(0, 3, size=2)
        return self._padded[index, :, down : down + _SIDE, right : right + _SIDE], labels[index]

    def loss(self, model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy in nats, with label smoothing."""
        return functional.cross_entropy(model(inputs), targets, label_smoothing=self._settings.label_smoothing)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Return ``eval_loss`` (cross-entropy in nats, without smoothing) and ``accuracy`` (0 to 1)."""
        images, labels = self._validation
        scores = model(images).float()
        return {
            "eval_loss": float(functional.cross_entropy(scores, labels)),
            "accuracy": float((scores.argmax(1) == labels).float().mean()),
        }

    def _epoch_order(self, epoch: int) -> npt.NDArray[np.int64]:
        if self._order[0] != epoch:
            order = generator(self._settings.seed, _ORDER, epoch).permutation(self.training_samples)
            self._order = (epoch, order)
        return self._order[1]


class _Network(nn.Module):
    """Convolutions with residual connections and no normalisation: too high a learning rate shows at once."""

    def __init__(self, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth - 1))
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width * (_SIDE // 2) ** 2, _CLASSES)
        for layer in (self.stem, *self.blocks):
            nn.init.kaiming_normal_(layer.weight, a=_SLOPE)
            nn.init.zeros_(layer.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map (batch, 1, 8, 8) to (batch, 10) scores."""
        hidden = functional.max_pool2d(functional.leaky_relu(self.stem(images), _SLOPE), 2)
        for block in self.blocks:
            hidden = hidden + functional.leaky_relu(block(hidden), _SLOPE)
        scores: torch.Tensor = self.classifier(self.dropout(hidden.flatten(1)))
        return scores


def _load() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return images (1797, 1, 8, 8) scaled to 0..1, and labels."""
    specification = importlib.util.find_spec("sklearn")
    if specification is None or specification.origin is None:
        raise ConfigurationError("The task digits reads the images that scikit-learn carries; install scikit-learn.")
    path = Path(specification.origin).parent / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(path, "rt", encoding="ascii") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    return table[:, :-1].reshape(-1, 1, _SIDE, _SIDE) / 16.0, table[:, -1].astype(np.int64)


def _validation_mask(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    mask = np.zeros(len(labels), dtype=np.bool_)
    for label in range(_CLASSES):
        rows = generator(label).permutation(np.flatnonzero(labels == label))
        mask[rows[: round(len(rows) * _VALIDATION_SHARE)]] = True
    return mask


def _tensors(
    images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device)
