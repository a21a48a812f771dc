"""Records as plain JSON objects and back: one line of ``events.jsonl``, or parts of a Kubernetes object.

Every record is an object with the field ``kind`` and the fields of its class. NaN and infinity are the strings
``"NaN"``, ``"Infinity"`` and ``"-Infinity"``. Fields at their default are left out. A reader ignores fields that it
does not know, so that a log of a later version can be read; a kind that it does not know is an error, because
skipping it would change what follows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from sys import intern
from typing import Any, Final, get_args, get_origin, get_type_hints

from tuning_operator.curves.marks import MarkValue
from tuning_operator.engine import events
from tuning_operator.engine.collector import collector_paused
from tuning_operator.engine.decisions import Decision
from tuning_operator.engine.events import Event, MarkReached
from tuning_operator.errors import LogError
from tuning_operator.schema import Scalar

_WORDS: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_BLOCK: Final = 1000
"""Lines that are parsed together."""
_Convert = Callable[[Any], Any]


def encode(record: Event) -> dict[str, Any]:
    """Return a record as a JSON object."""
    plan = _PLANS.get(type(record).__name__)
    if plan is None:
        raise LogError(f"{type(record).__name__} is not a kind of record")
    encoded: dict[str, Any] = {"kind": plan.kind}
    for field in plan.fields:
        value = getattr(record, field.name)
        # By their text: a zero with a sign equals the default zero, and NaN does not equal itself.
        if field.default is MISSING or repr(value) != repr(field.default):
            encoded[field.name] = field.encode(value)
    return encoded


def decode(line: Mapping[str, Any]) -> Event:
    """Return the record of a JSON object.

    Raises:
        LogError: Not a record, a kind that this version does not know, or a field that is missing or wrong.
    """
    kind = line.get("kind")
    if kind == "MarkReached":
        try:
            return _mark_reached(line)
        except (KeyError, TypeError, ValueError):
            pass  # The general way finds the words for it.
    plan = _PLANS.get(kind) if isinstance(kind, str) else None
    if plan is None:
        raise LogError(
            f"a record of the log is of kind {kind!r}, which this version does not know; "
            "read it with the version that wrote it"
        )
    found: dict[str, Any] = {}
    for field in plan.fields:
        if field.name in line:
            try:
                found[field.name] = field.decode(line[field.name])
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise LogError(f"{_place(line)}: {field.name} cannot be read ({error})") from None
        elif field.default is MISSING:
            raise LogError(f"{_place(line)}: the field {field.name} is missing")
    record: Event = plan.build(**found)
    return record


def to_line(record: Event) -> str:
    """Return a record as one line of JSON, without its newline."""
    return json.dumps(encode(record), separators=(",", ":"), allow_nan=False)


def from_line(line: str | bytes) -> Event:
    """Undo `to_line`.

    Raises:
        LogError: Not JSON, or not a record.
    """
    try:
        parsed = json.loads(line)
    except ValueError as error:
        raise LogError(f"a line of the log is not JSON ({error}): {line[:120]!r}") from None
    if not isinstance(parsed, dict):
        raise LogError(f"a line of the log is not an object: {line[:120]!r}")
    return decode(parsed)


def from_lines(lines: Sequence[bytes], *, source: str) -> list[Event]:
    """Return the records of many lines, twice as fast as one by one.

    Raises:
        LogError: One of them is not JSON, or not a record; the text has its number, from 1, and `source`.
    """
    records: list[Event] = []
    with collector_paused():
        for first in range(0, len(lines), _BLOCK):
            block = lines[first : first + _BLOCK]
            try:
                parsed = json.loads(b"[" + b",".join(block) + b"]")
                if len(parsed) != len(block):
                    raise ValueError("lines that are not one value each")
                records += map(decode, parsed)
            except (ValueError, AttributeError, LogError):
                records += _one_by_one(block, first=first + 1, source=source)
    return records


def _one_by_one(lines: Sequence[bytes], *, first: int, source: str) -> Iterator[Event]:
    for number, line in enumerate(lines, start=first):
        try:
            yield from_line(line)
        except LogError as error:
            raise LogError(f"line {number} of {source}: {error}") from None


def _mark_reached(line: Mapping[str, Any]) -> MarkReached:
    """The kind that makes up nearly all of a log, without detours."""
    at = line["at"]
    learning_rate = at["learning_rate"]
    return MarkReached(
        sequence=_whole(line["sequence"]),
        time=_number(line["time"]),
        trial=_whole(line["trial"]),
        attempt=_whole(line["attempt"]),
        at=MarkValue(
            mark=_whole(at["mark"]),
            value=_number(at["value"]),
            best=_number(at["best"]),
            mean=_number(at["mean"]),
            learning_rate=None if learning_rate is None else _number(learning_rate),
        ),
    )


def _number(value: object) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        return float(value)
    if isinstance(value, str) and value in _WORDS:
        return _WORDS[value]
    raise ValueError(f"expected a number, found {value!r:.60}")


def _from_number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _whole(value: object) -> int:
    if type(value) is int:
        return value
    raise ValueError(f"expected a whole number, found {value!r:.60}")


def _text(value: object) -> str:
    if isinstance(value, str):
        return intern(value)
    raise ValueError(f"expected a text, found {value!r:.60}")


def _truth(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(f"expected true or false, found {value!r:.60}")


def _from_scalar(value: Scalar) -> Any:
    """A parameter's number that is not finite would read back as a word, so it gets a shape of its own."""
    return {"number": _from_number(value)} if isinstance(value, float) and not math.isfinite(value) else value


