"""Group, version and the part of ObjectMeta that we read."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from tuning_operator.schema import Manifest

GROUP: Final = "tuning-operator.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final[Literal["tuning-operator.io/v1alpha1"]] = "tuning-operator.io/v1alpha1"


class ObjectMeta(Manifest):
    """Kubernetes' own metadata; fields that we do not read are kept as they are."""

    model_config = ConfigDict(extra="allow", alias_generator=to_camel, populate_by_name=True, frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=52, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    """Name of the object; short enough that a trial's number still fits behind it."""
    namespace: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    generation: int | None = None
