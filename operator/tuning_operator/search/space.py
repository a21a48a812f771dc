"""The search space: which parameters exist together, how many configurations there are, and the n-th of them.

Parameters that exist only under a condition (`when`) hang together with those they depend on; parameters that do not
hang together multiply. So counting and numbering the configurations of a finite space needs no listing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from tuning_operator.api.parameters import Parameter
from tuning_operator.schema import Scalar
from tuning_operator.search.dimension import Code, Dimension, contains, same

Codes = Mapping[str, Code]
"""A configuration: the code of every parameter that exists in it."""

Key = tuple[Code | None, ...]
"""A configuration as one hashable thing, in the order of `Space.dimensions`."""

_Answers = tuple[tuple[str, int | None], ...]
"""What later parameters depend on: parent and position, -1 for any value that no condition mentions, None if absent."""


class Space:
    """The search space of one job; `parameters` have passed `check_space`."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        by_name = {parameter.name: Dimension(parameter) for parameter in parameters}
        self.dimensions = tuple(by_name[name] for name in dependency_order(parameters))
        """Parents before children, else as the user wrote them."""
        self.by_name = by_name
        self._groups = [_Group(group) for group in _groups(self.dimensions)]

    @cached_property
    def size(self) -> int | None:
        """Number of configurations, or None if they are not countable."""
        sizes = [group.size for group in self._groups]
        return None if None in sizes else math.prod(size for size in sizes if size is not None)

    @property
    def is_conditional(self) -> bool:
        """Whether some parameter exists only under a condition."""
        return any(dimension.parameter.when for dimension in self.dimensions)

    def nth(self, rank: int) -> dict[str, Code]:
        """Return configuration number `rank` of a finite space, from 0 to size - 1."""
        codes: dict[str, Code] = {}
        for group in reversed(self._groups):
            rank, own = divmod(rank, group.size or 1)
            codes.update(group.nth(own))
        return codes

    def is_active(self, dimension: Dimension, codes: Codes) -> bool:
        """Whether the parameter exists, given the codes of those before it."""
        return all(
            parent in codes and contains(values, self.by_name[parent].decode(codes[parent]))
            for parent, values in (dimension.parameter.when or {}).items()
        )

    def key(self, codes: Codes) -> Key:
        """Return the configuration as a hashable key."""
        return tuple(codes.get(dimension.name) for dimension in self.dimensions)

    def decode(self, codes: Codes) -> dict[str, Scalar]:
        """Return the configuration with its values, in the order the user wrote the parameters."""
        return {name: dimension.decode(codes[name]) for name, dimension in self.by_name.items() if name in codes}

    def encode(self, values: Mapping[str, Scalar]) -> dict[str, Code]:
        """Return the codes of a configuration or a part of one.

        Raises:
            ValueError: A name or a value that the space does not have.
        """
        codes = {}
        for name, value in values.items():
            if name not in self.by_name:
                raise ValueError(f"the job has no parameter {name}")
            try:
                codes[name] = self.by_name[name].encode(value)
            except ValueError as error:
                raise ValueError(f"{name} is {value!r}, but must be {error}") from None
        return codes


def dependency_order(parameters: Sequence[Parameter]) -> list[str]:
    """Return the names with parents before children, else in the given order.

    Raises:
        ValueError: Conditions form a circle; the text shows it.
    """
    by_name = {parameter.name: parameter for parameter in parameters}
    order: list[str] = []
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise ValueError(" -> ".join((*path[path.index(name) :], name)))
        if name in done or name not in by_name:
            return
        for parent in by_name[name].when or {}:
            visit(parent, (*path, name))
        done.add(name)
        order.append(name)

    for parameter in parameters:
        visit(parameter.name, ())
    return order


