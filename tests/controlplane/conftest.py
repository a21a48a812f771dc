"""A namespace for each test, and a client; the namespace is not waited for when it goes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from uuid import uuid4

import pytest
from tests.controlplane.studies import World, world
from tests.testbed.controlplane import ControlPlane

from tuning_operator.backends.kubernetes.client import Client


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    name = f"test-{uuid4().hex[:8]}"
    control_plane.kubectl("create", "namespace", name)
    yield name
    control_plane.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def namespaces(control_plane: ControlPlane) -> Iterator[Callable[[], str]]:
    """Makes a namespace each time it is called."""
    made: list[str] = []

    def make() -> str:
        name = f"test-{uuid4().hex[:8]}"
        control_plane.kubectl("create", "namespace", name)
        made.append(name)
        return name

    yield make
    for name in made:
        control_plane.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[Client]:
    async with await Client.connect(kubeconfig=str(control_plane.kubeconfig)) as connected:
        yield connected


@pytest.fixture(scope="session")
def crds(control_plane: ControlPlane) -> ControlPlane:
    """The control plane with our CRDs, served."""
    control_plane.serve("crds/")
    return control_plane


@pytest.fixture
async def here(crds: ControlPlane, namespace: str) -> AsyncIterator[World]:
    """A namespace with played trials; a file that plays them otherwise has a `here` of its own."""
    async with world(crds, namespace) as made:
        yield made
