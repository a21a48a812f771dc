"""The CustomResourceDefinitions, rendered from the models: ``python -m tuning_operator.api.crds crds/``.

Validation lives in the CRD (no webhook): closed enums, bounds, CEL rules with messages. What cannot be said there is
checked by the operator and becomes a condition.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from tuning_operator.api.metadata import GROUP, VERSION
from tuning_operator.api.structural import Schema, structural
from tuning_operator.api.trial import Trial
from tuning_operator.api.tuning_job import TuningJob
from tuning_operator.schema import Manifest

HEADER: Final = "# Generated from the models in operator/tuning_operator/api by `make generate`; do not edit.\n"
_NAME_LIMIT: Final = 52


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of ``kubectl get``."""

    name: str
    path: str
    type: str = "string"
    description: str = ""
    wide: bool = False

    def render(self) -> Schema:
        """Return the column as the CRD writes it."""
        out: Schema = {"name": self.name, "type": self.type, "jsonPath": self.path}
        if self.description:
            out["description"] = self.description
        if self.wide:
            out["priority"] = 1
        return out


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a CRD says beside the schema."""

    model: type[Manifest]
    plural: str
    short_names: tuple[str, ...]
    columns: tuple[Column, ...]
    selectable: tuple[str, ...] = ()
    rules: tuple[Mapping[str, str], ...] = ()


def _frozen(field: str) -> dict[str, str]:
    """Return the rule that a part of the spec stays as it is once the job has started."""
    return {
        "rule": f"!has(oldSelf.status) || !has(oldSelf.status.startTime) || self.spec.{field} == oldSelf.spec.{field}",
        "message": f"spec.{field} cannot change once the job has started; make a new TuningJob",
        "reason": "FieldValueForbidden",
        "fieldPath": f".spec.{field}",
    }


_CANCELLED: Final = {
    "rule": "!has(oldSelf.spec.cancel) || !oldSelf.spec.cancel || (has(self.spec.cancel) && self.spec.cancel)",
    "message": "a job that was cancelled stays so; make a new TuningJob",
    "reason": "FieldValueForbidden",
    "fieldPath": ".spec.cancel",
}

KINDS: Final = (
    Kind(
        model=TuningJob,
        plural="tuningjobs",
        short_names=("tj",),
        columns=(
            Column(name="State", path=".status.conditions[?(@.status=='True')].reason"),
            Column(name="Best", path=".status.best.value", description="Value of the best trial"),
            Column(name="Trial", path=".status.best.name", description="The best trial"),
            Column(name="Running", path=".status.trials.running", type="integer"),
            Column(name="Completed", path=".status.trials.completed", type="integer"),
            Column(name="Stopped", path=".status.trials.stoppedEarly", type="integer"),
            Column(name="Failed", path=".status.trials.failed", type="integer"),
            Column(name="LR-Changes", path=".status.learningRateChanges", type="integer", wide=True),
            Column(name="GPU-Hours", path=".status.gpuHoursUsed"),
            Column(name="Saved", path=".status.gpuHoursSaved", wide=True),
            Column(name="Age", path=".metadata.creationTimestamp", type="date"),
        ),
        rules=(_frozen("parameters"), _frozen("objective"), _frozen("axis"), _CANCELLED),
    ),
    Kind(
        model=Trial,
        plural="trials",
        short_names=("tl",),
        columns=(
            Column(name="Job", path=".spec.job", wide=True),
            Column(name="Wanted", path=".spec.desired"),
            Column(name="Done", path=".status.fraction", description="Fraction of the planned schedule"),
            Column(name="Value", path=".status.value", description="Newest value of the objective"),
            Column(name="Best", path=".status.best"),
            Column(name="LR", path=".status.learningRate", description="Learning rate in force"),
            Column(name="LR-Scale", path=".spec.control.learningRateScale", type="number"),
            Column(name="Attempt", path=".status.attempt", type="integer", wide=True),
            Column(
                name="State",
                path=".status.conditions[?(@.type=='Running')].reason",
                description="What it does, or why it ended",
            ),
            Column(name="Age", path=".metadata.creationTimestamp", type="date"),
        ),
        selectable=(".spec.job", ".spec.desired"),
        rules=(
            {
                "rule": "self.spec.job == oldSelf.spec.job && self.spec.number == oldSelf.spec.number",
                "message": "a Trial keeps its job and its number",
                "reason": "FieldValueForbidden",
                "fieldPath": ".spec.number",
            },
        ),
    ),
)


def render(kind: Kind) -> Schema:
    """Return one CustomResourceDefinition.

    Raises:
        SchemaError: A model has no structural schema.
    """
    name = kind.model.__name__
    model_schema = kind.model.model_json_schema(by_alias=True, mode="validation")
    del model_schema["properties"]["metadata"]
    schema = structural(model_schema)
    schema["properties"] |= {
        "apiVersion": {"type": "string", "description": "Group and version of this object."},
        "kind": {"type": "string", "description": "Kind of this object."},
        "metadata": {"type": "object"},
    }
    schema["required"] = ["spec"]
    schema["x-kubernetes-validations"] = [
        {
            "rule": f"size(self.metadata.name) <= {_NAME_LIMIT}",
            "message": f"the name may have at most {_NAME_LIMIT} characters, so that a trial's number fits behind it",
        },
        *(dict(rule) for rule in kind.rules),
    ]
    version: Schema = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [column.render() for column in kind.columns],
        "schema": {"openAPIV3Schema": schema},
    }
    if kind.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in kind.selectable]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": name,
                "listKind": f"{name}List",
                "plural": kind.plural,
                "singular": name.lower(),
                "shortNames": sorted(kind.short_names),
                "categories": ["tuning"],
            },
            "versions": [version],
        },
    }


def write(folder: Path) -> list[Path]:
    """Write all CRDs, one file each, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in KINDS:
        path = folder / f"{kind.plural}.yaml"
        path.write_text(HEADER + yaml.dump(render(kind), sort_keys=True, width=120, Dumper=_Plain))
        written.append(path)
    return written


class _Plain(yaml.SafeDumper):
    """YAML without anchors: two equal parts are written twice, as every reader expects."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


def main(arguments: Sequence[str]) -> int:
    """Write the CRDs into the folder that the command line names."""
    for path in write(Path(arguments[0]) if arguments else Path("crds")):
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
