"""Learning-rate schedules: pure functions from the fraction of training done to a factor of the base rate.

The learning rate in force is ``base x factor x control scale``; only the factor is decided here, so that a live change
of the scale and the plan for the rest of the training never get mixed up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

Shape = Callable[[float, float], float]
"""(fraction of the time after warm-up in 0..1, share of it that decays) -> height in 0..1."""


def _constant(fraction: float, decay: float) -> float:  # noqa: ARG001
    return 1.0


def _cosine(fraction: float, decay: float) -> float:  # noqa: ARG001
    return 0.5 * (1.0 + math.cos(math.pi * fraction))


def _linear(fraction: float, decay: float) -> float:  # noqa: ARG001
    return 1.0 - fraction


def _warmup_stable_decay(fraction: float, decay: float) -> float:
    """Constant, then linear to the floor over the last `decay` (Hägele et al. 2024, arXiv 2405.18392, section 3)."""
    return 1.0 if fraction <= 1.0 - decay else (1.0 - fraction) / decay


SHAPES: Mapping[str, Shape] = MappingProxyType(
    {"constant": _constant, "cosine": _cosine, "linear": _linear, "wsd": _warmup_stable_decay}
)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """One plan for the whole training.

    Attributes:
        shape: A name of `SHAPES`.
        warmup: Fraction of the training over which the factor rises linearly from 0 to 1; 0 for none.
        decay: Fraction of the training that a warm-up-stable-decay schedule spends on its final decay.
        floor: Factor at the end of every decaying shape.
    """

    shape: str = "constant"
    warmup: float = 0.0
    decay: float = 0.2
    floor: float = 0.0

    def factor(self, fraction: float, *, decay_from: float | None = None) -> float:
        """Return the factor at `fraction` of the training (0..1).

        `decay_from` is the fraction at which a final decay was asked for, if one was: from the height that the plan
        had there the factor then falls in a line, and reaches the floor at the end of the training as planned.
        """
        if decay_from is None or fraction <= decay_from:
            return self._planned(fraction)
        height = self._planned(decay_from)
        target = min(self.floor, height)
        left = (1.0 - fraction) / (1.0 - decay_from) if decay_from < 1.0 else 0.0
        return target + (height - target) * max(0.0, left)

    def _planned(self, fraction: float) -> float:
        if fraction < self.warmup:
            return fraction / self.warmup
        after = min(1.0, (fraction - self.warmup) / (1.0 - self.warmup))
        height = SHAPES[self.shape](after, min(1.0, self.decay / (1.0 - self.warmup)))
        return self.floor + (1.0 - self.floor) * height
