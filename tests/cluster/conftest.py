"""Stand-in trials on the shared node."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.chart.charts import Helm
from tests.cluster.bed import Bed, bed
from tests.cluster.stand_in import import_stand_in
from tests.nursery import Nursery
from tests.testbed.node import Cluster


@pytest.fixture(scope="session")
def served(cluster: Cluster) -> Cluster:
    """The node, and an API server that knows our kinds of objects."""
    cluster.serve("crds/")
    return cluster


@pytest.fixture(scope="session")
def stand_in(served: Cluster) -> Cluster:
    """The same, with the image of stand-in trials."""
    import_stand_in(served)
    return served


@pytest.fixture
async def here(stand_in: Cluster, nursery: Nursery) -> AsyncIterator[Bed]:
    """A namespace with an operator."""
    async with bed(stand_in, nursery) as made:
        yield made


@pytest.fixture
async def restricted(served: Cluster, nursery: Nursery, product_images: dict[str, str]) -> AsyncIterator[Bed]:
    """A namespace with an operator that admits restricted pods only, on a node that has our own images."""
    async with bed(served, nursery) as made:
        served.kubectl("label", "namespace", made.namespace, "pod-security.kubernetes.io/enforce=restricted")
        yield made


@pytest.fixture
def monitors(chart_programs: None, tmp_path: Path) -> list[dict[str, Any]]:
    """The chart's PodMonitors."""
    rendered = Helm("helm", tmp_path).template(values={"podMonitor": {"create": True}})
    found = [one for one in rendered if one["kind"] == "PodMonitor"]
    assert len(found) == 2
    return found
