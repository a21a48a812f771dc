"""A value that nobody has heard of, or of another kind, is refused by its name before anything is changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from helm.values import Values
from tests.chart.charts import CHART, Helm, HelmError

SCHEMA = json.loads((CHART / "values.schema.json").read_text())


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"replica": 2}, ["replica"]),
        ({"image": {"tga": "1"}}, ["/image", "tga"]),
        ({"networkPolicy": {"prometheus": [{"namespace": "x"}]}}, ["/networkPolicy/prometheus/0", "namespace"]),
        ({"tolerations": [{"keys": "x"}]}, ["/tolerations/0", "keys"]),
        ({"resources": {"request": {}}}, ["/resources", "request"]),
        ({"extraEnv": [{"name": "A", "vale": "b"}]}, ["/extraEnv/0", "vale"]),
        ({"replicas": "two"}, ["/replicas"]),
        ({"replicas": 9}, ["/replicas"]),
        ({"image": {"digest": "sha256:1234"}}, ["/image/digest"]),
        ({"namespaces": "red"}, ["/namespaces"]),
        ({"namespaces": ["Red"]}, ["/namespaces/0"]),
        ({"logLevel": "LOUD"}, ["/logLevel", "WARNING"]),
        ({"podMonitor": {"interval": "15"}}, ["/podMonitor/interval"]),
        ({"labels": {"a": 1}}, ["/labels/a"]),
    ],
)
def test_a_mistake_is_refused_by_name(helm: Helm, values: dict[str, Any], place: list[str]) -> None:
    with pytest.raises(HelmError) as caught:
        helm.template(values=values)
    for word in place:
        assert word in str(caught.value)


def test_what_a_chart_around_this_one_passes_down_is_accepted(helm: Helm) -> None:
    assert helm.template(values={"global": {"imageRegistry": "anything"}})


def test_the_defaults_are_valid_and_complete() -> None:
    written = yaml.safe_load((CHART / "values.yaml").read_text())
    assert Values.model_validate(written).model_dump(by_alias=True) == written


def _objects(schema: Any, at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if "properties" in schema:
            yield at, schema
        for key, part in schema.items():
            yield from _objects(part, f"{at}/{key}")
    elif isinstance(schema, list):
        for index, part in enumerate(schema):
            yield from _objects(part, f"{at}/{index}")


def test_the_schema_is_closed_everywhere_and_says_what_each_value_is_for() -> None:
    found = dict(_objects(SCHEMA))
    assert len(found) > 15
    for place, schema in found.items():
        assert schema["additionalProperties"] is False, place
    for name, schema in SCHEMA["properties"].items():
        described = schema.get("description") or SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]["description"]
        assert len(described) > 10, name
