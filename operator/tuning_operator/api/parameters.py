"""The search space as a user writes it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from tuning_operator.schema import STABLE_DEFAULT, Manifest, ScalarValue, cel

ParameterName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")]
Choice = ScalarValue
Assignment = Annotated[Mapping[ParameterName, Choice], Field(max_length=64)]
"""A value for each parameter."""


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

    model_config = ConfigDict(
        json_schema_extra={
            # CEL cannot see a list whose items have no one type, so that choices are there is said without it.
            "x-one-of-required": [["choices"], ["min", "max"]],
            "x-kubernetes-validations": [
                cel(
                    "self.type != 'Categorical' || "
                    "!(has(self.min) || has(self.max) || has(self.step) || has(self.scale))",
                    "a Categorical has choices and no min, max, step or scale",
                ),
                cel(
                    "self.type == 'Categorical' || (has(self.min) && has(self.max))",
                    "Float and Int need min and max",
                    reason="FieldValueRequired",
                ),
                cel("!(has(self.min) && has(self.max)) || self.min < self.max", "min must be below max", field="min"),
                cel(
                    "!(has(self.scale) && self.scale == 'Log' && has(self.min)) || self.min > 0.0",
                    "scale Log needs min above 0",
                    field="min",
                ),
                cel(
                    "!(has(self.scale) && self.scale == 'Log' && has(self.step))",
                    "step and scale Log exclude each other",
                    field="step",
                ),
                cel(
                    "self.type != 'Int' || !has(self.min) || double(int(self.min)) == self.min",
                    "min of an Int must be a whole number",
                    field="min",
                ),
                cel(
                    "self.type != 'Int' || !has(self.max) || double(int(self.max)) == self.max",
                    "max of an Int must be a whole number",
                    field="max",
                ),
                cel(
                    "self.type != 'Int' || !has(self.step) || double(int(self.step)) == self.step",
                    "step of an Int must be a whole number",
                    field="step",
                ),
            ],
        }
    )

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
    live: Annotated[bool, Field(json_schema_extra=STABLE_DEFAULT)] = False
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
