"""The last sight of every pod of every trial, kept when the pod is gone.

How a trial ended stands in its pods alone (exit code, termination message, disruption), and a pod that is deleted is
gone a moment after it said so. So the last version is kept for as long as its Trial lives, in bounded number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tuning_operator.backends.kubernetes import labels
from tuning_operator.backends.kubernetes.reflector import Change, Key
from tuning_operator.backends.kubernetes.resources import Object

_KEPT: Final = 64
_METADATA: Final = frozenset(
    {
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "labels",
        "annotations",
        "ownerReferences",
        "creationTimestamp",
        "deletionTimestamp",
    }
)
_SPEC: Final = frozenset({"nodeName", "resourceClaims"})


@dataclass(frozen=True, slots=True)
class Sight:
    """A pod as it was last seen.

    Attributes:
        gone: When it was seen to be gone; None while it is there.
    """

    pod: Object
    gone: datetime | None = None


class Sightings:
    """All pods of all trials by trial; it listens to a reflector of pods."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._by_trial: dict[Key, dict[str, Sight]] = {}

    def of(self, trial: Key) -> tuple[Sight, ...]:
        """Return the pods of a trial, those that are gone too."""
        return tuple(self._by_trial.get(trial, {}).values())

    def see(self, change: Change, pod: Object) -> Key | None:
        """Take in a change of a pod, and return the trial that it belongs to."""
        trial = trial_of(pod)
        if trial is None:
            return None
        pods = self._by_trial.setdefault(trial, {})
        uid = pod["metadata"]["uid"]
        pods[uid] = Sight(pod, self._clock() if change is Change.DELETED else None)
        gone = [known for known, sight in pods.items() if sight.gone is not None]
        for oldest in gone[:-_KEPT]:
            del pods[oldest]
        return trial

    def forget(self, trial: Key) -> None:
        """Drop the pods of a trial that is gone; those that are still there stay until they are gone too."""
        living = {uid: sight for uid, sight in self._by_trial.pop(trial, {}).items() if sight.gone is None}
        if living:
            self._by_trial[trial] = living


def trial_of(body: Object) -> Key | None:
    """Return namespace and name of the Trial that a Job or a pod belongs to, by its label."""
    metadata = body["metadata"]
    name = (metadata.get("labels") or {}).get(labels.LABEL_TRIAL)
    return (metadata["namespace"], name) if name else None


def trim_service(service: Object) -> Object:
    """Return what is read of a Service: that it is there, and whose it is."""
    return {"metadata": {key: value for key, value in service["metadata"].items() if key in _METADATA}}


def trim_pod(pod: Object) -> Object:
    """Return what is read of a pod; a cache of thousands holds no more."""
    spec = pod.get("spec") or {}
    kept = {key: value for key, value in spec.items() if key in _SPEC}
    for kind in ("containers", "initContainers"):
        if kind in spec:
            fields = ("name", "resources", "restartPolicy")
            kept[kind] = [{field: one[field] for field in fields if field in one} for one in spec[kind]]
    metadata = {key: value for key, value in pod["metadata"].items() if key in _METADATA}
    return {"metadata": metadata, "spec": kept, "status": pod.get("status") or {}}
