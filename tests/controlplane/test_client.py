from __future__ import annotations

from typing import Any

import pytest
from tests.testbed.controlplane import ControlPlane

from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.errors import AlreadyExists, ApiError, Conflict, Forbidden, Invalid, NotFound
from tuning_operator.backends.kubernetes.resources import JOBS, LEASES, SERVICES


def lease(namespace: str, name: str = "a", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


async def test_apply_creates_then_changes_only_what_it_says(client: Client, namespace: str) -> None:
    await client.apply(LEASES, lease(namespace, holderIdentity="one", leaseDurationSeconds=5))
    await client.patch(LEASES, {"metadata": {"labels": {"by": "other"}}}, namespace=namespace, name="a")
    after = await client.apply(LEASES, lease(namespace, holderIdentity="two"))
    assert after["spec"] == {"holderIdentity": "two"}
    assert after["metadata"]["labels"] == {"by": "other"}


async def test_a_dry_run_says_what_is_wrong_and_leaves_nothing(client: Client, namespace: str) -> None:
    job = {"metadata": {"name": "bad", "namespace": namespace}, "spec": {"template": {"spec": {"containers": []}}}}
    with pytest.raises(Invalid, match=r"spec.template.spec.containers: Required value"):
        await client.create(JOBS, job, dry_run=True)
    with pytest.raises(NotFound):
        await client.get(JOBS, namespace=namespace, name="bad")


async def test_each_refusal_has_its_own_error(client: Client, control_plane: ControlPlane, namespace: str) -> None:
    await client.create(LEASES, lease(namespace))
    with pytest.raises(AlreadyExists):
        await client.create(LEASES, lease(namespace))
    stale = await client.get(LEASES, namespace=namespace, name="a")
    await client.apply(LEASES, lease(namespace, holderIdentity="one"))
    with pytest.raises(Conflict):
        await client.replace(LEASES, stale)
    with pytest.raises(Conflict):
        await client.delete(LEASES, namespace=namespace, name="a", uid="another")
    with pytest.raises(NotFound, match=r'get leases.coordination.k8s.io .*/none: .*"none" not found'):
        await client.get(LEASES, namespace=namespace, name="none")
    visitor = str(control_plane.user("client-visitor"))
    async with await Client.connect(kubeconfig=visitor) as limited:
        with pytest.raises(Forbidden, match='User "client-visitor" cannot list'):
            await limited.list(LEASES, namespace=namespace)


async def test_lists_are_read_in_pages_and_items_know_their_kind(client: Client, namespace: str) -> None:
    for index in range(5):
        await client.apply(LEASES, lease(namespace, f"l{index}"))
    items, version = await client.list(LEASES, namespace=namespace, page=2)
    assert [item["metadata"]["name"] for item in items] == [f"l{index}" for index in range(5)]
    assert {item["kind"] for item in items} == {"Lease"}
    assert int(version) > 0


async def test_a_list_can_be_narrowed_by_labels(client: Client, namespace: str) -> None:
    body = lease(namespace, "tagged")
    body["metadata"]["labels"] = {"tag": "yes"}
    await client.apply(LEASES, body)
    await client.apply(LEASES, lease(namespace, "other"))
    items, _ = await client.list(LEASES, namespace=namespace, labels="tag=yes")
    assert [item["metadata"]["name"] for item in items] == ["tagged"]


async def test_every_request_is_seen_by_the_observer(control_plane: ControlPlane, namespace: str) -> None:
    seen: list[tuple[str, str, int]] = []
    options = {"observer": lambda verb, resource, code, _: seen.append((verb, resource, code))}
    async with await Client.connect(kubeconfig=str(control_plane.kubeconfig), **options) as client:
        await client.apply(SERVICES, {"metadata": {"name": "s", "namespace": namespace}, "spec": {"clusterIP": "None"}})
        with pytest.raises(NotFound):
            await client.get(SERVICES, namespace=namespace, name="none")
    assert seen == [("apply", "services", 201), ("get", "services", 404)]


async def test_without_any_cluster_the_error_says_what_to_give(tmp_path: Any) -> None:
    with pytest.raises(ApiError, match="give --kubeconfig or set KUBECONFIG"):
        await Client.connect(kubeconfig=str(tmp_path / "none"))
