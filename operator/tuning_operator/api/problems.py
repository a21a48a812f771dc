"""Turns what pydantic says about a manifest into plain sentences.

Only the place and the kind of a pydantic error are used; what is allowed there is read from the JSON schema of the
models, so that a new field or rule is described without a line here, and no wording of the library leaks.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final

from pydantic_core import ErrorDetails

from tuning_operator.api.tuning_job import TuningJob
from tuning_operator.api.yaml_text import At
from tuning_operator.errors import Problem
from tuning_operator.schema import DURATION_PATTERN

_PATTERNS: Final = {
    DURATION_PATTERN: "a duration such as 4h, 1h30m, 90s or 500ms",
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$": "a name of lower-case letters, digits and '-' that begins and ends with a "
    "letter or digit",
    r"^[A-Za-z_][A-Za-z0-9_.-]*$": "a name of letters, digits, '_', '.' and '-' that begins with a letter or '_'",
    r"^[a-zA-Z_:][a-zA-Z0-9_:]*$": "a metric name of letters, digits, '_' and ':' that does not begin with a digit",
}
_TYPES: Final = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "string": "a word",
    "array": "a list",
    "object": "a mapping of fields",
}


def problems_of(errors: Iterable[ErrorDetails], data: object) -> list[Problem]:
    """Return one problem for each mistake; several errors about one place become one."""
    found: dict[tuple[At, str, str], Problem] = {}
    for error in errors:
        problem = _problem(error, data)
        if problem is not None:
            found.setdefault((problem.at, problem.found, problem.expected), problem)
    return list(found.values())


def path_text(at: At, data: object) -> str:
    """Return a place in the user's terms; entries with a name go by it: ``spec.parameters[lr].min``."""
    text = ""
    for piece in at:
        inside = _inside(data, piece)
        if isinstance(piece, int):
            text += f"[{_entry_name(data, piece)}]"
        else:
            text += f".{piece}" if text else piece
        data = inside
    return text


def nearest(word: object, allowed: Iterable[str]) -> str:
    """Return "did you mean ...?", or nothing if no allowed word is near."""
    by_small = {name.lower().replace("_", "").replace("-", ""): name for name in allowed}
    wanted = str(word).lower().replace("_", "").replace("-", "")
    near = difflib.get_close_matches(wanted, by_small, n=1, cutoff=0.6)
    return f"did you mean {by_small[near[0]]}?" if near else ""


