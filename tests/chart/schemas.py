"""JSON schemas for kubeconform from a running API server, so that no network and no second source is needed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.testbed.controlplane import ControlPlane

#: Where kubeconform looks for one kind, below the folder.
TEMPLATE = "{{ .ResourceKind }}-{{ .Group }}-{{ .ResourceAPIVersion }}.json"


def write_schemas(plane: ControlPlane, groups: Iterable[str], folder: Path) -> None:
    """Write a file for every kind of some groups, such as `api/v1` and `apis/apps/v1`, as the server publishes it.

    The server's schemas allow fields that they do not list; here those are refused, as the server refuses them when it
    is asked to validate strictly.
    """
    index = json.loads(plane.kubectl("get", "--raw", "/openapi/v3"))["paths"]
    for group in groups:
        found = json.loads(plane.kubectl("get", "--raw", index[group]["serverRelativeURL"]))
        components = {name: _closed(schema) for name, schema in found["components"]["schemas"].items()}
        shared = {"schemas": components}
        for name, schema in components.items():
            for kind in schema.get("x-kubernetes-group-version-kind", ()):
                # kubeconform takes what stands before a slash in apiVersion for the group, and of `v1` that is all.
                file = f"{kind['kind'].lower()}-{kind['group'] or kind['version']}-{kind['version']}.json"
                top = {"$ref": f"#/components/schemas/{name}", "components": shared}
                (folder / file).write_text(json.dumps(top))


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: _closed(part) for key, part in schema.items()}
    if isinstance(out.get("properties"), dict) and not out.get("x-kubernetes-preserve-unknown-fields"):
        out.setdefault("additionalProperties", False)
    return out
