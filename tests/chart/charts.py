"""The chart through the eyes of a helm, version 3 or 4."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.testbed.binaries import binary

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "tuning-operator"
MATRIX = tuple(sorted((CHART / "ci").glob("*-values.yaml")))
HELMS = ("helm", "helm3")
MONITORING = "monitoring.coreos.com/v1"
Object = dict[str, Any]


class HelmError(Exception):
    """What helm said when it refused."""


@dataclass(frozen=True)
class Helm:
    """One helm, whose caches and settings are its own.

    Attributes:
        program: `helm` or `helm3`, as the test bed calls them.
        home: Where it keeps what it keeps.
    """

    program: str
    home: Path
    kubeconfig: Path | None = None

    def __call__(self, *arguments: str | Path, timeout: float = 90.0) -> str:
        """Return what helm prints, warnings included.

        Raises:
            HelmError: It failed.
        """
        places = {f"HELM_{kind}_HOME": str(self.home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), **places}
        if self.kubeconfig is not None:
            environment["KUBECONFIG"] = str(self.kubeconfig)
        answer = subprocess.run(
            [binary(self.program), *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        if answer.returncode:
            raise HelmError(answer.stderr + answer.stdout)
        return answer.stdout + answer.stderr

    def template(
        self,
        *arguments: str | Path,
        values: Mapping[str, Any] | Path | None = None,
        namespace: str = "tuning-system",
        chart: Path = CHART,
    ) -> list[Object]:
        """Return what the chart renders to."""
        given = [] if values is None else ["--values", values if isinstance(values, Path) else self.write(values)]
        options = ("--namespace", namespace, "--kube-version", "1.36.4")
        text = self("template", "tuning-operator", chart, *options, *given, *arguments)
        return [document for document in yaml.safe_load_all(text) if document]

    def write(self, values: Mapping[str, Any]) -> Path:
        """Return a file with these values."""
        path = self.home / "values.yaml"
        path.write_text(yaml.safe_dump(dict(values)))
        return path


def of_kind(objects: Iterable[Object], *kinds: str) -> list[Object]:
    """Return the objects of some kinds."""
    return [body for body in objects if body["kind"] in kinds]


def one(objects: Iterable[Object], kind: str, name: str | None = None) -> Object:
    """Return the only object of a kind, or the one of this name."""
    (found,) = [body for body in of_kind(objects, kind) if name in (None, body["metadata"]["name"])]
    return found


def names(objects: Sequence[Object]) -> list[tuple[str, str, str]]:
    """Return (namespace, kind, name) of each; the namespace is empty for what belongs to the whole cluster."""
    return sorted((body["metadata"].get("namespace", ""), body["kind"], body["metadata"]["name"]) for body in objects)
