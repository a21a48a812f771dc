"""Proposes configurations: a function of the seed, the trial's number and the trials recorded so far.

Nothing else counts: not how often it was asked, not the order in which results arrived, not whether the process was
restarted in between. So a restored proposer is made by telling it what was recorded, and needs no replay.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

from tuning_operator.api.parameters import Parameter
from tuning_operator.api.tuning_job import Algorithm, Search
from tuning_operator.errors import LogError, SearchSpaceExhausted
from tuning_operator.schema import Scalar
from tuning_operator.search.dimension import Code
from tuning_operator.search.history import History, Standing
from tuning_operator.search.points import RandomSampler, SobolSampler
from tuning_operator.search.sampler import Sampler, derive_seed
from tuning_operator.search.space import Key, Space

Ending = Literal["completed", "stopped", "failed"]
"""How a told trial ended: with its result, stopped early with a part of its curve, or without any use."""

_DRAWS: Final = 4
"""Draws from the sampler that may repeat a configuration, before chance alone is asked."""
_RANDOM_DRAWS: Final = 200
"""Draws by chance that may repeat one, before a finite space is searched for what is left."""

_STANDINGS: Final[Mapping[Ending, Standing]] = {
    "completed": Standing.COMPLETED,
    "stopped": Standing.STOPPED,
    "failed": Standing.FAILED,
}


class Proposer:
    """Proposes the configurations of one job; every value it is told is a loss (lower is better).

    `parameters` and `search` have passed `check_space`.

    Raises:
        SamplerUnavailable: The algorithm needs a library that is not installed here.
    """

    def __init__(self, parameters: Sequence[Parameter], search: Search) -> None:
        self._space = Space(parameters)
        self._search = search
        self._initial = [self._space.encode(point) for point in search.initial]
        self._random = RandomSampler(self._space)
        self._sampler = _sampler(self._space, search)
        self._history = History()
        self._taken: dict[Key, int] = {}
        """How many recorded trials have each configuration."""

    @property
    def size(self) -> int | None:
        """Number of configurations, or None if they are not countable."""
        return self._space.size

    def propose(self, *, number: int) -> dict[str, Scalar]:
        """Return the configuration of trial `number`; changes nothing.

        A number that is recorded already gives its recorded configuration.

        Raises:
            SearchSpaceExhausted: The space is finite and all of it has been proposed.
        """
        recorded = self._history.get(number)
        if recorded is not None:
            return self._space.decode(recorded.codes)
        size = self._space.size
        if size is not None and len(self._taken) >= size and not self._search.allow_duplicates:
            raise SearchSpaceExhausted(f"all {size} configurations of the search space have been proposed")
        kept = self._kept_free(number)
        for codes in self._candidates(number):
            key = self._space.key(codes)
            if self._search.allow_duplicates or not (key in self._taken or key in kept):
                return self._space.decode(codes)
        raise SearchSpaceExhausted(
            "no configuration was found that has not been proposed; the search space is too small"
        )

    def add_proposed(self, number: int, parameters: Mapping[str, Scalar]) -> None:
        """Take in a recorded proposal; the trial counts as running until it is told.

        Raises:
            LogError: The configuration is not one of this search space.
        """
        try:
            codes = self._space.encode(parameters)
        except ValueError as error:
            raise LogError(f"trial {number} was recorded with another search space: {error}") from None
        before = self._history.get(number)
        if before is not None:
            self._release(self._space.key(before.codes))
        self._history.add(number, codes)
        key = self._space.key(codes)
        self._taken[key] = self._taken.get(key, 0) + 1

    def tell(
        self,
        number: int,
        *,
        value: float | None,
        marks: Sequence[tuple[int, float]] = (),
        state: Ending,
    ) -> None:
        """Take in the end of a trial.

        Args:
            number: The trial.
            value: Its loss; None or not finite is the worst of results, not a missing one, unless it failed.
            marks: Losses at its marks (mark, loss); the newest is what a stopped trial is judged by.
            state: How it ended. A failed trial teaches nothing about its configuration.

        Raises:
            LogError: The trial's proposal was never recorded.
        """
        if self._history.get(number) is None:
            raise LogError(f"trial {number} ended, but its proposal is not in the log")
        self._history.end(number, standing=_STANDINGS[state], value=value, marks=marks)

    def _release(self, key: Key) -> None:
        self._taken[key] -= 1
        if not self._taken[key]:
            del self._taken[key]

    def _kept_free(self, number: int) -> set[Key]:
        """Configurations that later enqueued points spell out in full."""
        later = (point for index, point in enumerate(self._initial) if index > number)
        return {self._space.key(point) for point in later if self._is_whole(point)}

    def _is_whole(self, point: Mapping[str, Code]) -> bool:
        return all(
            (dimension.name in point) == self._space.is_active(dimension, point) for dimension in self._space.dimensions
        )

    def _candidates(self, number: int) -> Iterator[dict[str, Code]]:
        """Configurations to consider, in order: by the algorithm, by chance, and all that there are."""
        fixed = self._initial[number] if number < len(self._initial) else {}
        size = self._space.size
        is_grid = self._search.algorithm is Algorithm.GRID
        if fixed or not is_grid:
            sampler = self._random if self._sampler is None else self._sampler
            for attempt in range(_DRAWS):
                yield self._complete(sampler, number, attempt, fixed)
        if fixed or size is None:
            for attempt in range(_DRAWS, _DRAWS + _RANDOM_DRAWS):
                yield self._complete(self._random, number, attempt, fixed)
        if size is None:
            for attempt in range(_DRAWS + _RANDOM_DRAWS, _DRAWS + 2 * _RANDOM_DRAWS):
                yield self._complete(self._random, number, attempt, {})
            return
        first = number if is_grid else derive_seed(self._search.seed, number, "left")
        for place in range(first, first + size):
            yield self._space.nth(self._shuffled(place, size))

    def _complete(self, sampler: Sampler, number: int, attempt: int, fixed: Mapping[str, Code]) -> dict[str, Code]:
        draw = sampler.begin(self._history, number=number, seed=derive_seed(self._search.seed, number, attempt))
        codes: dict[str, Code] = {}
        for dimension in self._space.dimensions:
            if self._space.is_active(dimension, codes):
                codes[dimension.name] = fixed[dimension.name] if dimension.name in fixed else draw(dimension)
        return codes

    def _shuffled(self, place: int, size: int) -> int:
        """Return a rank for each place: every rank once in `size` places, in an order that the seed decides."""
        stride = derive_seed(self._search.seed, "stride") % size or 1
        while math.gcd(stride, size) != 1:
            stride += 1
        return (derive_seed(self._search.seed, "offset") + place * stride) % size


def load_samplers() -> None:
    """Import what samplers need: a second, for a process to take before anybody waits for a proposal."""
    import tuning_operator.search.evolution
    import tuning_operator.search.optuna_sampler  # noqa: F401


def _sampler(space: Space, search: Search) -> Sampler | None:
    """Return the algorithm's sampler, None for Grid; their libraries take seconds to import, so only when needed."""
    match search.algorithm:
        case Algorithm.RANDOM:
            return RandomSampler(space)
        case Algorithm.SOBOL:
            return SobolSampler(space, seed=search.seed)
        case Algorithm.TPE | Algorithm.GP:
            from tuning_operator.search.optuna_sampler import GP, TPE

            return TPE(space) if search.algorithm is Algorithm.TPE else GP(space)
        case Algorithm.CMAES:
            from tuning_operator.search.evolution import Evolution

            return Evolution(space)
        case Algorithm.GRID:
            return None
