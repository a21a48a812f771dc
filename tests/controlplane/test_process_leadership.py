"""Two operators as they are shipped, one of which leads, and what happens when it dies, freezes or is cut off."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.controlplane.ledgers import doubled, ledger
from tests.controlplane.lockstep import lockstep
from tests.controlplane.operators import Operator, operator
from tests.controlplane.studies import falling, manifest
from tests.controlplane.test_service import operator_user
from tests.testbed.controlplane import ControlPlane, free_ports
from tests.testbed.fault_proxy import Fault, FaultProxy, fault_proxy

from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.resources import LEASES, TUNING_JOBS

_log = logging.getLogger(__name__)
LEASE = 3
TRIALS = 6
PARALLEL = 2


def job(namespace: str) -> Any:
    return manifest(namespace, budget={"trials": TRIALS, "parallel": PARALLEL})


class Play:
    """A job in lockstep; at its eighth move something happens to who leads."""

    AT = 8

    def __init__(self, plane: ControlPlane, folder: Path, namespace: str) -> None:
        self._plane = plane
        self._folder = folder
        self._namespace = namespace
        self._user = operator_user(plane, namespace)
        (self._port,) = free_ports(1)

    def operator(self, identity: str) -> Any:
        return operator(
            self._folder,
            kubeconfig=self._user,
            own_namespace=self._namespace,
            identity=identity,
            namespaces=(self._namespace,),
            lease=LEASE,
            trial_port=self._port,
        )

    async def run(self, happens: Any = None) -> dict[str, Any]:
        """Play the job to its end, and return its records."""
        namespace = self._namespace
        async with (
            await Client.connect(kubeconfig=str(self._plane.kubeconfig)) as client,
            lockstep(client, namespace, falling, trials=TRIALS, parallel=PARALLEL) as trials,
        ):
            trials.port = self._port
            await client.apply(TUNING_JOBS, job(namespace))
            async for move in trials.moves_made():
                if move == self.AT and happens is not None:
                    await happens()
            assert trials.moves > self.AT
            assert await doubled(client, namespace, trials) == []
            return await ledger(client, namespace)


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Any]:
    """Filled by the first test that needs it: the records of a job that nothing happened to."""
    return {}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
async def test_a_second_process_takes_over_in_the_middle_of_a_job(
    crds: ControlPlane,
    namespaces: Any,
    tmp_path: Path,
    undisturbed: dict[str, Any],
    number: signal.Signals,
) -> None:
    if not undisturbed:
        play = Play(crds, tmp_path, namespaces())
        async with play.operator("alone"):
            undisturbed.update(await play.run())
    play = Play(crds, tmp_path, namespaces())
    async with play.operator("one") as one:
        await one.until("/readyz", "leading")
        async with play.operator("two") as two:
            await two.until("/readyz", "standing by")
            assert "tuning_operator_leader 0.0" in (await two.ask("/metrics"))[1]

            async def happens() -> None:
                one.signal(number)
                began = time.monotonic()
                await two.until("/readyz", "leading", LEASE * 3)
                took = time.monotonic() - began
                _log.info("%s: the other leads after %.2f s", number.name, took)
                if number is signal.SIGTERM:
                    assert await one.end() == 0
                    assert took < LEASE
                if number is signal.SIGSTOP:
                    one.signal(signal.SIGCONT)
                    assert await one.end(LEASE) == 1

            records = await play.run(happens)
    assert records == undisturbed


@asynccontextmanager
async def cut_off(plane: ControlPlane, folder: Path, namespace: str) -> AsyncIterator[tuple[FaultProxy, Operator]]:
    """An operator that leads and works, behind a proxy."""
    async with (
        fault_proxy(plane, folder) as proxy,
        operator(
            folder,
            kubeconfig=proxy.kubeconfig,
            own_namespace=namespace,
            namespaces=(namespace,),
            lease=LEASE,
        ) as one,
    ):
        await one.until("/readyz", "leading")
        yield proxy, one


async def test_a_process_whose_lease_was_taken_ends_at_once(
    crds: ControlPlane, namespace: str, client: Client, tmp_path: Path
) -> None:
    async with cut_off(crds, tmp_path, namespace) as (proxy, one):
        writes: list[str] = []
        proxy.faults.append(Fault(lambda method, path: bool(method != "GET" and writes.append(path))))
        lease = await client.get(LEASES, namespace=namespace, name="tuning-operator")
        lease["spec"]["holderIdentity"] = "thief"
        await client.patch(LEASES, {"spec": lease["spec"]}, namespace=namespace, name="tuning-operator")
        writes.clear()
        await client.apply(TUNING_JOBS, job(namespace))
        assert await one.end(LEASE) == 1
        lease = await client.get(LEASES, namespace=namespace, name="tuning-operator")
        assert lease["spec"]["holderIdentity"] == "thief"
        assert "leadership is lost" in one.log.read_text()


@pytest.mark.parametrize("how", ["refused", "silent"])
async def test_a_process_that_cannot_renew_ends_before_anybody_else_could_lead(
    crds: ControlPlane, namespace: str, client: Client, tmp_path: Path, how: str
) -> None:
    async with cut_off(crds, tmp_path, namespace) as (proxy, one):
        late: list[tuple[float, str]] = []
        began = time.monotonic()

        def hits(method: str, path: str) -> bool:
            if "leases" not in path and method != "GET":
                late.append((time.monotonic() - began, path))
            return "leases" in path

        proxy.faults.append(Fault(hits, times=10_000, code=500 if how == "refused" else 0))
        assert await one.end(LEASE) == 1
        assert time.monotonic() - began < LEASE + 0.5
        await client.apply(TUNING_JOBS, job(namespace))
        await asyncio.sleep(1)
        assert [path for after, path in late if after > LEASE] == []
