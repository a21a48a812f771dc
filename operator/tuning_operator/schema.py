"""The base of everything a user writes: camelCase outside, snake_case inside, unknown fields refused.

Rules, samplers and the API build on it, so that one generator turns all of them into a CRD.
"""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

Scalar = bool | int | float | str
"""One value of a parameter."""

ScalarValue = Annotated[StrictBool | StrictInt | StrictFloat | StrictStr, Field(union_mode="left_to_right")]
"""`Scalar` as a field: what the manifest says stays what it is, so that 1 never becomes true."""

_DURATION = re.compile(r"^(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?$")
DURATION_PATTERN = r"^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$"


STABLE_DEFAULT: dict[str, JsonValue] = {"x-stable-default": True}
"""For ``Field(json_schema_extra=...)``: this default will not change, so the CRD may carry it."""


def cel(rule: str, message: str, *, field: str = "", reason: str = "FieldValueInvalid") -> dict[str, JsonValue]:
    """Return one validation rule of a CRD, in CEL; it says what the validator beside it says in Python."""
    out: dict[str, JsonValue] = {"rule": rule, "message": message, "reason": reason}
    if field:
        out["fieldPath"] = f".{field}"
    return out


class Manifest(BaseModel):
    """A part of a manifest: immutable, camelCase by alias, misspelt fields refused."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )


class Mode(StrEnum):
    """Whether a rule's decisions are carried out."""

    ACT = "Act"
    OBSERVE = "Observe"


class RuleSettings(Manifest):
    """What every rule has in common. A rule's own settings add ``rule: Literal["Name"]`` and its numbers."""

    mode: Mode = Mode.ACT
    """Act carries decisions out; Observe only writes down what would have been decided."""


def parse_duration(text: str) -> timedelta:
    """Parse ``4h``, ``1h30m``, ``90s`` or ``500ms``.

    Raises:
        ValueError: Not a duration, or none at all.
    """
    match = _DURATION.match(text)
    if not text or match is None:
        raise ValueError("expected a duration such as 4h, 1h30m, 90s or 500ms")
    days, hours, minutes, seconds, milliseconds = (int(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds)


def format_duration(duration: timedelta) -> str:
    """Return the shortest text that `parse_duration` reads back."""
    rest = round(duration / timedelta(milliseconds=1))
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _to_duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    # A bare number is refused: whether it means seconds or minutes is anybody's guess.
    return parse_duration(value if isinstance(value, str) else "")


Duration = Annotated[
    timedelta,
    BeforeValidator(_to_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "minLength": 2, "maxLength": 32}),
    Field(ge=timedelta(0)),
]
"""A span of time, written as in Go and Kubernetes: ``1h30m``."""
