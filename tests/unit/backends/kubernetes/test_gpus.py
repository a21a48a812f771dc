from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tuning_operator.backends.kubernetes.gpus import Usage, gpus_of, usage
from tuning_operator.backends.kubernetes.sightings import Sight

NVIDIA = {"resources": {"limits": {"nvidia.com/gpu": "4", "cpu": "8"}}}
AMD = {"resources": {"requests": {"amd.com/gpu": "2"}, "limits": {"amd.com/gpu": "2"}}}


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        ({"containers": [{"name": "a"}]}, 0),
        ({"containers": [NVIDIA, AMD]}, 6),
        ({"containers": [NVIDIA], "initContainers": [AMD]}, 4),
        ({"containers": [AMD], "initContainers": [NVIDIA]}, 4),
        ({"containers": [NVIDIA], "initContainers": [{**AMD, "restartPolicy": "Always"}]}, 6),
        ({"containers": [{"name": "a"}], "resourceClaims": [{"name": "x"}, {"name": "y"}]}, 2),
        ({"containers": [{"resources": {"limits": {"nvidia.com/gpu.memory": "40"}}}]}, 0),
    ],
)
def test_gpus_of_a_pod(spec: dict[str, Any], count: int) -> None:
    assert gpus_of(spec) == count


def at(minute: int) -> datetime:
    return datetime(2026, 1, 1, 0, minute, tzinfo=UTC)


def pod(phase: str = "Running", ended: int | None = None, **status: Any) -> dict[str, Any]:
    state = {"terminated": {"finishedAt": at(ended).isoformat()}} if ended is not None else {"running": {}}
    found = {"phase": phase, "startTime": at(10).isoformat(), "containerStatuses": [{"name": "a", "state": state}]}
    return {"metadata": {"name": "p"}, "spec": {"containers": [NVIDIA]}, "status": {**found, **status}}


@pytest.mark.parametrize(
    ("sight", "since", "minutes"),
    [
        (Sight(pod()), None, 20),
        (Sight(pod()), at(25), 5),
        (Sight(pod("Failed", 12)), None, 2),
        (Sight(pod("Failed", 12)), at(12), 0),
        (Sight(pod("Failed", 12), at(29)), None, 2),
        (Sight(pod(), at(15)), None, 5),
        (Sight(pod("Failed", conditions=[{"lastTransitionTime": at(14).isoformat()}])), None, 4),
        (Sight({"metadata": {"name": "p"}, "spec": {"containers": [NVIDIA]}, "status": {"phase": "Pending"}}), None, 0),
    ],
)
def test_a_pod_holds_its_gpus_from_its_start_to_its_end(sight: Sight, since: datetime | None, minutes: int) -> None:
    assert usage([sight], since=since, now=at(30)) == Usage(compute=minutes * 60.0, gpu=minutes * 240.0)
