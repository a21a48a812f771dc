"""Many trials at once on simulated nodes: what each costs in requests, which no machine's speed changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from tests.controlplane.trials import World, world
from tests.testbed.controlplane import ControlPlane

TRIALS = 100
ASKED_AGAIN = 5
"""A busy server lets a request time out now and then, and it is asked again."""


@pytest.fixture
def simulated(simulated_cluster: ControlPlane) -> Iterator[tuple[ControlPlane, str]]:
    simulated_cluster.serve("crds/")
    namespace = f"test-{uuid4().hex[:8]}"
    simulated_cluster.kubectl("create", "namespace", namespace)
    yield simulated_cluster, namespace
    simulated_cluster.kubectl("delete", "namespace", namespace, "--wait=false")


async def all_are(here: World, state: str) -> None:
    await here.until(
        f"all are {state}",
        lambda: sum(here.state(name) == state for _, name in here.trials.objects) == TRIALS,
        seconds=80,
    )
    await here.settle()


async def test_a_hundred_trials_cost_few_requests_each(simulated: tuple[ControlPlane, str]) -> None:
    async with world(*simulated) as here:
        await here.study(template={"spec": {"containers": [{"name": "train", "image": "trainer"}]}})
        names = await asyncio.gather(*(here.want(number) for number in range(TRIALS)))
        await all_are(here, "Running")
        assert TRIALS <= here.calls["create", "jobs"] <= TRIALS + ASKED_AGAIN
        # Running, and at most two words on the way there: that no node has taken the pod yet, and that it starts.
        assert TRIALS <= here.calls["apply", "trials/status"] <= 3 * TRIALS + ASKED_AGAIN
        here.calls.clear()
        here.clock.ahead = timedelta(hours=1)
        for name in names:
            here.controller.queue.add((here.namespace, name))
        await here.settle()
        assert sum(here.calls.values()) == 0
        await asyncio.gather(
            *(here.want(number, desired="Stopped", stopReason="StoppedEarly") for number in range(TRIALS))
        )
        await all_are(here, "StoppedEarly")
        await here.until("no pod is left", lambda: not here.pods.objects)
        assert TRIALS <= here.calls["delete", "jobs"] <= TRIALS + ASKED_AGAIN
        # Stopping, and the end.
        assert TRIALS <= here.calls["apply", "trials/status"] <= 2 * TRIALS + ASKED_AGAIN
        assert set(here.calls) <= {("apply", "trials"), ("apply", "trials/status"), ("delete", "jobs")}
