from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from tests.testbed.controlplane import ControlPlane
from tests.testbed.fault_proxy import Fault, fault_proxy

from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.errors import NotLeading
from tuning_operator.backends.kubernetes.leader import Leadership, Timing
from tuning_operator.backends.kubernetes.resources import LEASES, SERVICES
from tuning_operator.backends.kubernetes.retries import Retries


class Clock:
    """A monotonic clock that only sleeping moves; every sleep gives others a turn."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def candidate(client: Client, namespace: str, identity: str, clock: Clock) -> Leadership:
    return Leadership(
        client, namespace=namespace, name="op", identity=identity, timing=Timing(), clock=clock, sleep=clock.sleep
    )


async def holder(client: Client, namespace: str) -> str:
    lease = await client.get(LEASES, namespace=namespace, name="op")
    return str(lease["spec"]["holderIdentity"])


async def test_the_first_one_leads_and_a_second_waits_until_the_lease_has_run_out(
    client: Client, namespace: str
) -> None:
    await candidate(client, namespace, "one", Clock()).acquire()
    clock = Clock()
    await candidate(client, namespace, "two", clock).acquire()
    assert clock.now >= Timing().duration
    assert await holder(client, namespace) == "two"


async def test_a_leader_that_lost_the_lease_stops(client: Client, namespace: str) -> None:
    one = candidate(client, namespace, "one", Clock())
    await one.acquire()
    await candidate(client, namespace, "two", Clock()).acquire()
    async with asyncio.timeout(10):
        await one.hold()
    assert one.holder == "two"


async def test_a_leader_that_cannot_renew_stops_before_the_lease_runs_out(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    clock = Clock()
    async with fault_proxy(control_plane, tmp_path) as proxy:
        once = Retries(attempts=1)
        async with await Client.connect(kubeconfig=str(proxy.kubeconfig), retries=once) as client:
            leader = candidate(client, namespace, "one", clock)
            await leader.acquire()
            leader.check()
            began = clock.now
            proxy.faults.append(Fault(lambda _method, path: "leases" in path, times=1000))
            async with asyncio.timeout(20):
                await leader.hold()
    assert Timing().renew_within <= clock.now - began < Timing().duration
    with pytest.raises(NotLeading):
        leader.check()
    assert leader.trouble


async def test_the_deadline_counts_from_when_the_renewal_was_sent(
    control_plane: ControlPlane, namespace: str, client: Client
) -> None:
    """A slow answer must not lengthen a leader's time: others count from when the server wrote."""
    clock = Clock()

    class Slow:
        """A client whose writes are answered late."""

        async def get(self, *args: Any, **options: Any) -> Any:
            return await client.get(*args, **options)

        async def create(self, *args: Any, **options: Any) -> Any:
            created = await client.create(*args, **options)
            clock.now += 4
            return created

    leader = candidate(cast(Client, Slow()), namespace, "one", clock)
    await leader.acquire()
    assert leader.left == Timing().renew_within - 4


async def test_a_frozen_leader_writes_nothing_when_it_wakes_up(
    control_plane: ControlPlane, namespace: str, client: Client
) -> None:
    clock = Clock()
    leader = candidate(client, namespace, "one", clock)
    async with await Client.connect(kubeconfig=str(control_plane.kubeconfig), guard=leader.check) as guarded:
        body = {"metadata": {"name": "made", "namespace": namespace}, "spec": {"clusterIP": "None"}}
        with pytest.raises(NotLeading):
            await guarded.apply(SERVICES, body)
        await leader.acquire()
        await guarded.apply(SERVICES, body)
        clock.now += Timing().renew_within
        for write in (
            guarded.delete(SERVICES, namespace=namespace, name="made"),
            guarded.apply(SERVICES, body),
            guarded.patch(SERVICES, {}, namespace=namespace, name="made"),
            guarded.create(SERVICES, body),
            guarded.replace(SERVICES, body),
        ):
            with pytest.raises(NotLeading):
                await write
        assert await guarded.get(SERVICES, namespace=namespace, name="made")


async def test_a_lease_lasts_as_long_as_its_holder_said(client: Client, namespace: str) -> None:
    long = Timing(duration=60.0)
    one = Leadership(client, namespace=namespace, name="op", identity="one", timing=long)
    await one.acquire()
    clock = Clock()
    await candidate(client, namespace, "two", clock).acquire()
    assert clock.now >= 60


async def test_a_released_lease_is_taken_at_once(client: Client, namespace: str) -> None:
    one = candidate(client, namespace, "one", Clock())
    await one.acquire()
    await one.release()
    clock = Clock()
    await candidate(client, namespace, "two", clock).acquire()
    assert clock.now == 0
    lease = await client.get(LEASES, namespace=namespace, name="op")
    assert lease["spec"]["leaseTransitions"] == 1
