"""Stand-in trials on the shared node."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.cluster.bed import Bed, bed
from tests.cluster.stand_in import import_stand_in
from tests.testbed.node import Cluster


@pytest.fixture(scope="session")
def stand_in(cluster: Cluster) -> Cluster:
    """The node, with the image of stand-in trials, and our kinds of objects."""
    import_stand_in(cluster)
    cluster.kubectl("apply", "--server-side", "-f", "crds/")
    for name in ("tuningjobs", "trials"):
        crd = f"crd/{name}.tuning-operator.io"
        cluster.kubectl("wait", "--for=jsonpath={.status.conditions}", crd, "--timeout=20s")
        cluster.kubectl("wait", "--for=condition=Established", crd, "--timeout=20s")
    return cluster


@pytest.fixture
async def here(stand_in: Cluster) -> AsyncIterator[Bed]:
    """A namespace with an operator."""
    async with bed(stand_in) as made:
        yield made
