from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Union

import pytest
from pydantic import BaseModel, ConfigDict, Field

from tuning_operator.api.structural import structural
from tuning_operator.errors import SchemaError
from tuning_operator.schema import STABLE_DEFAULT, Duration, Manifest, ScalarValue

Short = Annotated[str, Field(max_length=8)]


class Colour(StrEnum):
    RED = "Red"
    BLUE = "Blue"


class Apple(Manifest):
    kind: Literal["Apple"] = "Apple"
    weight: Annotated[float, Field(gt=0)] = 1
    worms: Annotated[int, Field(ge=0, le=9)] = 0


class Pear(Manifest):
    kind: Literal["Pear"] = "Pear"
    weight: Annotated[float, Field(gt=0)] = 1


def schema_of(annotation: Any) -> dict[str, Any]:
    class Model(Manifest):
        field: annotation

    return structural(Model.model_json_schema())["properties"]["field"]


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Short, {"type": "string", "maxLength": 8}),
        (Short | None, {"type": "string", "maxLength": 8}),
        (Colour, {"type": "string", "enum": ["Red", "Blue"], "description": "Colour"}),
        (Annotated[float, Field(gt=0)], {"type": "number", "minimum": 0, "exclusiveMinimum": True}),
        (Annotated[float, Field(lt=1)], {"type": "number", "maximum": 1, "exclusiveMaximum": True}),
        (
            Annotated[tuple[Short, ...], Field(max_length=3)],
            {
                "type": "array",
                "maxItems": 3,
                "items": {"type": "string", "maxLength": 8},
                "x-kubernetes-list-type": "atomic",
            },
        ),
        (
            Annotated[dict[str, int], Field(max_length=4)],
            {"type": "object", "maxProperties": 4, "additionalProperties": {"type": "integer"}},
        ),
        (ScalarValue, {"x-kubernetes-preserve-unknown-fields": True}),
        (dict[str, Any], {"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
        (Literal["x"], {"type": "string", "enum": ["x"]}),
    ],
)
def test_each_type_has_its_structural_form(annotation: Any, expected: dict[str, Any]) -> None:
    found = schema_of(annotation)
    if annotation is Colour:
        found.setdefault("description", "Colour")
    assert found == expected


def test_duration_is_a_bounded_string() -> None:
    found = schema_of(Duration)
    assert found["type"] == "string"
    assert found["maxLength"] == 32


def test_only_stable_defaults_are_kept() -> None:
    class Model(Manifest):
        stable: Annotated[int, Field(json_schema_extra=STABLE_DEFAULT)] = 3
        other: int = 4

    properties = structural(Model.model_json_schema())["properties"]
    assert properties["stable"] == {"type": "integer", "default": 3}
    assert properties["other"] == {"type": "integer"}


def test_a_union_becomes_one_object_whose_fields_know_their_member() -> None:
    found = schema_of(Annotated[Union[Apple, Pear], Field(discriminator="kind")])  # noqa: UP007
    assert found["required"] == ["kind"]
    assert found["properties"]["kind"]["enum"] == ["Apple", "Pear"]
    assert found["properties"]["weight"] == {"type": "number", "minimum": 0, "exclusiveMinimum": True}
    assert [rule["message"] for rule in found["x-kubernetes-validations"]] == ["worms belongs to Apple"]


@pytest.mark.parametrize(
    ("annotation", "sentence"),
    [
        (str, "field: a string needs max_length"),
        (tuple[int, ...], "field: a list needs max_length"),
        (dict[str, int], "field: a map needs max_length"),
        (Annotated[tuple[str, ...], Field(max_length=3)], r"field\[\]: a string needs max_length"),
        (tuple[int, str], "prefixItems has no structural form"),
        (Apple | Pear, "a union of objects needs a discriminator"),
    ],
)
def test_what_kubernetes_would_refuse_is_refused_with_its_place(annotation: Any, sentence: str) -> None:
    with pytest.raises(SchemaError, match=sentence):
        schema_of(annotation)


class Node(BaseModel):
    child: Node | None = None


def test_recursion_is_refused() -> None:
    with pytest.raises(SchemaError, match="contains itself"):
        structural(Node.model_json_schema())


def test_groups_of_fields_of_which_exactly_one_must_be_there() -> None:
    class Model(Manifest):
        model_config = ConfigDict(json_schema_extra={"x-one-of-required": [["low", "high"], ["choices"]]})

        low: int | None = None
        high: int | None = None
        choices: int | None = None

    found = structural(Model.model_json_schema())
    assert found["oneOf"] == [{"required": ["low", "high"]}, {"required": ["choices"]}]
