"""The fixtures `control_plane`, `simulated_cluster` and `cluster`: one test bed of each size per test process.

Where the machine cannot run a size, the tests that need it are skipped and listed with the reason at the end; with
CI=true that is a failure, since there a skipped test is one that nobody will ever run. Binaries are built after
collection, outside the time limit of any test.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import pytest
from tests.testbed import binaries, packages, product, prometheus
from tests.testbed.controlplane import ControlPlane
from tests.testbed.errors import TestbedError
from tests.testbed.node import Cluster
from tests.testbed.object_store import PROGRAMS as OBJECT_STORE_PROGRAMS
from tests.testbed.object_store import ObjectStore, start_object_store
from tests.testbed.sizes import SIZES

FIXTURES = {
    "control_plane": "control-plane",
    "simulated_cluster": "simulated",
    "cluster": "cluster",
    "mortal_cluster": "cluster",
}
PROGRAMS = {
    "chart_programs": ("helm", "helm3", "helm-unittest", "kubeconform"),
    "prometheus_server": prometheus.PROGRAMS,
    "object_store": OBJECT_STORE_PROGRAMS,
}
"""What fixtures need beside a test bed."""
_SKIPPED = "test bed: "
_OUTPUT = "testbed_logs"
_problems = pytest.StashKey[dict[str, str]]()
_logs = pytest.StashKey[list[str]]()
_images = pytest.StashKey[dict[str, product.Image]]()


def pytest_configure(config: pytest.Config) -> None:
    """Make room for what is found out about this machine."""
    config.stash[_problems] = {}
    config.stash[_logs] = []
    config.stash[_images] = {}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what the collected tests need."""
    if session.config.option.collectonly:
        return
    used = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    for size in (SIZES[FIXTURES[name]] for name in FIXTURES if name in used):
        if size.missing_reason() is None:
            _prepare(size.name, size.prepare, session.config)
    if "product_images" in used and SIZES["cluster"].missing_reason() is None:
        _prepare("product_images", lambda: _build_images(session.config), session.config)
    for fixture, programs in PROGRAMS.items():
        if fixture in used and binaries.missing_reason(programs) is None:
            _prepare(fixture, partial(binaries.binaries, programs), session.config)


def _build_images(config: pytest.Config) -> None:
    config.stash[_images].update(product.build_images(packages.runtime()))


def _prepare(name: str, prepare: Callable[[], object], config: pytest.Config) -> None:
    handler = logging.StreamHandler(sys.__stderr__)
    logger = logging.getLogger("tests.testbed")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    capture = config.pluginmanager.getplugin("capturemanager")
    try:
        if capture:
            with capture.global_and_fixture_disabled():
                prepare()
        else:
            prepare()
    except TestbedError as error:
        config.stash[_problems][name] = str(error)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _run(fixture: str, config: pytest.Config) -> Iterator[ControlPlane]:
    size = SIZES[FIXTURES[fixture]]
    _require(size.missing_reason())
    if problem := config.stash[_problems].get(size.name):
        pytest.fail(f"{_SKIPPED}{problem}", pytrace=False)
    try:
        plane = size.start(False)
    except TestbedError as error:
        pytest.fail(f"{_SKIPPED}{error}", pytrace=False)
    config.stash[_logs].append(f"{size.name}: {plane.logs}")
    try:
        yield plane
    finally:
        plane.take_down()


def _run_cluster(fixture: str, config: pytest.Config) -> Iterator[Cluster]:
    for plane in _run(fixture, config):
        assert isinstance(plane, Cluster)
        yield plane


def _require(reason: str | None) -> None:
    if reason and os.environ.get("CI") == "true":
        pytest.fail(f"{_SKIPPED}{reason} (a failure, since CI=true)", pytrace=False)
    if reason:
        pytest.skip(f"{_SKIPPED}{reason}")


def _require_programs(fixture: str, config: pytest.Config) -> None:
    _require(binaries.missing_reason(PROGRAMS[fixture]))
    if problem := config.stash[_problems].get(fixture):
        pytest.fail(f"{_SKIPPED}{problem}", pytrace=False)


@pytest.fixture(scope="session")
def chart_programs(pytestconfig: pytest.Config) -> None:
    """Both versions of Helm, and what checks charts; `binaries.binary` has them."""
    _require_programs("chart_programs", pytestconfig)


@pytest.fixture(scope="session")
def prometheus_server(pytestconfig: pytest.Config) -> Callable[..., AbstractContextManager[prometheus.Prometheus]]:
    """Return `start_prometheus`; promtool is there, too."""
    _require_programs("prometheus_server", pytestconfig)
    return prometheus.start_prometheus


@pytest.fixture(scope="session")
def object_store(pytestconfig: pytest.Config) -> Iterator[ObjectStore]:
    """A real S3 server with an empty bucket."""
    _require_programs("object_store", pytestconfig)
    with start_object_store() as store:
        yield store


@pytest.fixture(scope="session")
def control_plane(pytestconfig: pytest.Config) -> Iterator[ControlPlane]:
    """A control plane without nodes; pods stay pending."""
    yield from _run("control_plane", pytestconfig)


@pytest.fixture(scope="session")
def simulated_cluster(pytestconfig: pytest.Config) -> Iterator[ControlPlane]:
    """A control plane with two simulated nodes; pods run in the API only, as `stages.yaml` says."""
    yield from _run("simulated_cluster", pytestconfig)


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """A control plane with a real node."""
    yield from _run_cluster("cluster", pytestconfig)


@pytest.fixture
def mortal_cluster(pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """A cluster of a test's own, whose node may be lost."""
    yield from _run_cluster("mortal_cluster", pytestconfig)


@pytest.fixture(scope="session")
def product_images(cluster: Cluster, pytestconfig: pytest.Config) -> dict[str, str]:
    """The names under which pods of the cluster may use our own images, by target: operator and trainer."""
    if problem := pytestconfig.stash[_problems].get("product_images"):
        pytest.fail(f"{_SKIPPED}{problem}", pytrace=False)
    if not pytestconfig.stash[_images]:
        _build_images(pytestconfig)
    return {target: cluster.give_image(image) for target, image in pytestconfig.stash[_images].items()}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of a parallel run hands its log folders to the process that prints the summary."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_OUTPUT] = session.config.stash[_logs]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Collect the log folders of a worker."""
    node.config.stash[_logs].extend(getattr(node, "workeroutput", {}).get(_OUTPUT, []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """List what was skipped and why, and say where the logs are."""
    reasons: dict[str, list[str]] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if _SKIPPED in reason:
            reasons.setdefault(reason.partition(_SKIPPED)[2], []).append(report.nodeid)
    if reasons:
        terminalreporter.section("not run on this machine")
        for reason, tests in reasons.items():
            terminalreporter.write_line(f"{len(tests)} tests, because {reason}:")
            for test in tests:
                terminalreporter.write_line(f"  {test}")
    if config.stash[_logs]:
        terminalreporter.section("logs of the test bed")
        for line in config.stash[_logs]:
            terminalreporter.write_line(line)