def _scalar(value: object) -> Scalar:
    if isinstance(value, Mapping):
        return _number(value["number"])
    if isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"expected a text, a number or a boolean, found {value!r:.60}")


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    encode: _Convert
    decode: _Convert
    default: Any


@dataclass(frozen=True, slots=True)
class _Plan:
    kind: str
    build: Callable[..., Any]
    fields: tuple[_Field, ...]


def _same(value: Any) -> Any:
    return value


def _converters(hint: Any) -> tuple[_Convert, _Convert]:
    """Return how a field of this type is written and read."""
    simple: dict[Any, tuple[_Convert, _Convert]] = {
        int: (_same, _whole),
        float: (_from_number, _number),
        str: (_same, _text),
        bool: (_same, _truth),
        Scalar: (_from_scalar, _scalar),
    }
    if hint in simple:
        return simple[hint]
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return str, hint
    if hint is MarkValue:
        plan = _plan(MarkValue)
        return (
            lambda at: {field.name: field.encode(getattr(at, field.name)) for field in plan.fields},
            lambda at: MarkValue(**{field.name: field.decode(at.get(field.name)) for field in plan.fields}),
        )
    if get_origin(hint) in (Mapping, dict):
        write, read = _converters(get_args(hint)[1])
        return (
            lambda value: {name: write(one) for name, one in value.items()},
            lambda value: {_text(name): read(one) for name, one in value.items()},
        )
    inner = [one for one in get_args(hint) if one is not type(None)]
    if len(inner) == 1:
        write, read = _converters(inner[0])
        return (
            lambda value: None if value is None else write(value),
            lambda value: None if value is None else read(value),
        )
    raise TypeError(f"records have no fields of type {hint!r}")


def _plan(kind: type) -> _Plan:
    hints = get_type_hints(kind)
    return _Plan(
        kind.__name__,
        kind,
        tuple(_Field(one.name, *_converters(hints[one.name]), one.default) for one in fields(kind)),
    )


def _place(line: Mapping[str, Any]) -> str:
    return f"record {line.get('sequence', '?')} of the log ({line.get('kind')})"


_KINDS: Final = (
    *(
        kind
        for kind in vars(events).values()
        if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
    ),
    Decision,
)
_PLANS: Final = {kind.__name__: _plan(kind) for kind in _KINDS}
