"""Each helm that the chart promises to work with, and a control plane whose CRDs may come and go."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from tests.chart.charts import HELMS, Helm
from tests.testbed.controlplane import ControlPlane, start_control_plane
from tests.testbed.errors import Unavailable
from tests.testbed.processes import wait_until
from tests.testbed.sources import monitoring_crds


@pytest.fixture(params=HELMS)
def helm(request: pytest.FixtureRequest, chart_programs: None, tmp_path: Path) -> Helm:
    return Helm(request.param, tmp_path)


@pytest.fixture
def any_helm(chart_programs: None, tmp_path: Path) -> Helm:
    """One of them, for what does not depend on the version."""
    return Helm(HELMS[0], tmp_path)


@pytest.fixture(scope="session")
def own_plane(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """A control plane whose CRDs come and go with releases, beside the one that everybody's tests share."""
    try:
        crds = monitoring_crds()
    except Unavailable as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"test bed: {error}")
    plane = start_control_plane()
    try:
        for path in crds:
            plane.serve(str(path))
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
