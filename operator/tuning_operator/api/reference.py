"""The API reference, rendered from the models: ``python -m tuning_operator.api.reference docs/api-reference.md``.

One section an object, in the order in which a manifest reaches them; one row a field, with its type, bounds, default
and meaning. Rules over several fields (those that the API server checks by CEL) stand below their table.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tuning_operator.api.crds import KINDS, Kind
from tuning_operator.api.metadata import API_VERSION

Schema = Mapping[str, Any]
_HEADER: Final = f"""\
<!-- Generated from the models in operator/tuning_operator/api by `make generate`; do not edit. -->
# API reference

Group and version `{API_VERSION}`. A *TuningJob* is what you write; *Trials* are written by the operator,
one for each configuration. `kubectl explain tuningjob.spec` says the same on a cluster.
"""
_NOT_OURS: Final = frozenset({"ObjectMeta"})


def render(kinds: Sequence[Kind] = KINDS) -> str:
    """Return the whole page as Markdown. An object that two kinds share is described once."""
    lines, shown = [_HEADER], set(_NOT_OURS)
    for kind in kinds:
        schema = kind.model.model_json_schema(by_alias=True, mode="validation")
        definitions: Schema = schema["$defs"]
        lines += [f"## {kind.model.__name__}", "", schema["description"], ""]
        names = ", ".join(f"`{name}`" for name in (kind.plural, *kind.short_names))
        lines += [f"`kubectl get` knows it as {names}.", ""]
        for rule in kind.rules:
            lines.append(f"- {_sentence(rule['message'])}")
        lines.append("")
        for name in _reached(schema, definitions):
            if name not in shown and "properties" in definitions[name]:
                shown.add(name)
                lines += _section(name, definitions)
    return "\n".join(lines).rstrip() + "\n"


def _reached(schema: Schema, definitions: Schema) -> list[str]:
    """Return the definitions below a schema, breadth first: a reader meets ``spec`` before its parts."""
    found: list[str] = []
    waiting = list(_references(schema.get("properties", {})))
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found.append(name)
            waiting += _references(definitions[name].get("properties", {}))
    return found


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if "$ref" in value:
            yield _name(value["$ref"])
        for key, below in value.items():
            if key != "discriminator":
                yield from _references(below)
    elif isinstance(value, list):
        for below in value:
            yield from _references(below)


def _section(name: str, definitions: Schema) -> list[str]:
    schema = definitions[name]
    lines = [f"### {name}", "", _cell(schema.get("description", "")), ""]
    lines += ["| field | type | default | meaning |", "| --- | --- | --- | --- |"]
    required = schema.get("required", ())
    for field, below in schema["properties"].items():
        default = "*required*" if field in required else _default(below)
        lines.append(f"| `{field}` | {_type(below, definitions)} | {default} | {_meaning(below, definitions)} |")
    lines.append("")
    rules = [_sentence(rule["message"]) for rule in schema.get("x-kubernetes-validations", ())]
    return [*lines, *(f"- {rule}" for rule in rules), *([""] if rules else [])]


def _meaning(schema: Schema, definitions: Schema) -> str:
    """Return what a field says of itself, or else what its object says."""
    if "description" in schema:
        return _cell(schema["description"])
    references = list(_references(schema))
    return _cell(definitions[references[0]].get("description", "")) if references else ""


def _type(schema: Schema, definitions: Schema) -> str:
    """Return a field's type in a reader's words, with its bounds."""
    if "$ref" in schema:
        name = _name(schema["$ref"])
        target = definitions[name]
        if "enum" in target:
            return ", ".join(f"`{value}`" for value in target["enum"])
        return f"[{name}](#{name.lower()})" if "properties" in target else _type(target, definitions)
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return " or ".join(dict.fromkeys(_type(one, definitions) for one in choices if one.get("type") != "null"))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}), definitions)}{_count(schema, 'Items')}"
    if kind == "object":
        values = schema.get("additionalProperties") or next(iter(schema.get("patternProperties", {}).values()), None)
        return f"map to {_type(values, definitions)}" if isinstance(values, Mapping) else "object"
    if schema.get("pattern", "").endswith("ms)?$"):
        return "duration, such as `1h30m` or `500ms`"
    return f"{kind}{_bounds(schema)}"


def _bounds(schema: Schema) -> str:
    words = [
        f"{sign} {schema[key]:.10g}"
        for key, sign in (("exclusiveMinimum", ">"), ("minimum", "≥"), ("exclusiveMaximum", "<"), ("maximum", "≤"))
        if key in schema
    ]
    return f", {', '.join(words)}" if words else ""


def _count(schema: Schema, of: str) -> str:
    least, most = schema.get(f"min{of}"), schema.get(f"max{of}")
    if most is None:
        return ""
    return f" ({least} to {most})" if least else f" (at most {most})"


def _default(schema: Schema) -> str:
    default = schema.get("default")
    if default is None or default in ([], {}, "") or isinstance(default, Mapping):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default}`"


def _name(reference: str) -> str:
    return reference.rsplit("/", 1)[-1]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _sentence(text: str) -> str:
    first = text.split(maxsplit=1)[0]
    return f"{text if '.' in first else text[:1].upper() + text[1:]}."


def main(arguments: Sequence[str]) -> int:
    """Write the page into the file that the command line names."""
    Path(arguments[0] if arguments else "docs/api-reference.md").write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
