"""Whole jobs through an API server in trouble: each ends with the records of a job that nothing disturbed.

The operator runs as it does on a cluster, as a process of its own, and reaches the real API server through a proxy that
breaks requests after every move of the trials. The trials and their kubelet are not disturbed.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.controlplane.ledgers import doubled, ledger
from tests.controlplane.lockstep import Lockstep, lockstep
from tests.controlplane.operators import arguments
from tests.controlplane.studies import manifest
from tests.nursery import Nursery
from tests.testbed.controlplane import ControlPlane
from tests.testbed.fault_proxy import Fault, FaultProxy, fault_proxy

from tuning_operator.backends.kubernetes.client import Client, Retries
from tuning_operator.backends.kubernetes.resources import EVENTS, TRIALS, TUNING_JOBS

TRIALS_IN_ALL = 5
PARALLEL = 2
Disturb = Callable[[FaultProxy, random.Random], Awaitable[None]]
"""Called after every move of the trials."""

pytestmark = pytest.mark.timeout(300)


def loss(parameters: dict[str, Any], step: int) -> float:
    rate = parameters["lr"]
    return math.nan if rate > 0.9 and step > 30 else 1.0 + abs(math.log10(rate) + 1) + math.exp(-step / 20)


def job(namespace: str) -> Any:
    rates = [0.1, 0.95, 0.12, 0.001, 0.3]
    return manifest(
        namespace,
        search={"algorithm": "Random", "seed": 1, "initial": [{"lr": rate} for rate in rates]},
        stopping=[{"rule": "Percentile", "percentile": 50, "minimumTrials": 1, "after": 0.3}, {"rule": "Divergence"}],
        budget={"trials": TRIALS_IN_ALL, "parallel": PARALLEL},
    )


class Shaken:
    """A job with its operator; a test shakes it."""

    def __init__(self, plane: ControlPlane, namespace: str, client: Client, proxy: FaultProxy, trials: Lockstep):
        self.plane = plane
        self.namespace = namespace
        self.client = client
        self.proxy = proxy
        self.trials = trials

    async def play(self, disturb: Disturb | None = None) -> dict[str, Any]:
        """Run the job to its end and return its records, once it is sure that nothing was made twice."""
        draws = random.Random(11)
        await self.client.apply(TUNING_JOBS, job(self.namespace))
        async for _ in self.trials.moves_made():
            if disturb is not None:
                await disturb(self.proxy, draws)
        assert await doubled(self.client, self.namespace, self.trials) == []
        return await ledger(self.client, self.namespace)

    async def warnings(self) -> list[str]:
        """Return the reasons of all Events that warn of objects that somebody else changed."""
        events, _ = await self.client.list(EVENTS, namespace=self.namespace)
        return [event["note"] for event in events if event["reason"] == "ObjectsChanged"]


@asynccontextmanager
async def shaken(plane: ControlPlane, nursery: Nursery, namespace: str, folder: Path) -> AsyncIterator[Shaken]:
    async with (
        await Client.connect(kubeconfig=str(plane.kubeconfig), retries=Retries(attempts=40)) as client,
        fault_proxy(plane, folder) as proxy,
        lockstep(client, namespace, loss, trials=TRIALS_IN_ALL, parallel=PARALLEL) as trials,
    ):
        pid = nursery.start(
            arguments(folder, kubeconfig=proxy.kubeconfig, own_namespace=namespace, lease=60),
            log=folder / "operator.log",
            trial_port=trials.port,
            time_out=1.5,
        )
        try:
            yield Shaken(plane, namespace, client, proxy, trials)
        finally:
            code = nursery.end(pid, signal.SIGKILL)
        assert code == -signal.SIGKILL, "the operator ended by itself"


@pytest.fixture(scope="module")
def undisturbed(
    crds: ControlPlane, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    namespace = f"test-{uuid4().hex[:8]}"
    crds.kubectl("create", "namespace", namespace)

    async def run() -> dict[str, Any]:
        async with shaken(crds, nursery, namespace, tmp_path_factory.mktemp("undisturbed")) as here:
            return await here.play()

    records = asyncio.run(run())
    ends = [one["end"]["reason"] for name, one in records.items() if name != "job"]
    assert ends == ["Completed", "NonFinite", "Completed", "StoppedEarly", "StoppedEarly"]
    yield records
    crds.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture
async def here(crds: ControlPlane, nursery: Nursery, namespace: str, tmp_path: Path) -> AsyncIterator[Shaken]:
    async with shaken(crds, nursery, namespace, tmp_path) as made:
        yield made


def check(records: dict[str, Any], undisturbed: dict[str, Any], what: str = "") -> None:
    assert records.keys() == undisturbed.keys(), what
    for name, expected in undisturbed.items():
        assert records[name] == expected, f"{what} {name}"


def is_watch(_: str, path: str) -> bool:
    return "watch=true" in path


def is_list_or_get(method: str, path: str) -> bool:
    return method == "GET" and not is_watch(method, path)


def is_write(method: str, path: str) -> bool:
    return method in ("POST", "PUT", "PATCH", "DELETE") and "/leases" not in path


def anything(method: str, path: str) -> bool:
    return not is_watch(method, path)


GONE = {"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410, "message": "too old resource version"}


@pytest.mark.parametrize("told", ["at once", "in the stream"])
async def test_a_gap_in_a_watch(here: Shaken, undisturbed: dict[str, Any], told: str) -> None:
    line = json.dumps({"type": "ERROR", "object": GONE}).encode() + b"\n"

    async def disturb(proxy: FaultProxy, draws: random.Random) -> None:
        if draws.random() < 0.5:
            if told == "at once":
                proxy.faults.append(Fault(hits=is_watch, times=2, code=410, reason="Expired"))
            else:
                proxy.faults.append(Fault(hits=is_watch, times=2, code=200, body=line))
            proxy.cut_watches()

    check(await here.play(disturb), undisturbed)
    assert len(here.proxy.broken) >= 8
    assert await here.warnings() == []


async def test_a_watch_that_ends_in_the_middle_of_a_line(here: Shaken, undisturbed: dict[str, Any]) -> None:
    torn = 0

    async def disturb(proxy: FaultProxy, _: random.Random) -> None:
        nonlocal torn
        torn += proxy.tear_watches()

    check(await here.play(disturb), undisturbed)
    assert torn >= 12
    assert await here.warnings() == []


BROKEN_REQUESTS = {
    "conflict": Fault(hits=is_write, times=3, code=409, reason="Conflict"),
    "throttled": Fault(hits=anything, times=2, code=429, reason="TooManyRequests", headers={"Retry-After": "1"}),
    "500": Fault(hits=anything, times=4, code=500, reason="InternalError"),
    "503": Fault(hits=anything, times=4, code=503, reason="ServiceUnavailable"),
    "504": Fault(hits=is_write, times=2, code=504, reason="Timeout", after=True),
    "connection lost": Fault(hits=anything, times=4),
    "answer lost": Fault(hits=is_write, times=4, after=True),
    "slow": Fault(hits=anything, times=4, late=0.5),
    "time-out": Fault(hits=is_write, times=1, late=1000.0),
}


_KINDS = tuple(BROKEN_REQUESTS)
SIDE_BY_SIDE = [_KINDS[first : first + 3] for first in range(0, len(_KINDS), 3)]
"""Each job waits more than it works, so three of them take little longer than one."""


@pytest.mark.parametrize("kinds", SIDE_BY_SIDE, ids=", ".join)
async def test_requests_that_fail(
    crds: ControlPlane,
    nursery: Nursery,
    namespaces: Callable[[], str],
    tmp_path: Path,
    undisturbed: dict[str, Any],
    kinds: Sequence[str],
) -> None:
    async def run(kind: str) -> None:
        fault, folder = BROKEN_REQUESTS[kind], tmp_path / kind
        folder.mkdir()

        async def disturb(proxy: FaultProxy, draws: random.Random) -> None:
            def hits(method: str, path: str) -> bool:
                return fault.hits(method, path) and draws.random() < 0.4

            if draws.random() < 0.4:
                proxy.faults.append(Fault(**{**vars(fault), "hits": hits}))

        async with shaken(crds, nursery, namespaces(), folder) as here:
            check(await here.play(disturb), undisturbed, kind)
            assert len(here.proxy.broken) >= 8, kind
            assert await here.warnings() == [], kind

    await asyncio.gather(*map(run, kinds))


async def test_an_api_server_that_is_restarted_in_the_middle(here: Shaken, undisturbed: dict[str, Any]) -> None:
    async def disturb(_proxy: FaultProxy, _draws: random.Random) -> None:
        if here.trials.moves in (5, 14):
            await asyncio.to_thread(here.plane.restart_api_server)

    check(await here.play(disturb), undisturbed)
    assert here.trials.moves > 14
    assert await here.warnings() == []


async def test_what_somebody_else_writes_into_a_trial_is_undone_and_told(
    here: Shaken, undisturbed: dict[str, Any]
) -> None:
    async def disturb(_proxy: FaultProxy, _draws: random.Random) -> None:
        if here.trials.moves in (5, 8):
            name = "digits-0000"
            before = await here.client.get(TRIALS, namespace=here.namespace, name=name)
            edit = {"spec": {"parameters": {"lr": 0.77}, "audited": True, "control": {"learningRateScale": 9}}}
            edited = await here.client.patch(TRIALS, edit, namespace=here.namespace, name=name)
            await here.trials.until(
                name,
                lambda body: bool(
                    body["spec"] == before["spec"] and body["metadata"]["generation"] > edited["metadata"]["generation"]
                ),
            )

    check(await here.play(disturb), undisturbed)
    told = await here.warnings()
    assert len(told) == 2
    assert "somebody changed audited, control, parameters in the spec of Trial digits-000" in told[0]


async def test_a_trial_that_somebody_deletes_is_told_and_the_job_goes_on(here: Shaken) -> None:
    async def disturb(_proxy: FaultProxy, _draws: random.Random) -> None:
        if here.trials.moves == 6:
            here.trials.forget("digits-0001")
            await here.client.delete(TRIALS, namespace=here.namespace, name="digits-0001")

    records = await here.play(disturb)
    assert records["job"]["trials"]["completed"] + records["job"]["trials"]["stoppedEarly"] >= 3
    assert any("digits-0001" in note for note in await here.warnings())
