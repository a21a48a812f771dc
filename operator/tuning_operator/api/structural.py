"""From pydantic's JSON schema to Kubernetes' structural schema, or a refusal that names the place.

Kubernetes accepts only part of JSON schema (no references, no null, no unions of objects; KEP-2335), and its cost
estimate for CEL needs a bound on every list, string and map. What cannot be said in that part is refused here, at
generation, instead of by an API server later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tuning_operator.errors import SchemaError

Schema = dict[str, Any]

_KEPT: Final = (
    "description",
    "type",
    "format",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
)
_SCALARS: Final = {"boolean", "integer", "number", "string"}


def structural(model_schema: Mapping[str, Any]) -> Schema:
    """Return the structural form of what `BaseModel.model_json_schema` gave.

    Raises:
        SchemaError: A place that Kubernetes would refuse, with its path.
    """
    return _Walk(model_schema.get("$defs", {})).walk(model_schema, "", ())


class _Walk:
    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions

    def walk(self, node: Mapping[str, Any], path: str, seen: tuple[str, ...]) -> Schema:
        if "$ref" in node:
            return self._reference(node, path, seen)
        if "anyOf" in node:
            return self._any_of(node, path, seen)
        if "oneOf" in node:
            return self._union(node, path, seen)
        for refused in ("allOf", "prefixItems", "not", "if"):
            if refused in node:
                raise SchemaError(f"{path or 'the root'}: {refused} has no structural form; use another type")
        out = {key: node[key] for key in _KEPT if key in node}
        out |= {key: value for key, value in node.items() if key.startswith("x-kubernetes-")}
        if groups := node.get("x-one-of-required"):
            out["oneOf"] = [{"required": list(group)} for group in groups]
        if "const" in node:
            out |= {"type": "string", "enum": [node["const"]]}
        for bound in ("Minimum", "Maximum"):
            if f"exclusive{bound}" in node:
                out[bound.lower()] = node[f"exclusive{bound}"]
                out[f"exclusive{bound}"] = True
        if node.get("x-stable-default"):
            out["default"] = node["default"]
        return self._typed(node, out, path, seen)

    def _typed(self, node: Mapping[str, Any], out: Schema, path: str, seen: tuple[str, ...]) -> Schema:
        match out.get("type"):
            case "object":
                return self._object(node, out, path, seen)
            case "array":
                if "maxItems" not in out:
                    raise SchemaError(f"{path}: a list needs max_length")
                out.setdefault("x-kubernetes-list-type", "atomic")
                out["items"] = self.walk(node["items"], f"{path}[]", seen)
            case "string":
                if not {"maxLength", "enum"} & set(out) and out.get("format") != "date-time":
                    raise SchemaError(f"{path}: a string needs max_length or an enum")
            case "boolean" | "integer" | "number":
                pass
            case other:
                if not out.get("x-kubernetes-preserve-unknown-fields"):
                    raise SchemaError(f"{path}: {other!r} is not a type that Kubernetes knows")
        return out

    def _object(self, node: Mapping[str, Any], out: Schema, path: str, seen: tuple[str, ...]) -> Schema:
        if "properties" in node:
            out["properties"] = {
                name: self.walk(child, f"{path}.{name}", seen) for name, child in node["properties"].items()
            }
            return out
        values = node.get("additionalProperties")
        if values is None and (patterns := node.get("patternProperties")):
            (values,) = patterns.values()
        if isinstance(values, Mapping):
            if "maxProperties" not in out:
                raise SchemaError(f"{path}: a map needs max_length")
            out["additionalProperties"] = self.walk(values, f"{path}.*", seen)
        else:
            out["x-kubernetes-preserve-unknown-fields"] = True
        return out

    def _reference(self, node: Mapping[str, Any], path: str, seen: tuple[str, ...]) -> Schema:
        name = node["$ref"].rpartition("/")[2]
        if name in seen:
            raise SchemaError(f"{path}: {name} contains itself; Kubernetes has no recursive schemas")
        siblings = {key: value for key, value in node.items() if key != "$ref"}
        return self.walk({**self._definitions[name], **siblings}, path, (*seen, name))

    def _any_of(self, node: Mapping[str, Any], path: str, seen: tuple[str, ...]) -> Schema:
        """Resolve ``T | None`` to T (absence says what null would) and a union of scalars to a value of any type."""
        members = [member for member in node["anyOf"] if member.get("type") != "null"]
        siblings = {key: value for key, value in node.items() if key not in ("anyOf", "default")}
        if len(members) == 1:
            return self.walk({**members[0], **siblings}, path, seen)
        if {member.get("type") for member in members} <= _SCALARS:
            return {
                **{key: value for key, value in siblings.items() if key in _KEPT},
                "x-kubernetes-preserve-unknown-fields": True,
            }
        raise SchemaError(f"{path}: a union of objects needs a discriminator")

    def _union(self, node: Mapping[str, Any], path: str, seen: tuple[str, ...]) -> Schema:
        """Merge a discriminated union to one object; CEL says which field belongs to which member."""
        tag = node.get("discriminator", {}).get("propertyName")
        if tag is None:
            raise SchemaError(f"{path}: a union of objects needs a discriminator")
        members = [self.walk(member, path, seen) for member in node["oneOf"]]
        names = [member["properties"][tag]["enum"][0] for member in members]
        owners: dict[str, list[str]] = {}
        merged: dict[str, Schema] = {}
        for name, member in zip(names, members, strict=True):
            for field, schema in member["properties"].items():
                owners.setdefault(field, []).append(name)
                merged[field] = _common(merged[field], schema, f"{path}.{field}") if field in merged else schema
        merged[tag] = {"type": "string", "enum": names, "description": "Name of the rule."}
        rules = [
            {
                "rule": f"!has(self.{field}) || self.{tag} in {owners[field]!r}",
                "message": f"{field} belongs to {' or '.join(owners[field])}",
                "fieldPath": f".{field}",
            }
            for field in merged
            if len(owners[field]) < len(names)
        ]
        out: Schema = {"type": "object", "required": [tag], "properties": merged}
        if rules:
            out["x-kubernetes-validations"] = rules
        return out


def _common(first: Schema, second: Schema, path: str) -> Schema:
    """Return what two members of a union say alike about a field; the stricter part is checked by the operator."""
    if first.get("type") != second.get("type"):
        raise SchemaError(f"{path}: has two types in one union ({first.get('type')}, {second.get('type')})")
    common = {key: value for key, value in first.items() if second.get(key) == value}
    descriptions = dict.fromkeys(str(schema["description"]) for schema in (first, second) if "description" in schema)
    return {**common, "description": " / ".join(descriptions)} if descriptions else common
