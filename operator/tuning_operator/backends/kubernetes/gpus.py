"""How many GPUs a pod holds, and for how long: what budgets and reports are counted in.

A pod holds its GPUs from the moment the kubelet accepts it (image pull included, since nobody else can use them) until
its last container ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from tuning_operator.backends.kubernetes.resources import Object
from tuning_operator.backends.kubernetes.sightings import Sight
from tuning_operator.backends.kubernetes.times import parse_time

_SUFFIX: Final = "/gpu"


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Seconds over pods; `gpu` times the GPUs that each held."""

    compute: float = 0.0
    gpu: float = 0.0


def gpus_of(pod_spec: Object) -> int:
    """Return the GPUs of a pod, from the spec of a pod or of a pod template.

    Counted are extended resources named ``<vendor>/gpu`` and, since a claim does not say how many devices it gets,
    one for each entry of ``resourceClaims``. Slices of a GPU under another name (MIG) are not counted.
    """
    initial = pod_spec.get("initContainers") or ()
    beside = [one for one in initial if one.get("restartPolicy") == "Always"]
    together = sum(_of_container(one) for one in [*(pod_spec.get("containers") or ()), *beside])
    largest = max((_of_container(one) for one in initial), default=0)
    return max(together, largest) + len(pod_spec.get("resourceClaims") or ())


def usage(pods: Iterable[Sight], *, since: datetime | None, now: datetime) -> Usage:
    """Return what pods used between `since` (None: from their beginning) and `now`."""
    compute = gpu = 0.0
    for sight in pods:
        start, end = lifetime(sight)
        if start is None:
            continue
        begin = start if since is None else max(start, since)
        seconds = max((min(end or now, now) - begin).total_seconds(), 0.0)
        compute += seconds
        gpu += seconds * gpus_of(sight.pod.get("spec") or {})
    return Usage(compute=compute, gpu=gpu)


def lifetime(sight: Sight) -> tuple[datetime | None, datetime | None]:
    """Return when a pod began to hold its resources and when it ceased to; None for what has not happened."""
    status = sight.pod.get("status") or {}
    start = parse_time(status.get("startTime"))
    if status.get("phase") not in ("Succeeded", "Failed"):
        return start, sight.gone
    ends = [
        parse_time(one.get("state", {}).get("terminated", {}).get("finishedAt"))
        for one in status.get("containerStatuses") or ()
    ]
    # A pod that a controller marked as failed, because its node is lost, has no end of any container.
    changes = [parse_time(one.get("lastTransitionTime")) for one in status.get("conditions") or ()]
    for times in (ends, changes, [sight.gone]):
        known = [time for time in times if time is not None]
        if known:
            return start, max(known)
    return start, start


def _of_container(container: Object) -> int:
    resources: dict[str, Any] = container.get("resources") or {}
    amounts = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
    return sum(int(amount) for name, amount in amounts.items() if name.endswith(_SUFFIX))
