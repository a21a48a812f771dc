from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.reflector import Change, Reflector
from tuning_operator.backends.kubernetes.resources import LEASES


def lease(namespace: str, name: str, holder: str = "") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"holderIdentity": holder}}


@asynccontextmanager
async def running(reflector: Reflector) -> AsyncIterator[None]:
    task = asyncio.create_task(reflector.run())
    try:
        async with asyncio.timeout(20):
            await reflector.wait_synced()
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_cache_follows_the_server(client: Client, namespace: str) -> None:
    await client.apply(LEASES, lease(namespace, "before"))
    seen: list[tuple[Change, str]] = []
    gone = asyncio.Event()
    reflector = Reflector(client, LEASES, namespace=namespace)
    reflector.listen(lambda change, body: seen.append((change, body["metadata"]["name"])))
    reflector.listen(lambda change, _: gone.set() if change is Change.DELETED else None)
    async with running(reflector):
        await client.apply(LEASES, lease(namespace, "a", "one"))
        await client.apply(LEASES, lease(namespace, "a", "two"))
        await client.delete(LEASES, namespace=namespace, name="before")
        await asyncio.wait_for(gone.wait(), 20)
        body = reflector.get(namespace, "a")
        assert body is not None
        assert body["spec"]["holderIdentity"] == "two"
        assert reflector.get(namespace, "before") is None
    assert seen == [
        (Change.ADDED, "before"),
        (Change.ADDED, "a"),
        (Change.MODIFIED, "a"),
        (Change.DELETED, "before"),
    ]


async def test_a_relist_replaces_so_that_nothing_deleted_stays(client: Client, namespace: str) -> None:
    for name in ("a", "b"):
        await client.apply(LEASES, lease(namespace, name))
    seen: list[tuple[Change, str]] = []
    reflector = Reflector(client, LEASES, namespace=namespace)
    async with running(reflector):
        pass
    reflector.listen(lambda change, body: seen.append((change, body["metadata"]["name"])))
    await client.delete(LEASES, namespace=namespace, name="a")
    await client.apply(LEASES, lease(namespace, "c"))
    async with running(reflector):
        pass
    assert seen == [(Change.DELETED, "a"), (Change.ADDED, "c")]


async def test_own_writes_are_known_at_once_and_old_news_is_not(client: Client, namespace: str) -> None:
    first = await client.apply(LEASES, lease(namespace, "a", "one"))
    second = await client.apply(LEASES, lease(namespace, "a", "two"))
    reflector = Reflector(client, LEASES, namespace=namespace)
    reflector.learn(second)
    reflector.learn(first)
    body = reflector.get(namespace, "a")
    assert body is not None
    assert body["spec"]["holderIdentity"] == "two"
