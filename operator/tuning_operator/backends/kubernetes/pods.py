"""Questions about the pods of one trial: which live, which ended how, which one is scraped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from tuning_operator.backends.kubernetes import labels
from tuning_operator.backends.kubernetes.gpus import lifetime
from tuning_operator.backends.kubernetes.jobs import container_name
from tuning_operator.backends.kubernetes.outcome import PodEnd, disruption, pod_end
from tuning_operator.backends.kubernetes.resources import Object, name_of
from tuning_operator.backends.kubernetes.sightings import Sight
from tuning_operator.engine.events import EndReason
from tuning_operator.errors import BackendError

_TOGETHER: Final = timedelta(seconds=60)
"""Pods of one trial that fail within this time failed for one cause: the other ranks follow the first."""
_TELLING: Final = (EndReason.OUT_OF_MEMORY, EndReason.CONFIGURATION_ERROR, EndReason.NON_FINITE, EndReason.FAILED)
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
_END: Final = datetime.max.replace(tzinfo=UTC)


def of_job(pods: Iterable[Sight], job: Object) -> tuple[Sight, ...]:
    """Return the pods that this very Job made, not an earlier one of its name."""
    uid = job["metadata"]["uid"]
    return tuple(
        sight
        for sight in pods
        if any(owner.get("uid") == uid for owner in sight.pod["metadata"].get("ownerReferences") or ())
    )


def living(pods: Iterable[Sight]) -> list[Object]:
    """Return the pods that are there and have not ended, those on their way down too."""
    return [
        sight.pod
        for sight in pods
        if sight.gone is None and sight.pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
    ]


def runs(pod: Object) -> bool:
    """Return whether a pod trains: its containers run and nobody has asked it to end."""
    return pod.get("status", {}).get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp")


def is_cut_off(pod: Object) -> bool:
    """Return whether the node of a running pod does not answer any more.

    The node controller then takes its readiness away, and nothing else: a kubelet would give a reason, or say that a
    container is not ready.
    """
    conditions = {one["type"]: one for one in pod.get("status", {}).get("conditions") or ()}
    ready = conditions.get("Ready", {})
    containers_are = conditions.get("ContainersReady", {}).get("status") == "True"
    return runs(pod) and ready.get("status") == "False" and not ready.get("reason") and containers_are


def has_started(pod: Object) -> bool:
    """Return whether a container of the pod has ever run."""
    if pod.get("status", {}).get("phase") in ("Running", "Succeeded"):
        return True
    states = [one.get("state", {}) for one in pod.get("status", {}).get("containerStatuses") or ()]
    return any("running" in state or "terminated" in state for state in states)


def rank(pod: Object) -> int:
    """Return the pod's rank among the nodes of its trial; 0 without others."""
    metadata = pod["metadata"]
    index = (metadata.get("annotations") or {}).get(labels.ANNOTATION_INDEX)
    return int(index or 0)


def by_age(pods: Iterable[Sight]) -> list[Sight]:
    """Return the pods, the oldest first; of two made within one second, the one that went first."""
    return sorted(
        pods,
        key=lambda sight: (sight.pod["metadata"].get("creationTimestamp", ""), sight.gone or _END, name_of(sight.pod)),
    )


def scraped_pod(pods: Iterable[Sight]) -> Object | None:
    """Return the pod whose metrics are the trial's: rank 0 of the newest attempt, if it runs and has an address."""
    able = [sight for sight in pods if sight.gone is None and runs(sight.pod) and rank(sight.pod) == 0]
    addressed = [sight.pod for sight in by_age(able) if sight.pod["status"].get("podIP")]
    return addressed[-1] if addressed else None


def ends(pods: Iterable[Sight]) -> list[PodEnd]:
    """Return how pods ended, the earliest first."""
    return [end for _, _, end in _ended(pods)]


def success(pods: Iterable[Sight]) -> PodEnd | None:
    """Return the newest end of a pod that succeeded: of rank 0, if that one is known."""
    found = [(rank(sight.pod), end) for _, sight, end in reversed(_ended(pods)) if end.reason is EndReason.COMPLETED]
    return min(found, key=lambda one: one[0])[1] if found else None


def final(pods: Iterable[Sight]) -> PodEnd | None:
    """Return an end after which another attempt would end the same way: the most telling one."""
    found = [end for _, _, end in _ended(pods) if end.final]
    ranks = (EndReason.COMPLETED, *_TELLING)
    return min(found, key=lambda end: ranks.index(end.reason), default=None)


def cause(pods: Iterable[Sight]) -> PodEnd | None:
    """Return the end that tells why a Job failed: the most telling one among the last failures."""
    failed = [(time, end) for time, _, end in _ended(pods) if end.reason in _TELLING]
    if not failed:
        return None
    newest = failed[-1][0]
    together = [end for time, end in failed if newest - time <= _TOGETHER]
    return min(together, key=lambda end: _TELLING.index(end.reason))


def newest_failed(pods: Iterable[Sight]) -> str | None:
    """Return the name of the pod that failed last and is still there, so that its log can be read."""
    kept = [sight for _, sight, end in _ended(pods) if end.reason in _TELLING and sight.gone is None]
    return name_of(kept[-1].pod) if kept else None


def newest_end(pods: Sequence[Sight]) -> PodEnd | None:
    """Return how the newest pod ended, also one that was deleted and said nothing."""
    if not pods:
        return None
    newest = by_age(pods)[-1]
    end = _end(newest.pod)
    deleted = newest.gone is not None or newest.pod["metadata"].get("deletionTimestamp")
    if deleted and (end is None or end.reason is EndReason.FAILED):
        said = f" ({end.message})" if end is not None else ""
        message = f"pod {name_of(newest.pod)} was deleted, and not by this operator{said}"
        return PodEnd(reason=EndReason.PREEMPTED, message=disruption(newest.pod) or message)
    return end


def _ended(pods: Iterable[Sight]) -> list[tuple[datetime, Sight, PodEnd]]:
    found = []
    for sight in pods:
        end = _end(sight.pod)
        if end is not None:
            found.append((lifetime(sight)[1] or _BEGINNING, sight, end))
    return sorted(found, key=lambda one: (one[0], name_of(one[1].pod)))


def _end(pod: Object) -> PodEnd | None:
    try:
        return pod_end(pod, container_name(pod))
    except BackendError:
        return pod_end(pod, str(pod["spec"]["containers"][0]["name"]))