def _groups(dimensions: Sequence[Dimension]) -> Iterator[list[Dimension]]:
    """Split into the parts that conditions tie together, each in dependency order."""
    root = {dimension.name: dimension.name for dimension in dimensions}

    def find(name: str) -> str:
        while root[name] != name:
            name = root[name]
        return name

    for dimension in dimensions:
        for parent in dimension.parameter.when or {}:
            root[find(dimension.name)] = find(parent)
    members: dict[str, list[Dimension]] = {}
    for dimension in dimensions:
        members.setdefault(find(dimension.name), []).append(dimension)
    yield from members.values()


@dataclass(frozen=True)
class _Branch:
    """Values of one parameter that lead to the same parameters after it; `width` of them."""

    answer: int | None
    width: int


class _Group:
    """Parameters tied together by conditions; counts and numbers their configurations."""

    def __init__(self, dimensions: Sequence[Dimension]) -> None:
        self._dimensions = tuple(dimensions)
        self._mentioned: dict[str, list[int]] = {}
        """Per parent: positions of the values that conditions mention."""
        self._by_name = {dimension.name: dimension for dimension in dimensions}
        self._last_use: dict[str, int] = {}
        for index, dimension in enumerate(dimensions):
            for parent, values in (dimension.parameter.when or {}).items():
                self._last_use[parent] = index
                positions = self._mentioned.setdefault(parent, [])
                for value in values:
                    position = self._position(self._by_name[parent], value)
                    if position is not None and position not in positions:
                        positions.append(position)
        for positions in self._mentioned.values():
            positions.sort()
        self._count = lru_cache(maxsize=None)(self._count_from)

    @cached_property
    def size(self) -> int | None:
        if any(dimension.count is None for dimension in self._dimensions):
            return None
        return self._count(0, ())

    def nth(self, rank: int) -> dict[str, Code]:
        codes: dict[str, Code] = {}
        answers: _Answers = ()
        for index, dimension in enumerate(self._dimensions):
            for branch in self._branches(index, answers):
                after = self._after(index, answers, branch.answer)
                below = self._count(index + 1, after)
                if rank < branch.width * below:
                    position, rank = divmod(rank, below)
                    answers = after
                    if branch.answer is not None:
                        codes[dimension.name] = dimension.nth(self._resolve(dimension, branch, position))
                    break
                rank -= branch.width * below
        return codes

    def _count_from(self, index: int, answers: _Answers) -> int:
        if index == len(self._dimensions):
            return 1
        return sum(
            branch.width * self._count(index + 1, self._after(index, answers, branch.answer))
            for branch in self._branches(index, answers)
        )

    def _branches(self, index: int, answers: _Answers) -> Iterator[_Branch]:
        dimension, known = self._dimensions[index], dict(answers)
        for parent, values in (dimension.parameter.when or {}).items():
            answer = known[parent]
            if answer is None or answer < 0 or not self._is_among(self._by_name[parent], answer, values):
                yield _Branch(None, 1)
                return
        mentioned = self._mentioned.get(dimension.name, [])
        for position in mentioned:
            yield _Branch(position, 1)
        if others := (dimension.count or 0) - len(mentioned):
            yield _Branch(-1, others)

    def _after(self, index: int, answers: _Answers, answer: int | None) -> _Answers:
        added = (*answers, (self._dimensions[index].name, answer))
        return tuple((name, value) for name, value in added if self._last_use.get(name, -1) > index)

    def _resolve(self, dimension: Dimension, branch: _Branch, position: int) -> int:
        if branch.answer is not None and branch.answer >= 0:
            return branch.answer
        for mentioned in self._mentioned.get(dimension.name, []):
            if mentioned <= position:
                position += 1
        return position

    @staticmethod
    def _position(parent: Dimension, value: Scalar) -> int | None:
        try:
            return parent.position(parent.encode(value)) if parent.count is not None else None
        except ValueError:
            return None

    @staticmethod
    def _is_among(parent: Dimension, position: int, values: Sequence[Scalar]) -> bool:
        return any(same(parent.decode(parent.nth(position)), value) for value in values)
