"""The trial controller through a network that loses answers and a server that is not always there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.controlplane.trials import World, world
from tests.testbed.controlplane import ControlPlane
from tests.testbed.fault_proxy import Fault, FaultProxy, fault_proxy


@dataclass
class _Plane:
    """What `world` reads of a control plane, through the proxy."""

    kubeconfig: Path


@pytest.fixture
async def faulty(crds: ControlPlane, namespace: str, tmp_path: Path) -> AsyncIterator[tuple[World, FaultProxy]]:
    async with (
        fault_proxy(crds, tmp_path) as proxy,
        world(_Plane(proxy.kubeconfig), namespace) as here,  # type: ignore[arg-type]
    ):
        yield here, proxy


def creates_a_job(method: str, path: str) -> bool:
    return method == "POST" and "/jobs" in path


def writes_a_status(method: str, path: str) -> bool:
    return method == "PATCH" and "/trials/" in path and "/status" in path


@pytest.mark.parametrize(
    "fault",
    [
        Fault(hits=creates_a_job, after=True),
        Fault(hits=creates_a_job),
        Fault(hits=creates_a_job, code=500, after=True),
        Fault(hits=creates_a_job, times=2, code=429, reason="TooManyRequests", headers={"Retry-After": "0"}),
        Fault(hits=writes_a_status, times=3, code=503),
        Fault(hits=writes_a_status, times=2, after=True),
    ],
    ids=["answer-lost", "request-lost", "500-though-done", "429", "status-503", "status-answer-lost"],
)
async def test_one_trial_makes_one_job_whatever_is_lost(faulty: tuple[World, FaultProxy], fault: Fault) -> None:
    here, proxy = faulty
    times = fault.times
    proxy.faults.append(Fault(**vars(fault)))
    await here.study()
    name = await here.want()
    pod = await here.pod(name)
    await here.start(pod)
    status = await here.becomes(name, "Running")
    assert status["attempt"] == 1
    assert len(here.pods_of(name)) == 1
    # What is said in one write on one machine takes two on another: the fault may not be used up, but it has hit.
    assert 1 <= len(proxy.broken) <= times


async def test_what_happens_while_no_watch_is_open_is_not_missed(faulty: tuple[World, FaultProxy]) -> None:
    here, proxy = faulty
    await here.study()
    name = await here.want()
    pod = await here.pod(name)
    await here.start(pod)
    await here.becomes(name, "Running")
    proxy.faults.append(
        Fault(hits=lambda _, path: "watch=true" in path, times=2 * len(here.reflectors), code=410, reason="Expired")
    )
    assert proxy.cut_watches() == len(here.reflectors)
    await here.end(pod, 137, reason="OOMKilled")
    assert (await here.becomes(name, "OutOfMemory"))["attempt"] == 1
