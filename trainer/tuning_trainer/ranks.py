"""The processes that train one trial together: one, or ``WORLD_SIZE`` of them as torchrun starts them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Who this process is among its peers. With one rank every method is a plain pass-through."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @classmethod
    def from_variables(cls, variables: Mapping[str, str]) -> Ranks:
        """Read torchrun's variables."""
        return cls(
            rank=int(variables.get("RANK", "0")),
            world_size=int(variables.get("WORLD_SIZE", "1")),
            local_rank=int(variables.get("LOCAL_RANK", "0")),
        )

    @property
    def is_first(self) -> bool:
        """Whether this rank polls, reports and writes checkpoints for all."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are peers to agree with."""
        return self.world_size > 1

    def join(self, device: torch.device) -> None:
        """Meet the peers: gloo for what is agreed on the CPU, nccl beside it for gradients on GPUs."""
        if self.several and not torch.distributed.is_initialized():
            backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
            torch.distributed.init_process_group(backend, rank=self.rank, world_size=self.world_size)

    def leave(self) -> None:
        """Part from the peers."""
        if self.several and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model whose backward pass averages gradients over the ranks."""
        return nn.parallel.DistributedDataParallel(model) if self.several else model

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return the mean of `values` over the ranks."""
        if self.several:
            torch.distributed.all_reduce(values)
            values /= self.world_size
        return values

    def largest(self, values: list[float]) -> list[float]:
        """Return the element-wise maximum over the ranks."""
        if not self.several:
            return values
        tensor = torch.tensor(values, dtype=torch.float64)
        torch.distributed.all_reduce(tensor, op=torch.distributed.ReduceOp.MAX)
        return [float(value) for value in tensor.tolist()]


def current_ranks() -> Ranks:
    """Return who this process is, by its environment."""
    return Ranks.from_variables(os.environ)
