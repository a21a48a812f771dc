"""Where the arithmetic happens: the device, its precision and its threads."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch

from trial_protocol.errors import ConfigurationError


def choose_device(name: str, *, local_rank: int = 0) -> torch.device:
    """Return the device that the setting names; "auto" is the GPU where there is one.

    Raises:
        ConfigurationError: A GPU was asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError("device is cuda, but torch sees no GPU here; use auto or cpu, or request a GPU.")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device


def choose_precision(name: str, device: torch.device) -> Callable[[], contextlib.AbstractContextManager[object]]:
    """Return a factory of the context in which forward passes run: bfloat16 autocast, or nothing."""
    automatic = name == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported()
    if name == "bfloat16" or automatic:
        return lambda: torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext


def set_threads(threads: int) -> None:
    """Use `threads` CPU threads for one operation; 0 leaves torch's choice, which honours ``OMP_NUM_THREADS``."""
    if threads > 0:
        torch.set_num_threads(threads)
