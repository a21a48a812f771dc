"""A trial whose node is gone: told of, replaced once somebody says so, and gone on with from the checkpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.cluster.bed import CLAIM, Bed, bed, condition
from tests.cluster.stand_in import import_stand_in
from tests.nursery import Nursery
from tests.testbed.binaries import binary
from tests.testbed.node import NODE_NAME, Cluster, _start_kubelet

from tuning_operator.backends.kubernetes.resources import name_of

pytestmark = pytest.mark.timeout(420)


@pytest.fixture
async def alone(mortal_cluster: Cluster, nursery: Nursery) -> AsyncIterator[Bed]:
    """A namespace with an operator on a cluster that no other test needs."""
    import_stand_in(mortal_cluster)
    mortal_cluster.serve("crds/")
    async with bed(mortal_cluster, nursery) as made:
        yield made


async def test_a_lost_node_is_told_of_and_its_trial_goes_on_elsewhere(alone: Bed) -> None:
    here = alone
    here.claim()
    await here.apply("pause=0.3", trial={"checkpoint": {"claim": CLAIM}})
    first = await here.runs(step=10)
    here.cluster.instance.stop("kubelet")
    told = await here.event("NodeLost", seconds=120)
    assert told == (
        f"node {NODE_NAME} does not answer, so nobody knows how pod {name_of(first)} is doing; Kubernetes replaces the "
        "pod when its tolerations for unreachable nodes run out (5 minutes, if the template says nothing else); "
        f"if the node is gone for good, delete it (kubectl delete node {NODE_NAME})"
    )
    assert here.state() == "NodeLost"

    # What the message says.
    here.cluster.kubectl("delete", "node", NODE_NAME)
    told = await here.event("Restarting", seconds=150)
    assert told.startswith("Preempted: the pod was disrupted (DeletionByPodGC: PodGC: node no longer exists)")
    await here.until("another pod waits for a node", lambda: here.state() == "Unschedulable")
    assert "no nodes available" in condition(here.trial(), "Running")["message"]
    assert here.cluster.node is not None
    _start_kubelet(here.cluster, here.cluster.node, binary("kubelet"))
    status = await here.ends(seconds=90)
    assert status["reason"] == "Completed"
    began, went_on = here.starts()
    assert began == 0
    assert went_on >= 10
