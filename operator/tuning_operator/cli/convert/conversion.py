"""The conversion as a whole: a foreign object in, a TuningJob and the table out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tuning_operator.api.metadata import API_VERSION
from tuning_operator.cli.convert.experiment import convert_experiment
from tuning_operator.cli.convert.optimization_job import convert_optimization_job
from tuning_operator.cli.convert.report import Fields, Outcome, Report, Row
from tuning_operator.cli.convert.settings import Settings
from tuning_operator.errors import ManifestError, Problem
from tuning_operator.search.check import load_job

_KINDS: Final[Mapping[tuple[str, str], Callable[[Fields, Settings], dict[str, Any] | None]]] = {
    ("kubeflow.org", "Experiment"): convert_experiment,
    ("trainer.kubeflow.org", "OptimizationJob"): convert_optimization_job,
}
_OF_A_CLUSTER: Final = frozenset({"kubectl.kubernetes.io/last-applied-configuration"})


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A finished conversion.

    Attributes:
        manifest: The TuningJob; None if there is none that could be accepted.
        rows: What became of each field.
    """

    manifest: Mapping[str, Any] | None
    rows: tuple[Row, ...]

    def of(self, outcome: Outcome) -> list[Row]:
        """Return the rows with one outcome."""
        return [row for row in self.rows if row.outcome is outcome]


def convert(data: object, settings: Settings, *, source: str = "manifest") -> Conversion:
    """Convert a Katib ``Experiment`` or a Kubeflow ``OptimizationJob``.

    Raises:
        ManifestError: It is neither.
    """
    kind = (str(data.get("apiVersion", "")).partition("/")[0], str(data.get("kind"))) if isinstance(data, dict) else ()
    convert_kind = _KINDS.get(kind)  # type: ignore[arg-type]
    if convert_kind is None:
        expected = "a Katib Experiment (kubeflow.org) or an OptimizationJob (trainer.kubeflow.org)"
        found = " ".join(map(str, kind)).strip() or "something else"
        raise ManifestError([Problem(path="kind", found=found, expected=expected)], source=source)
    report = Report()
    whole = Fields(data, "", report)
    for name in ("apiVersion", "kind", "status"):
        whole.take(name)
    metadata = _metadata(whole.fields("metadata"))
    spec = whole.fields("spec")
    converted = convert_kind(spec, settings)
    spec.finish()
    whole.finish()
    if converted is None:
        return Conversion(manifest=None, rows=tuple(report.rows))
    manifest = {"apiVersion": API_VERSION, "kind": "TuningJob", "metadata": metadata, "spec": converted}
    try:
        load_job(manifest, source=source)
    except ManifestError as error:
        for problem in error.problems:
            report.refuse(problem.path, f"the TuningJob would be refused: {problem}")
        return Conversion(manifest=None, rows=tuple(report.rows))
    return Conversion(manifest=manifest, rows=tuple(report.rows))


def _metadata(metadata: Fields) -> dict[str, Any]:
    """Return what a person wrote; what a cluster added is left out without a word."""
    found: dict[str, Any] = {"name": metadata.text("name")}
    for name in ("namespace", "labels", "annotations"):
        value = metadata.take(name)
        if isinstance(value, dict):
            value = {key: one for key, one in value.items() if key not in _OF_A_CLUSTER}
        if value:
            found[name] = value
    return found
