"""An alarm: what a monitor between the marks has to say; stopping and control rules both answer to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

NON_FINITE: Final = "NonFinite"
"""The training loss is NaN or infinite: the weights are lost."""
EXPLOSION: Final = "Explosion"
"""The training loss is far above where it was; the weights may still be sound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Something seen between the marks that cannot wait for the next one.

    Attributes:
        kind: `NON_FINITE` or `EXPLOSION`.
        position: Where on the axis it was seen.
        numbers: What raised it, by name.
    """

    kind: str
    position: float
    numbers: Mapping[str, float]

    @property
    def told(self) -> str:
        """Return the numbers for a sentence: in order of their names, because a stored record has lost its own."""
        return ", ".join(f"{name} {value:.4g}" for name, value in sorted(self.numbers.items()))