def show(value: object) -> str:
    """Return a value as a manifest would say it, in a few words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 60 else f'"{value[:57]}..."'
    if isinstance(value, Mapping):
        return "a mapping of fields"
    if isinstance(value, list | tuple):
        return "an empty list" if not value else f"a list of {len(value)}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def listed(words: Sequence[str]) -> str:
    """Return ``a, b or c``."""
    return " or ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def _problem(error: ErrorDetails, data: object) -> Problem | None:
    at, schema, value, is_key = _place(error["loc"], data)
    kind, found = error["type"], error["input"]
    if is_key:
        return Problem(path=path_text(at[:-1], data), found=f"the name {show(at[-1])}", at=at,
                       expected=_PATTERNS[r"^[A-Za-z_][A-Za-z0-9_.-]*$"])  # fmt: skip
    path = path_text(at, data)
    if kind in ("value_error", "assertion_error"):
        sentence = str(error.get("ctx", {}).get("error", "this is not allowed"))
        if sentence.startswith("expected "):
            return Problem(path=path, found=show(found), expected=sentence.removeprefix("expected "), at=at)
        return Problem(path=path, expected=sentence, at=at)
    if kind == "extra_forbidden":
        fields = list(_place(error["loc"][:-1], data)[1].get("properties", {}))
        return Problem(path=path, found="a field that does not exist here", expected=f"one of {', '.join(fields)}",
                       suggestion=nearest(at[-1], fields), at=at)  # fmt: skip
    if kind == "missing":
        return Problem(path=path, found="nothing", expected=_describe(schema), at=at,
                       suggestion=_misspelt(at, data))  # fmt: skip
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        names = list(schema.get("discriminator", {}).get("mapping", {}))
        given = _inside(value, "rule")
        return Problem(path=f"{path}.rule", found=show(given), expected=f"one of {', '.join(names)}",
                       suggestion=nearest(given, names) if given is not None else "", at=(*at, "rule"))  # fmt: skip
    if kind == "too_short" and isinstance(value, list | tuple) and len(value) >= schema.get("minItems", 0):
        return None  # Its entries were dropped because they are wrong, which is said already.
    allowed = [str(word) for word in _alternatives(schema)]
    return Problem(path=path, found=show(found), expected=_describe(schema), at=at,
                   suggestion=nearest(found, allowed) if isinstance(found, str) else "")  # fmt: skip


def _place(location: Sequence[str | int], data: object) -> tuple[At, Mapping[str, Any], object, bool]:
    """Return where an error is, what is allowed there, what is there, and whether it is about a name.

    Pydantic's location also holds the kinds of unions that it tried; they are no part of the user's file.
    """
    at: list[str | int] = []
    schema, is_key = _resolve(_schema()), False
    for piece in location:
        mapping = schema.get("discriminator", {}).get("mapping", {})
        if piece == "[key]":
            is_key = True
        elif piece in mapping and isinstance(data, Mapping):
            schema = _resolve({"$ref": mapping[piece]})
        elif isinstance(piece, int):
            at.append(piece)
            schema, data = _resolve(schema.get("items", {})), _inside(data, piece)
        elif piece in schema.get("properties", {}):
            at.append(piece)
            schema, data = _resolve(schema["properties"][piece]), _inside(data, piece)
        elif isinstance(data, Mapping) and piece in data:
            at.append(piece)
            values = [*schema.get("patternProperties", {}).values(), schema.get("additionalProperties") or {}]
            schema, data = _resolve(values[0]), data[piece]
    return tuple(at), schema, data, is_key


@cache
def _schema() -> dict[str, Any]:
    return TuningJob.model_json_schema()


def _resolve(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in schema:
        return _resolve(_schema()["$defs"][schema["$ref"].rsplit("/", 1)[-1]])
    members = [member for member in schema.get("anyOf", ()) if member.get("type") != "null"]
    return _resolve(members[0]) if len(members) == 1 else schema


def _alternatives(schema: Mapping[str, Any]) -> Sequence[Any]:
    return [schema["const"]] if "const" in schema else schema.get("enum", [])


def _describe(schema: Mapping[str, Any]) -> str:
    if words := _alternatives(schema):
        return ("one of " if len(words) > 1 else "") + ", ".join(map(str, words))
    if schema.get("anyOf"):
        return "a word, a number, true or false"
    if "discriminator" in schema:
        return "a mapping with the field rule"
    if schema.get("pattern") in _PATTERNS:
        longest = schema.get("maxLength")
        text = _PATTERNS[schema["pattern"]]
        return text if longest is None or schema["pattern"] == DURATION_PATTERN else f"{text}, at most {longest} long"
    text = _TYPES.get(schema.get("type", ""), "another value")
    if schema.get("type") == "array":
        return text + _span(schema.get("minItems"), schema.get("maxItems"), " entries")
    if schema.get("type") == "string":
        return text + _span(schema.get("minLength"), schema.get("maxLength"), " letters")
    if schema.get("type") == "object" and "properties" in schema:
        return f"a mapping with fields such as {', '.join(list(schema['properties'])[:3])}"
    least, greatest = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if least is not None and greatest is not None:
        return f"{text} from {least} to {greatest}"
    bounds = [
        f"{word} {bound}"
        for word, bound in (("above", above), ("at least", least), ("below", below), ("at most", greatest))
        if bound is not None
    ]
    return " ".join((text, " and ".join(bounds))).strip()


def _span(least: int | None, greatest: int | None, unit: str) -> str:
    if least is not None and greatest is not None:
        return f" of {least} to {greatest}{unit}"
    return f" of at most {greatest}{unit}" if greatest is not None else ""


def _misspelt(at: At, data: object) -> str:
    """Return the field that was probably meant by a missing one."""
    for piece in at[:-1]:
        data = _inside(data, piece)
    given = list(map(str, data)) if isinstance(data, Mapping) else []
    near = difflib.get_close_matches(str(at[-1]), given, n=1, cutoff=0.7) if at else []
    return f"is it the field {near[0]}?" if near else ""


def _inside(data: object, piece: str | int) -> Any:
    if isinstance(piece, int):
        return data[piece] if isinstance(data, list | tuple) and piece < len(data) else None
    return data.get(piece) if isinstance(data, Mapping) else None


def _entry_name(data: object, index: int) -> str:
    entries = data if isinstance(data, list | tuple) else ()
    names = [_inside(entry, "name") for entry in entries]
    name = names[index] if index < len(names) else None
    return name if isinstance(name, str) and name and names.count(name) == 1 else str(index)
