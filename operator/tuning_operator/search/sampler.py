"""What a sampler is: a pure function of the recorded trials and a seed.

A sampler is made once per job but keeps nothing that could change an answer; a cache that only saves time is allowed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol

from tuning_operator.search.dimension import Code, Dimension
from tuning_operator.search.history import History

Draw = Callable[[Dimension], Code]
"""Chooses a value; asked once for each parameter that exists, parents before children."""


class Sampler(Protocol):
    """Chooses the configuration of one trial."""

    def begin(self, history: History, *, number: int, seed: int) -> Draw:
        """Prepare the proposal of trial `number`; `seed` is its own and the only source of chance."""
        ...


def derive_seed(seed: int, *parts: int | str) -> int:
    """Return a seed of 31 bits that depends on all parts, the same in every process and on every machine."""
    text = ":".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big") >> 1
