"""Proposes configurations: a function of the seed, the trial's number and the trials recorded so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from tuning_operator.api.parameters import Parameter
from tuning_operator.api.tuning_job import Search
from tuning_operator.schema import Scalar

Ending = Literal["completed", "stopped", "failed"]
"""How a told trial ended: with its result, stopped early with a part of its curve, or without any use."""


class Proposer:
    """Proposes the configurations of one job; every value it is told is a loss (lower is better)."""

    def __init__(self, parameters: Sequence[Parameter], search: Search) -> None:
        raise NotImplementedError

    def propose(self, *, number: int) -> dict[str, Scalar]:
        """Return the configuration of trial `number`; changes nothing.

        Raises:
            SearchSpaceExhausted: The space is finite and all of it has been proposed.
        """
        raise NotImplementedError

    def add_proposed(self, number: int, parameters: Mapping[str, Scalar]) -> None:
        """Take in a recorded proposal; the trial counts as running until it is told."""
        raise NotImplementedError

    def tell(
        self,
        number: int,
        *,
        value: float | None,
        marks: Sequence[tuple[int, float]] = (),
        state: Ending,
    ) -> None:
        """Take in the end of a trial: its loss, and the losses at its marks (mark, loss)."""
        raise NotImplementedError
