"""A byte-level language model on the source files of Python's own standard library: text that every machine has."""

from __future__ import annotations

import sysconfig
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

_BYTES = 256
_CORPUS_LIMIT = 8 * 2**20
_VALIDATION_EVERY = 20
"""One file in twenty is kept for validation."""
_POSITIONS = 3


@dataclass(frozen=True, kw_only=True)
class BytesSettings(TrainingSettings):
    """Defaults train a model of 0.6 million weights on 0.6 million bytes."""

    steps: int = option(300, "length of the training in optimizer steps", minimum=1)
    batch_size: int = option(16, "sequences per optimizer step, over all ranks", minimum=1)
    lr: float = option(3e-3, "base learning rate", above=0.0)
    weight_decay: float = option(0.1, "weight decay of matrices", minimum=0.0)
    clip: float = option(1.0, "largest gradient norm; 0 clips nothing", minimum=0.0)
    eval_every: int = option(25, "steps between evaluations", minimum=1)
    width: int = option(128, "size of the residual stream; a multiple of heads", minimum=1, maximum=16384)
    depth: int = option(3, "number of blocks", minimum=1, maximum=256)
    heads: int = option(4, "attention heads", minimum=1, maximum=256)
    context: int = option(128, "bytes that the model sees at once", minimum=2, maximum=65536)
    dropout: float = option(0.0, "dropout after attention and MLP", minimum=0.0, below=1.0)
    eval_sequences: int = option(64, "sequences of one evaluation", minimum=1)

    def check(self) -> None:
        """Attention splits the width evenly over the heads."""
        if self.width % self.heads:
            near = max(1, round(self.width / self.heads)) * self.heads
            raise ConfigurationError(
                f"width must be a multiple of heads; {self.width} is none of {self.heads}, {near} would be."
            )


class Bytes:
    """The corpus on the device, and a GPT over it."""

    def __init__(self, settings: BytesSettings, device: torch.device, *, rank: int = 0, world_size: int = 1) -> None:
        """Load the corpus to `device`."""
        if settings.batch_size % world_size:
            raise ConfigurationError(
                f"batch_size must be a multiple of the {world_size} ranks; it is {settings.batch_size}."
            )
        self._settings = settings
        self._share = slice(rank, None, world_size)
        train, validation = _corpus()
        if min(len(train), len(validation)) <= settings.context + 1:
            raise ConfigurationError(
                f"context must be shorter than the corpus of {len(validation)} bytes for validation."
            )
        self._train = torch.from_numpy(train).to(device)
        self._validation = torch.from_numpy(validation).to(device)
        self._window = torch.arange(settings.context + 1, device=device)
        self.training_samples = len(train) // settings.context
        self.tokens_per_sample = settings.context

    def model(self) -> nn.Module:
        """Return the GPT."""
        return _GPT(self._settings)

    def batch(self, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Take sequences at random places; targets are the next bytes."""
        last = len(self._train) - self._settings.context - 1
        drawn = generator(self._settings.seed, _POSITIONS, position).integers(0, last, size=self._settings.batch_size)
        return self._sequences(self._train, drawn[self._share])

    def loss(self, model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy in nats per byte."""
        return functional.cross_entropy(model(inputs).flatten(0, 1).float(), targets.flatten())

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Return ``eval_loss`` in nats per byte over fixed, evenly spaced sequences."""
        last = len(self._validation) - self._settings.context - 1
        starts = np.linspace(0, last, self._settings.eval_sequences).astype(np.int64)
        losses = []
        for first in range(0, len(starts), self._settings.batch_size):
            inputs, targets = self._sequences(self._validation, starts[first : first + self._settings.batch_size])
            losses.append(self.loss(model, inputs, targets) * len(inputs))
        return {"eval_loss": float(torch.stack(losses).sum()) / len(starts)}

    def _sequences(self, text: torch.Tensor, starts: npt.NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        places = torch.from_numpy(starts).to(text.device)[:, None] + self._window
        sequences = text[places].long()
        return sequences[:, :-1], sequences[:, 1:]


class _GPT(nn.Module):
    """Pre-norm transformer (Radford et al. 2019) whose output shares its weights with the embedding."""

    def __init__(self, settings: BytesSettings) -> None:
        super().__init__()
        self.bytes = nn.Embedding(_BYTES, settings.width)
        self.places = nn.Embedding(settings.context, settings.width)
        self.blocks = nn.ModuleList(_Block(settings) for _ in range(settings.depth))
        self.norm = nn.LayerNorm(settings.width)
        for name, parameter in self.named_parameters():
            if parameter.ndim >= 2:
                towards_residual = name.endswith(("attended.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / (2 * settings.depth) ** 0.5 if towards_residual else 0.02)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        """Map (batch, length) bytes to (batch, length, 256) scores of the next byte."""
        hidden = self.bytes(text) + self.places.weight[: text.shape[1]]
        for block in self.blocks:
            hidden = block(hidden)
        return functional.linear(self.norm(hidden), self.bytes.weight)


class _Block(nn.Module):
    def __init__(self, settings: BytesSettings) -> None:
        super().__init__()
        width = settings.width
        self.heads = settings.heads
        self.norm_attention = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width, bias=False)
        self.attended = nn.Linear(width, width, bias=False)
        self.norm_mlp = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map (batch, length, width) to the same shape."""
        batch, length, width = hidden.shape
        projected = self.queries_keys_values(self.norm_attention(hidden))
        q, k, v = projected.view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        hidden = hidden + self.dropout(self.attended(attended.transpose(1, 2).reshape(batch, length, width)))
        widened = functional.gelu(self.up(self.norm_mlp(hidden)))
        output: torch.Tensor = hidden + self.dropout(self.down(widened))
        return output


def _corpus() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return the bytes to train on and those to validate on: whole files, in the order of their names."""
    folder = Path(sysconfig.get_path("stdlib"))
    parts: tuple[list[bytes], list[bytes]] = ([], [])
    total = 0
    skipped = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
    files = sorted(path for path in folder.rglob("*.py") if not skipped.intersection(path.relative_to(folder).parts))
    for number, path in enumerate(files):
        content = path.read_bytes()
        parts[number % _VALIDATION_EVERY == 0].append(content)
        total += len(content)
        if total >= _CORPUS_LIMIT:
            break
    if not all(parts):
        raise ConfigurationError(
            f"The task bytes reads the sources of Python's library; there are too few in {folder}."
        )
    train, validation = (np.frombuffer(bytearray(b"\n".join(part)), dtype=np.uint8) for part in parts)
    return train, validation
