from __future__ import annotations

import asyncio

from kubernetes.aio.client import ApiClient, Configuration

from tuning_operator.backends.kubernetes.client import Client, Retries
from tuning_operator.backends.kubernetes.leader import Leadership, Timing
from tuning_operator.backends.kubernetes.resources import LEASES


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


async def test_a_leader_that_cannot_reach_the_server_stops_before_the_lease_runs_out(namespace: str) -> None:
    clock = Clock()
    nobody = Configuration(host="http://127.0.0.1:1")
    async with Client(ApiClient(nobody), retries=Retries(attempts=1)) as unreachable:
        async with asyncio.timeout(20):
            await candidate(unreachable, namespace, "one", clock).hold()
    assert Timing().renew_within <= clock.now < Timing().duration


async def test_a_released_lease_is_taken_at_once(client: Client, namespace: str) -> None:
    one = candidate(client, namespace, "one", Clock())
    await one.acquire()
    await one.release()
    clock = Clock()
    await candidate(client, namespace, "two", clock).acquire()
    assert clock.now == 0
    lease = await client.get(LEASES, namespace=namespace, name="op")
    assert lease["spec"]["leaseTransitions"] == 1
