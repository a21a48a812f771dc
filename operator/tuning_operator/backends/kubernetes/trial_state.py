"""What is seen of one Trial, and what is made of it: the words in which the lifecycle is judged and told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.backends.kubernetes.outcome import PodEnd, job_condition
from tuning_operator.backends.kubernetes.resources import Object
from tuning_operator.backends.kubernetes.sightings import Sight


class State(StrEnum):
    """What a Trial does: the reason of its condition Running. Once it has ended, the reason is why."""

    PENDING = "Pending"
    """There is no pod yet."""
    QUEUED = "Queued"
    """A queue, or a person, holds the Job suspended."""
    UNSCHEDULABLE = "Unschedulable"
    """No node has room; it starts as soon as one has."""
    STARTING = "Starting"
    """A pod is being started."""
    RUNNING = "Running"
    """All its pods run."""
    RESTARTING = "Restarting"
    """The newest pod ended, and the Job makes another one."""
    NODE_LOST = "NodeLost"
    """A node does not answer: a pod there may or may not run, or should be gone and cannot be seen to be."""
    RECREATING = "Recreating"
    """Somebody deleted the Job; it is made again."""
    PAUSING = "Pausing"
    PAUSED = "Paused"
    STOPPING = "Stopping"
    REJECTED = "Rejected"
    """The API server does not take the Job, for now."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """All that is seen of one Trial.

    Attributes:
        spec: Of its TuningJob; None while that is not there, or is going.
        job: Its Job; None without one.
        pods: Its pods, of all its Jobs, those that are gone too.
        has_service: Its headless Service is there; without several nodes it needs none.
    """

    trial: Object
    spec: TuningJobSpec | None
    job: Object | None
    pods: tuple[Sight, ...]
    now: datetime
    has_service: bool = True


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is to be done and to be said.

    Attributes:
        state: What the Trial does; None where nothing new is to be said.
        end: How it is over.
        create: Make the Job, and over several nodes the Service.
        serve: Make the Service again, by which the nodes of a Job that is there find each other.
        delete: Delete the Job, in the foreground.
        log_of: Pod whose last lines of output belong to the message.
        again: Seconds after which to look again though nothing has changed.
    """

    state: State | None = None
    message: str = ""
    end: PodEnd | None = None
    create: bool = False
    serve: bool = False
    delete: bool = False
    log_of: str | None = None
    again: float | None = None


def recorded_end(trial: Object) -> str | None:
    """Return the reason why a Trial is over, or None while it is not."""
    reason = (trial.get("status") or {}).get("reason")
    return str(reason) if reason else None


def recorded_state(trial: Object) -> str | None:
    """Return what the Trial's status says that it does, or None if it says nothing yet."""
    condition = trial_condition(trial, "Running")
    return None if condition is None else str(condition["reason"])


def trial_condition(trial: Object, kind: str) -> Object | None:
    """Return a condition of a Trial, true or not; None if it has none of this type."""
    conditions: list[Object] = (trial.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == kind), None)


def is_going(job: Object) -> bool:
    """Return whether a Job is being deleted."""
    return bool(job["metadata"].get("deletionTimestamp"))


def is_active(job: Object | None) -> bool:
    """Return whether a Job may still hold or make pods."""
    return job is not None and not (is_going(job) or job_condition(job, "Complete") or job_condition(job, "Failed"))
