"""Source trees of pinned Go modules, for the files in them that are not programs."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from tests.testbed.binaries import MODULES
from tests.testbed.errors import TestbedError, Unavailable

PROMETHEUS_OPERATOR = "github.com/prometheus-operator/prometheus-operator"
_DOWNLOAD_TIMEOUT = 300.0


def source_folder(name: str, module: str) -> Path:
    """The folder of `module` as `modules/<name>` pins it, downloaded now if need be."""
    go = shutil.which("go")
    if go is None:
        raise Unavailable(f"the source of {module} is fetched by Go, which is not there")
    answer = subprocess.run(
        [go, "mod", "download", "-json", module],
        cwd=MODULES / name,
        capture_output=True,
        text=True,
        timeout=_DOWNLOAD_TIMEOUT,
        check=False,
    )
    if answer.returncode:
        raise TestbedError(f"downloading {module} failed: {answer.stderr.strip() or answer.stdout.strip()}")
    return Path(json.loads(answer.stdout)["Dir"])


def monitoring_crds() -> list[Path]:
    """Prometheus Operator's CRDs of what a chart may contain."""
    folder = source_folder("prometheus-operator", PROMETHEUS_OPERATOR) / "example/prometheus-operator-crd"
    return [folder / f"monitoring.coreos.com_{plural}.yaml" for plural in ("podmonitors", "prometheusrules")]
