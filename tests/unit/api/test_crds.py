from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tuning_operator.api.crds import KINDS, render, write

CRDS = Path(__file__).parents[3] / "crds"


def nodes(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        yield path, schema
        for name, child in schema.get("properties", {}).items():
            yield from nodes(child, f"{path}.{name}")
        yield from nodes(schema.get("items"), f"{path}[]")
        yield from nodes(schema.get("additionalProperties"), f"{path}.*")


def schema_of(kind: Any) -> dict[str, Any]:
    schema: dict[str, Any] = render(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def test_the_committed_crds_are_the_rendered_ones(tmp_path: Path) -> None:
    for path in write(tmp_path):
        assert path.read_text() == (CRDS / path.name).read_text(), "run `make generate`"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_every_place_has_a_type_and_a_bound(kind: Any) -> None:
    for path, schema in nodes(schema_of(kind)):
        preserved = schema.get("x-kubernetes-preserve-unknown-fields")
        assert preserved or "type" in schema, path
        if schema.get("type") == "array":
            assert "maxItems" in schema, path
            assert "x-kubernetes-list-type" in schema, path
        if schema.get("type") == "string" and path not in (".apiVersion", ".kind"):
            assert "maxLength" in schema or "enum" in schema or schema.get("format") == "date-time", path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_explain_has_a_text_for_every_field_of_the_spec(kind: Any) -> None:
    spec = schema_of(kind)["properties"]["spec"]
    silent = [path for path, schema in nodes(spec) if "description" not in schema and not path.endswith(("[]", "*"))]
    assert silent == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_status_is_a_subresource_and_conditions_merge_by_type(kind: Any) -> None:
    assert render(kind)["spec"]["versions"][0]["subresources"] == {"status": {}}
    conditions = schema_of(kind)["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]


def test_a_crd_stays_far_from_the_limit_of_client_side_apply() -> None:
    assert max(len(yaml.dump(render(kind))) for kind in KINDS) < 128 * 1024
