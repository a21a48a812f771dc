"""One parameter as samplers see it.

Samplers work on *codes*: plain numbers that name a value without its type. A categorical or stepped value is coded by
its position (0, 1, ...), a whole number on a log scale and a continuous one by itself. So choices keep their types
(1, 1.0 and true are three different choices), and a value read back from a log or a cluster (where 1.0 may have become
1) finds its code again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from tuning_operator.api.parameters import Parameter, ParameterType, Scale
from tuning_operator.schema import Scalar

Code = int | float
"""A value without its type: a position for discrete parameters, the number itself for others."""


def same(left: object, right: object) -> bool:
    """Whether two values are the same to a user: numbers by size (1 is 1.0), truth values only to truth values."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return left == right


def contains(values: Iterable[object], value: object) -> bool:
    """Whether `value` is the `same` as one of `values`."""
    return any(same(value, other) for other in values)


@dataclass(frozen=True)
class Dimension:
    """One parameter with its codes.

    Attributes:
        count: Number of values; None where they are not countable.
    """

    parameter: Parameter
    name: str = field(init=False)
    low: float = field(init=False)
    high: float = field(init=False)
    count: int | None = field(init=False)
    is_log: bool = field(init=False)
    step: float = field(init=False)

    def __post_init__(self) -> None:
        parameter = self.parameter
        low, high = parameter.min or 0.0, parameter.max or 0.0
        is_log = parameter.scale is Scale.LOG
        step = parameter.step or 1.0
        count: int | None
        if parameter.type is ParameterType.CATEGORICAL:
            count = len(parameter.choices or ())
        elif parameter.type is ParameterType.INT or parameter.step is not None:
            # A step of 0.1 from 0 to 1 has 11 values, although 1 / 0.1 is a hair below 10 in binary.
            count = math.floor((high - low) / step + 1e-9) + 1
        else:
            count = None
        for name, value in (
            ("name", parameter.name),
            ("low", low),
            ("high", high),
            ("count", count),
            ("is_log", is_log),
            ("step", step),
        ):
            object.__setattr__(self, name, value)

    @property
    def type(self) -> ParameterType:
        """Kind of the parameter."""
        return self.parameter.type

    @property
    def positional(self) -> bool:
        """Whether a code is a position among the values."""
        return self.count is not None and not self.is_log

    def nth(self, position: int) -> Code:
        """Return the code of the value at `position`, from 0 to count - 1."""
        return position if self.positional else int(self.low) + position

    def position(self, code: Code) -> int:
        """Undo `nth`."""
        return int(code) if self.positional else int(code) - int(self.low)

    def decode(self, code: Code) -> Scalar:
        """Return the value, with its type."""
        if self.type is ParameterType.CATEGORICAL:
            return (self.parameter.choices or ())[int(code)]
        if not self.positional:
            value = min(max(code, self.low), self.high)
            return int(value) if self.type is ParameterType.INT else float(value)
        if self.type is ParameterType.INT:
            return int(self.low) + int(code) * int(self.step)
        # Twelve digits turn 0.30000000000000004 into the 0.3 that was meant.
        return min(max(float(f"{self.low + int(code) * self.step:.12g}"), self.low), self.high)

    def encode(self, value: Scalar) -> Code:
        """Return the code of a value.

        Raises:
            ValueError: Not a value of this parameter; the text says what is.
        """
        if self.type is ParameterType.CATEGORICAL:
            choices = self.parameter.choices or ()
            for position, choice in enumerate(choices):
                if type(choice) is type(value) and choice == value:
                    return position
            for position, choice in enumerate(choices):
                if same(choice, value):
                    return position
            raise ValueError("one of " + ", ".join(map(show, choices)))
        whole = self.type is ParameterType.INT
        kind = "a whole number" if whole else "a number"
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{kind} from {self.low:g} to {self.high:g}")
        if not self.low <= value <= self.high or (whole and value != int(value)):
            raise ValueError(f"{kind} from {self.low:g} to {self.high:g}")
        if not self.positional:
            return int(value) if whole else float(value)
        position = round((value - self.low) / self.step)
        if position >= (self.count or 0) or not math.isclose(
            self.low + position * self.step, value, rel_tol=1e-9, abs_tol=1e-9 * self.step
        ):
            below = min(math.floor((value - self.low) / self.step), (self.count or 1) - 1)
            near = [self.decode(code) for code in (below, below + 1) if code < (self.count or 0)]
            raise ValueError(
                f"{self.low:g} plus a multiple of the step {self.step:g}, such as {' or '.join(map(show, near))}"
            )
        return position

    def from_unit(self, unit: float) -> Code:
        """Return the code at `unit` in [0, 1): every value, or on a log scale every ratio, is equally likely."""
        if self.positional:
            return min(int(unit * (self.count or 1)), (self.count or 1) - 1)
        low, high = self._edges()
        if self.is_log:
            number = math.exp(math.log(low) + unit * (math.log(high) - math.log(low)))
        else:
            number = low + unit * (high - low)
        if self.type is ParameterType.INT:
            return int(min(max(round(number), int(self.low)), int(self.high)))
        return min(max(number, self.low), self.high)

    def to_unit(self, code: Code) -> float:
        """Return the middle of the stretch of [0, 1] that `from_unit` turns into `code`."""
        if self.positional:
            return (int(code) + 0.5) / (self.count or 1)
        low, high = self._edges()
        if self.is_log:
            return (math.log(code) - math.log(low)) / (math.log(high) - math.log(low))
        return (code - low) / (high - low)

    def _edges(self) -> tuple[float, float]:
        half = 0.5 if self.type is ParameterType.INT else 0.0
        return self.low - half, self.high + half


def show(value: object) -> str:
    """Return a value as a manifest would say it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)
