"""The search space as a user writes it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from tuning_operator.schema import Manifest, ScalarValue

ParameterName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")]
Choice = ScalarValue


class ParameterType(StrEnum):
    """Kind of a parameter."""

    FLOAT = "Float"
    INT = "Int"
    CATEGORICAL = "Categorical"


class Scale(StrEnum):
    """How values are spread over a range."""

    LINEAR = "Linear"
    LOG = "Log"


class Parameter(Manifest):
    """One hyperparameter and the values it may take."""

    name: ParameterName
    """Name under which the trial finds the value."""
    type: ParameterType
    """Float and Int need min and max; Categorical needs choices."""
    min: float | None = None
    """Least value, inclusive."""
    max: float | None = None
    """Greatest value, inclusive."""
    step: Annotated[float, Field(gt=0)] | None = None
    """Distance between allowed values, counted from min; not with scale Log. Grid needs it for a Float."""
    scale: Scale | None = None
    """Linear (the default) or Log; Log needs min above 0."""
    choices: Annotated[tuple[Choice, ...], Field(min_length=1, max_length=256)] | None = None
    """Values of a Categorical: words, numbers or booleans."""
    live: bool = False
    """Whether control rules may change the value while a trial runs."""
    when: (
        Annotated[
            Mapping[ParameterName, Annotated[tuple[Choice, ...], Field(min_length=1, max_length=256)]],
            Field(max_length=8),
        ]
        | None
    ) = None
    """The parameter exists only where these other parameters have one of these values."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.type is ParameterType.CATEGORICAL:
            if not self.choices:
                raise ValueError("a Categorical needs choices, for example choices: [adamw, sgd]")
            for field_name in ("min", "max", "step", "scale"):
                if getattr(self, field_name) is not None:
                    raise ValueError(f"a Categorical has choices and no {field_name}")
            if len(set(map(repr, self.choices))) != len(self.choices):
                raise ValueError("choices must be different from each other")
            return self
        if self.choices is not None:
            raise ValueError(f"choices belong to a Categorical; type {self.type} has min and max")
        if self.min is None or self.max is None:
            raise ValueError(f"type {self.type} needs min and max")
        if self.min >= self.max:
            raise ValueError(f"min must be below max: min is {self.min:g}, max is {self.max:g}")
        if self.scale is Scale.LOG:
            if self.min <= 0:
                raise ValueError(f"scale Log needs min above 0; min is {self.min:g}")
            if self.step is not None:
                raise ValueError("step and scale Log exclude each other")
        if self.type is ParameterType.INT:
            for field_name in ("min", "max", "step"):
                value = getattr(self, field_name)
                if value is not None and value != int(value):
                    raise ValueError(f"{field_name} of an Int must be a whole number; it is {value:g}")
        return self
