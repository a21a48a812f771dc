"""Samplers that do not learn: independent points, and the scrambled Sobol sequence.

Sobol points spread more evenly than independent ones. Optuna's sampler counts what it was asked; here a point's place
in the sequence is the trial's number instead, so that nothing has to be remembered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy

from tuning_operator.search.dimension import Code, Dimension
from tuning_operator.search.history import History
from tuning_operator.search.sampler import Draw, derive_seed
from tuning_operator.search.space import Space


class RandomSampler:
    """Independent points."""

    def __init__(self, space: Space) -> None:
        self._dimensions = space.dimensions

    def begin(self, history: History, *, number: int, seed: int) -> Draw:  # noqa: ARG002
        """Draw a number for each parameter, whether or not it will exist."""
        return _draw(self._dimensions, numpy.random.default_rng(seed).random(len(self._dimensions)).tolist())


class SobolSampler:
    """The scrambled Sobol sequence, indexed by the trial's number."""

    def __init__(self, space: Space, *, seed: int) -> None:
        self._dimensions = space.dimensions
        self._seed = derive_seed(seed, "sobol")

    def begin(self, history: History, *, number: int, seed: int) -> Draw:  # noqa: ARG002
        """Take the point at the trial's number."""
        from scipy.stats import qmc  # Takes a second to import.

        sequence = qmc.Sobol(len(self._dimensions), scramble=True, rng=numpy.random.default_rng(self._seed))
        if number:
            sequence.fast_forward(number)
        return _draw(self._dimensions, sequence.random(1)[0].tolist())


def _draw(dimensions: Sequence[Dimension], units: Sequence[float]) -> Draw:
    at: Mapping[str, float] = {dimension.name: unit for dimension, unit in zip(dimensions, units, strict=True)}

    def draw(dimension: Dimension) -> Code:
        return dimension.from_unit(at[dimension.name])

    return draw
