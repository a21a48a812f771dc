"""A search space whose numbers are texts: Katib's ``feasibleSpace`` and the ``searchSpace`` of an OptimizationJob."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from trial_protocol.environment import parameter_variable
from tuning_operator.cli.convert.report import Fields, Report

_ALLOWED: Final = re.compile(r"^[A-Za-z_][A-Za-z0-9_.-]*$")
_WHOLE: Final = re.compile(r"^[+-]?\d+$")
_DISTRIBUTIONS: Final[Mapping[str, str]] = {
    "uniform": "Linear",
    "logUniform": "Log",
    "normal": "Linear",
    "logNormal": "Log",
}
Parameter = dict[str, Any]


class Space:
    """The parameters of a TuningJob as they are found, and under which names.

    Attributes:
        parameters: In order.
        variables: Environment variable of each parameter, by its name in the foreign manifest.
        constants: Parameters that are none any more, by that name, and their one value.
    """

    def __init__(self, report: Report) -> None:
        self.parameters: list[Parameter] = []
        self.variables: dict[str, str] = {}
        self.constants: dict[str, str] = {}
        self._report = report

    def add(self, path: str, name: str, parameter: Parameter | None) -> None:
        """Take in a parameter, under a name that a TuningJob allows; None if it was refused."""
        if parameter is None:
            return
        legal = legal_name(name)
        if not legal:
            self._report.refuse(f"{path}.name", f"{name!r} has no letters; give it another name")
            return
        if legal != name:
            self._report.warn(f"{path}.name", legal, "names consist of letters, digits, _, - and ., from a letter on")
        variable = parameter_variable(legal)
        if variable in self.variables.values():
            self._report.refuse(f"{path}.name", f"two parameters would share the variable {variable}; rename one")
            return
        self.variables[name] = variable
        self.parameters.append({"name": legal, **parameter})
        self._report.converted(path, f"parameters[{legal}]: {describe(parameter)}")

    def katib(self, entry: Fields) -> None:
        """Take in one of Katib's parameters."""
        name, kind, room = entry.text("name"), entry.text("parameterType"), entry.fields("feasibleSpace")
        if kind in ("double", "int"):
            distribution = room.text("distribution") or "uniform"
            scale = _DISTRIBUTIONS.get(distribution)
            if scale is None:
                self._report.refuse(room.at("distribution"), f"{distribution} is not known")
            elif distribution in ("normal", "logNormal"):
                self._report.warn(room.at("distribution"), f"scale: {scale}", "values are spread evenly over the range")
            step = room.text("step")
            self.add(entry.path, name, self.range(room, whole=kind == "int", scale=scale or "Linear", step=step))
        elif kind in ("discrete", "categorical"):
            self.add(entry.path, name, self.choices(room, room.take("list"), numbers=kind == "discrete"))
        else:
            self._report.refuse(
                entry.at("parameterType"), f"{kind or 'nothing'} is not double, int, discrete or categorical"
            )
        room.finish()
        entry.finish()

    def optimization(self, entry: Fields) -> None:
        """Take in one of an OptimizationJob's parameters."""
        name, room = entry.text("name"), entry.fields("searchSpace")
        for kind, scale in (("uniform", "Linear"), ("logUniform", "Log")):
            if kind in room:
                bounds = room.fields(kind)
                whole = bounds.text("type") == "Int"
                self.add(entry.path, name, self.range(bounds, whole=whole, scale=scale))
                bounds.finish()
        if "categorical" in room:
            some = room.fields("categorical")
            self.add(entry.path, name, self.choices(some, some.take("choices"), numbers=False))
            some.finish()
        room.finish()
        entry.finish()

    def range(self, room: Fields, *, whole: bool, scale: str, step: str = "") -> Parameter | None:
        """Return a Float or an Int, or one choice where the bounds are equal."""
        least, most = (_number(room, bound) for bound in ("min", "max"))
        if least is None or most is None:
            return None
        if least > most:
            self._report.refuse(room.path, f"min {least:g} is above max {most:g}")
            return None
        if whole and not (least.is_integer() and most.is_integer()):
            self._report.refuse(room.path, "bounds of an int must be whole numbers")
            return None
        if least == most:
            return {"type": "Categorical", "choices": [int(least) if whole else least]}
        if scale == "Log" and least <= 0:
            self._report.refuse(room.at("min"), f"a logarithmic range begins above 0; it begins at {least:g}")
            return None
        found: Parameter = {
            "type": "Int" if whole else "Float",
            "min": _plain(least, whole),
            "max": _plain(most, whole),
        }
        if scale == "Log":
            found["scale"] = "Log"
        width = _parsed(step)
        if width is not None and scale == "Log":
            self._report.warn(room.at("step"), "", "a logarithmic range has no step")
        elif width is not None and not (whole and width == 1):
            found["step"] = _plain(width, whole)
        return found

    def choices(self, room: Fields, values: Any, *, numbers: bool) -> Parameter | None:
        """Return a Categorical; numbers stay as exact as they were written."""
        if not isinstance(values, list) or not values:
            self._report.refuse(room.path, "a list of values is expected")
            return None
        if not numbers:
            return {"type": "Categorical", "choices": [str(value) for value in values]}
        found: list[int | float] = []
        for value in values:
            number = _parsed(str(value))
            if number is None:
                self._report.refuse(room.path, f"{value!r} is not a number")
                return None
            found.append(int(number) if _WHOLE.match(str(value)) else number)
        return {"type": "Categorical", "choices": found}


def legal_name(name: str) -> str:
    """Return a name that a parameter may have: ``--learning rate`` becomes ``learning_rate``."""
    if _ALLOWED.match(name):
        return name[:63]
    return re.sub(r"^[^A-Za-z_]+", "", re.sub(r"[^A-Za-z0-9_.-]", "_", name))[:63]


def describe(parameter: Mapping[str, Any]) -> str:
    """Return a parameter in a few words."""
    if "choices" in parameter:
        return "one of " + ", ".join(map(str, parameter["choices"]))
    words = [str(parameter["type"]), f"{parameter['min']:g} to {parameter['max']:g}"]
    words += ["Log"] if "scale" in parameter else []
    return " ".join(words + ([f"step {parameter['step']:g}"] if "step" in parameter else []))


def _number(room: Fields, name: str) -> float | None:
    text = room.text(name)
    found = _parsed(text)
    if found is None:
        room.report.refuse(room.at(name), f"a number is expected; there is {text or 'nothing'}")
    return found


def _parsed(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _plain(value: float, whole: bool) -> int | float:
    return int(value) if whole else value
