"""A real API server's word on everything that the chart renders, and its schemas' without it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.chart.charts import CHART, MATRIX, Helm, one
from tests.chart.schemas import TEMPLATE, write_schemas
from tests.testbed.binaries import binary
from tests.testbed.controlplane import ControlPlane
from tests.testbed.errors import TestbedError

GROUPS = (
    "api/v1",
    "apis/apps/v1",
    "apis/rbac.authorization.k8s.io/v1",
    "apis/networking.k8s.io/v1",
    "apis/policy/v1",
    "apis/apiextensions.k8s.io/v1",
    "apis/monitoring.coreos.com/v1",
)
NAMESPACE = "tuning-system"
RENDERED = pytest.mark.parametrize("values", MATRIX, ids=lambda path: path.stem.removesuffix("-values"))


@pytest.fixture(scope="module")
def schemas(own_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schemas")
    write_schemas(own_plane, GROUPS, folder)
    return folder


def conform(schemas: Path, manifests: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [binary("kubeconform"), "-strict", "-summary", "-schema-location", f"{schemas}/{TEMPLATE}", manifests],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@RENDERED
def test_kubeconform_finds_nothing(helm: Helm, schemas: Path, values: Path, tmp_path: Path) -> None:
    path = tmp_path / "rendered.yaml"
    objects = helm.template(values=values, namespace=NAMESPACE)
    path.write_text(yaml.safe_dump_all(objects))
    answer = conform(schemas, path)
    assert answer.returncode == 0, answer.stdout
    assert f"Valid: {len(objects)}, Invalid: 0, Errors: 0, Skipped: 0" in answer.stdout


def test_kubeconform_would_find_an_unknown_field(any_helm: Helm, schemas: Path, tmp_path: Path) -> None:
    path = tmp_path / "rendered.yaml"
    deployment = one(any_helm.template(), "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["readinessProb"] = {}
    path.write_text(yaml.safe_dump(deployment))
    answer = conform(schemas, path)
    assert answer.returncode == 1
    assert "readinessProb" in answer.stdout


@RENDERED
def test_the_api_server_would_accept_it_without_a_warning(
    helm: Helm, own_plane: ControlPlane, restricted: str, values: Path
) -> None:
    objects = helm.template(values=values, namespace=restricted)
    # The test's pod needs its service account to be there; it is created for real on the real node.
    objects = [body for body in objects if body["kind"] != "Pod"]
    # CRDs may be there from another test's release.
    dry = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-")
    answer = own_plane.kubectl(*dry, "--warnings-as-errors", stdin=yaml.safe_dump_all(objects))
    assert len(re.findall(r"\(server dry run\)", answer)) == len(objects)


def test_the_api_server_would_warn_of_a_pod_that_is_not_restricted(
    any_helm: Helm, own_plane: ControlPlane, restricted: str
) -> None:
    deployment = one(any_helm.template(namespace=restricted), "Deployment")
    del deployment["spec"]["template"]["spec"]["containers"][0]["securityContext"]["capabilities"]
    dry = ("apply", "--server-side", "--dry-run=server", "--warnings-as-errors", "-f", "-")
    with pytest.raises(TestbedError, match="unrestricted capabilities"):
        own_plane.kubectl(*dry, stdin=yaml.safe_dump(deployment))


def test_helm_unittest_is_content(chart_programs: None) -> None:
    answer = subprocess.run(
        [binary("helm-unittest"), "--strict", CHART], capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert re.search(r"Tests: +[2-9]\d passed", answer.stdout)
