"""CMA-ES over the recorded trials (Hansen 2016, arXiv:1604.00772), for spaces of numbers only.

Optuna's sampler carries its state in notes on each trial and depends on the order of asking. Here the state is a
function of the recorded trials: those that say something, by number, are told in groups of the population size. So a
trial may have been drawn before the mean and covariance it is told to. Such a point could throw the covariance off,
and is therefore drawn towards the mean to the length that a point of this generation would have, as Hansen proposes
for foreign points ("Injecting external solutions into CMA-ES", 2011, arXiv:1110.4181).
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence

import numpy
from cmaes import CMA
from numpy.typing import NDArray

from tuning_operator.search.dimension import Code, Dimension
from tuning_operator.search.history import History, Recorded
from tuning_operator.search.sampler import Draw
from tuning_operator.search.space import Space

_Told = tuple[int, float]


class Evolution:
    """CMA-ES on the unit cube; parameters with a single value are left out."""

    def __init__(self, space: Space) -> None:
        self._dimensions = [dimension for dimension in space.dimensions if dimension.count != 1]
        self._reached = self._start()
        self._folded: list[list[_Told]] = []
        """Generations in `_reached`: only a cache, dropped whenever a late result changes one of them."""

    def begin(self, history: History, *, number: int, seed: int) -> Draw:  # noqa: ARG002
        """Tell all whole generations, then draw from the distribution they lead to."""
        optimizer = copy.deepcopy(self._after(history.losses()))
        optimizer.reseed_rng(seed)
        point = optimizer.ask()
        at = {dimension.name: float(unit) for dimension, unit in zip(self._dimensions, point, strict=True)}

        def draw(dimension: Dimension) -> Code:
            return dimension.from_unit(at[dimension.name]) if dimension.name in at else dimension.nth(0)

        return draw

    def _start(self) -> CMA:
        count = len(self._dimensions)
        return CMA(
            mean=numpy.full(count, 0.5), sigma=1 / 6, bounds=numpy.array([[0.0, 1.0]] * count), seed=0,
            n_max_resampling=10 * count,
        )  # fmt: skip

    def _after(self, losses: Sequence[tuple[Recorded, float]]) -> CMA:
        size = self._reached.population_size
        groups = [losses[begin : begin + size] for begin in range(0, len(losses) - size + 1, size)]
        told = [[(trial.number, loss) for trial, loss in group] for group in groups]
        if told[: len(self._folded)] != self._folded:
            self._reached, self._folded = self._start(), []
        for group in groups[len(self._folded) :]:
            points = numpy.array([[d.to_unit(trial.codes[d.name]) for d in self._dimensions] for trial, _ in group])
            solutions = list(zip(_drawn_in(self._reached, points), [loss for _, loss in group], strict=True))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._reached.tell(solutions)
            if self._reached.should_stop():
                # Converged, or its numbers have become unusable: begin again, as its author recommends.
                self._reached = self._start()
        self._folded = told
        return self._reached


def _drawn_in(optimizer: CMA, points: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
    basis, scales = optimizer._eigen_decomposition()
    spread = optimizer._sigma
    count = points.shape[1]
    steps = (points - optimizer.mean) / spread
    lengths = numpy.linalg.norm(steps @ basis / scales, axis=1)
    longest = math.sqrt(count) + 2 * count / (count + 2)
    factors = numpy.minimum(1.0, longest / numpy.maximum(lengths, 1e-12))
    drawn: NDArray[numpy.float64] = optimizer.mean + spread * steps * factors[:, None]
    return drawn
