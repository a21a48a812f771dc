"""What can be wrong with a search space beyond single fields, and the one door for manifests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tuning_operator.api.parameters import Parameter, ParameterType
from tuning_operator.api.parse import draft_manifest
from tuning_operator.api.problems import nearest
from tuning_operator.api.problems import show as show_found
from tuning_operator.api.tuning_job import Algorithm, Search, TuningJob
from tuning_operator.api.yaml_text import At
from tuning_operator.errors import Problem
from tuning_operator.schema import Scalar
from tuning_operator.search.dimension import Dimension, contains, show
from tuning_operator.search.space import dependency_order

_PARAMETERS: At = ("spec", "parameters")
_SEARCH: At = ("spec", "search")
_Model = TypeVar("_Model", bound=BaseModel)


def load_job(text: str | Mapping[str, Any], *, source: str = "manifest") -> TuningJob:
    """Return the TuningJob of a manifest, its search space checked; what a command should call.

    Raises:
        ManifestError: All mistakes at once, those in fields and those in the search space.
    """
    draft = draft_manifest(text, source=source)
    if draft.job is not None:
        draft.add(check_space(draft.job.spec.parameters, draft.job.spec.search))
    elif isinstance(draft.data, Mapping) and isinstance(spec := draft.data.get("spec"), Mapping):
        entries = spec.get("parameters")
        entries = entries if isinstance(entries, list) else []
        readable = [_read(Parameter, entry) for entry in entries]
        named = {str(entry.get("name")) for entry in entries if isinstance(entry, Mapping)}
        search = _read(Search, _readable_fields(Search, spec.get("search"))) or Search()
        draft.add(check_space(readable, search, unreadable=named - {p.name for p in readable if p is not None}))
    return draft.finish()


def check_space(
    parameters: Sequence[Parameter | None], search: Search, *, unreadable: Set[str] = frozenset()
) -> list[Problem]:
    """Return the mistakes between parameters, and between them and the search.

    Args:
        parameters: The parameters; None in place of one whose own fields are wrong.
        search: How configurations are proposed.
        unreadable: Names of parameters that exist but could not be read; nothing is said about them.
    """
    return list(_Check(parameters, search, unreadable).problems())


def _read(model: type[_Model], data: object) -> _Model | None:
    try:
        return model.model_validate(data, by_alias=True, by_name=False)
    except ValidationError:
        return None


def _readable_fields(model: type[BaseModel], data: object) -> dict[str, Any]:
    fields = data.items() if isinstance(data, Mapping) else ()
    return {name: value for name, value in fields if _read(model, {name: value}) is not None}


class _Check:
    def __init__(self, parameters: Sequence[Parameter | None], search: Search, unreadable: Set[str]) -> None:
        self._entries = list(enumerate(parameters))
        self._search = search
        self._unreadable = unreadable
        self._dimensions: dict[str, Dimension] = {}
        for _, parameter in self._entries:
            if parameter is not None:
                self._dimensions.setdefault(parameter.name, Dimension(parameter))

    def problems(self) -> Iterator[Problem]:
        yield from self._names()
        yield from self._conditions()
        yield from self._circle()
        yield from self._algorithm()
        yield from self._initial()

    def _say(self, at: At, *, found: str = "", expected: str, suggestion: str = "") -> Problem:
        return Problem(path=self._path(at), found=found, expected=expected, suggestion=suggestion, at=at)

    def _path(self, at: At) -> str:
        text, names = "", [parameter.name if parameter else None for _, parameter in self._entries]
        for place, piece in enumerate(at):
            if isinstance(piece, str):
                text += f".{piece}" if text else piece
            elif at[:place] == _PARAMETERS and names[piece] is not None and names.count(names[piece]) == 1:
                text += f"[{names[piece]}]"
            else:
                text += f"[{piece}]"
        return text

    def _names(self) -> Iterator[Problem]:
        first: dict[str, int] = {}
        for index, parameter in self._entries:
            if parameter is None:
                continue
            if parameter.name in first:
                yield self._say(
                    (*_PARAMETERS, index, "name"),
                    expected=f"{parameter.name} is also the name of spec.parameters[{first[parameter.name]}]; "
                    "each parameter needs a name of its own",
                )
            first.setdefault(parameter.name, index)

    def _conditions(self) -> Iterator[Problem]:
        for index, parameter in self._entries:
            for parent, values in ((parameter.when if parameter else None) or {}).items():
                at = (*_PARAMETERS, index, "when", parent)
                if parent in self._unreadable:
                    continue
                if parent not in self._dimensions:
                    yield self._unknown(at, parent)
                    continue
                for place, value in enumerate(values):
                    try:
                        self._dimensions[parent].encode(value)
                    except ValueError as error:
                        yield self._say(
                            (*at, place),
                            found=show_found(value),
                            expected=f"a value of {parent}: {error}",
                            suggestion=self._near_choice(parent, value),
                        )

    def _circle(self) -> Iterator[Problem]:
        parameters = [parameter for _, parameter in self._entries if parameter is not None]
        try:
            dependency_order(parameters)
        except ValueError as error:
            index = next(i for i, p in self._entries if p is not None and p.name == str(error).split(" -> ")[0])
            yield self._say(
                (*_PARAMETERS, index, "when"), expected=f"the conditions form a circle, so none can be met: {error}"
            )

    def _algorithm(self) -> Iterator[Problem]:
        algorithm, at = self._search.algorithm, (*_SEARCH, "algorithm")
        if algorithm is Algorithm.GRID:
            for index, parameter in self._entries:
                if parameter is not None and Dimension(parameter).count is None:
                    yield self._say(
                        (*_PARAMETERS, index, "step"),
                        found="no step" if parameter.step is None else "a step",
                        expected="a step, because spec.search.algorithm is Grid and a Float has no end of values",
                        suggestion="write the values as choices of a Categorical" if parameter.scale else "",
                    )
        if algorithm is not Algorithm.CMAES:
            return
        hint = "use algorithm: TPE, which takes every kind of parameter"
        for index, parameter in self._entries:
            if parameter is None:
                continue
            if parameter.type is ParameterType.CATEGORICAL:
                yield self._say(
                    (*_PARAMETERS, index, "type"),
                    found="Categorical",
                    expected="Float or Int, because spec.search.algorithm CMAES moves through numbers only",
                    suggestion=hint,
                )
            if parameter.when:
                yield self._say(
                    (*_PARAMETERS, index, "when"),
                    expected="spec.search.algorithm CMAES needs parameters that always exist",
                    suggestion=hint,
                )
        movable = [dimension for dimension in self._dimensions.values() if dimension.count != 1]
        if len(movable) < 2 and not self._unreadable:
            yield self._say(
                at,
                expected="CMAES needs at least two parameters with more than one value",
                suggestion="use algorithm: TPE, which takes one",
            )

    def _initial(self) -> Iterator[Problem]:
        points = self._search.initial
        for index, point in enumerate(points):
            at = (*_SEARCH, "initial", index)
            for name, value in point.items():
                if name in self._unreadable:
                    continue
                if name not in self._dimensions:
                    yield self._unknown((*at, name), name)
                    continue
                try:
                    self._dimensions[name].encode(value)
                except ValueError as error:
                    near = self._near_choice(name, value)
                    yield self._say((*at, name), found=show_found(value), expected=str(error), suggestion=near)
                yield from self._present((*at, name), name, point)
            earlier = next((place for place in range(index) if _equal(points[place], point)), None)
            if point and earlier is not None and not self._search.allow_duplicates:
                yield self._say(
                    at,
                    expected=f"repeats spec.search.initial[{earlier}]",
                    suggestion="leave it out, or set spec.search.allowDuplicates: true",
                )

    def _present(self, at: At, name: str, point: Mapping[str, Scalar]) -> Iterator[Problem]:
        for parent, values in (self._dimensions[name].parameter.when or {}).items():
            if parent in self._dimensions and not (parent in point and contains(values, point[parent])):
                allowed = " or ".join(map(show, values))
                yield self._say(
                    at,
                    expected=f"{name} exists only where {parent} is {allowed}, and here {parent} is "
                    + (show(point[parent]) if parent in point else "not given"),
                    suggestion=f"add {parent}: {show(values[0])}" if parent not in point else f"leave {name} out",
                )

    def _unknown(self, at: At, name: str) -> Problem:
        known = [*self._dimensions, *sorted(map(str, self._unreadable))]
        return self._say(
            at,
            found="a parameter that does not exist",
            expected=f"one of {', '.join(known)}",
            suggestion=nearest(name, known),
        )

    def _near_choice(self, name: str, value: object) -> str:
        choices = [choice for choice in self._dimensions[name].parameter.choices or () if isinstance(choice, str)]
        return nearest(value, choices) if isinstance(value, str) else ""


def _equal(left: Mapping[str, Scalar], right: Mapping[str, Scalar]) -> bool:
    return left.keys() == right.keys() and all(contains([left[name]], right[name]) for name in left)
