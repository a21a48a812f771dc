"""Each helm that the chart promises to work with; both are built before the first test, outside of its time limit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from tests.chart.charts import HELMS, Helm
from tests.testbed import binaries
from tests.testbed.controlplane import ControlPlane, start_control_plane
from tests.testbed.errors import TestbedError
from tests.testbed.processes import wait_until
from tests.testbed.sources import monitoring_crds

PROGRAMS = (*HELMS, "helm-unittest", "kubeconform")
_problem = pytest.StashKey[str]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what is missing, where that is possible."""
    here = Path(__file__).parent
    if session.config.option.collectonly or not any(here in item.path.parents for item in session.items):
        return
    try:
        binaries.binaries(PROGRAMS)
    except TestbedError as error:
        session.config.stash[_problem] = str(error)


@pytest.fixture(scope="session")
def programs(pytestconfig: pytest.Config) -> None:
    """Skip, with the reason in the summary, where there is neither a helm nor a Go to build one."""
    if problem := pytestconfig.stash.get(_problem, ""):
        if os.environ.get("CI") == "true":
            pytest.fail(f"test bed: {problem} (a failure, since CI=true)", pytrace=False)
        pytest.skip(f"test bed: {problem}")


@pytest.fixture(params=HELMS)
def helm(request: pytest.FixtureRequest, programs: None, tmp_path: Path) -> Helm:
    return Helm(request.param, tmp_path)


@pytest.fixture
def any_helm(programs: None, tmp_path: Path) -> Helm:
    """One of them, for what does not depend on the version."""
    return Helm(HELMS[0], tmp_path)


@pytest.fixture(scope="session")
def own_plane(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """A control plane whose CRDs come and go with releases, beside the one that everybody's tests share."""
    plane = start_control_plane()
    try:
        for path in monitoring_crds():
            plane.kubectl("create", "-f", str(path))
            name = f"crd/{path.stem.split('_')[1]}.monitoring.coreos.com"
            plane.kubectl("wait", "--for=jsonpath={.status.conditions}", name, "--timeout=20s")
            plane.kubectl("wait", "--for=condition=Established", name, "--timeout=20s")
        paths = ("get", "--raw", "/openapi/v3")
        wait_until("the CRDs are published", lambda: "monitoring.coreos.com/v1" in plane.kubectl(*paths), 20)
        yield plane
    finally:
        plane.take_down()


@pytest.fixture
def restricted(own_plane: ControlPlane) -> Iterator[str]:
    """A namespace in which only pods of the restricted standard may be, with a word of warning for the others."""
    name = f"test-{uuid4().hex[:8]}"
    own_plane.kubectl("create", "namespace", name)
    modes = (f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn"))
    own_plane.kubectl("label", "namespace", name, *modes)
    yield name
    own_plane.kubectl("delete", "namespace", name, "--wait=false")
