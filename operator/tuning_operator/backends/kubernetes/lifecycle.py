"""What is to be done about one Trial, and what its status is to say: a pure function of what is seen of it.

A Job exists while its Trial is to run, and afterwards if it ended by itself, with its pods and their logs. A Trial that
is to pause or to stop loses its Job, in the foreground: the Job's name stays taken until every pod has ended, so that
two pods never write one checkpoint (docs/adr/0007).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from trial_protocol.result import Outcome
from tuning_operator.api.trial import Desired, StopReason
from tuning_operator.api.tuning_job import Metrics, TuningJobSpec
from tuning_operator.backends.kubernetes import pods as look
from tuning_operator.backends.kubernetes.outcome import PodEnd, job_condition, job_is_suspended, never_starts
from tuning_operator.backends.kubernetes.resources import Object
from tuning_operator.backends.kubernetes.sightings import Sight
from tuning_operator.backends.kubernetes.times import parse_time
from tuning_operator.engine.events import EndReason


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


#: Time that a node gets beyond a pod's grace period before it counts as lost.
OVERDUE: Final = timedelta(seconds=30)
#: Time in which the Job controller lets a Job fail whose last pod has failed.
_FAILS_WITHIN: Final = timedelta(seconds=5)
#: Time that the pods' watch may lag behind the Jobs'.
_LAG: Final = timedelta(seconds=10)
_NEVER: Final = frozenset({"ErrImageNeverPull", "InvalidImageName"})
_HAD_A_JOB: Final = frozenset({State.RUNNING, State.STARTING, State.UNSCHEDULABLE, State.QUEUED, State.NODE_LOST})


def judge(seen: Seen) -> Verdict:
    """Return what is to be done about a Trial and what to say of it."""
    if seen.trial["metadata"].get("deletionTimestamp"):
        return Verdict()  # Its Job and pods go with it.
    if recorded_end(seen.trial) is not None:
        return _after(seen)
    over = _own_end(seen)
    if over is not None:
        return over
    match Desired(seen.trial["spec"].get("desired", Desired.RUNNING)):
        case Desired.STOPPED:
            return _stop(seen)
        case Desired.PAUSED:
            verdict = _free(seen, State.PAUSING)
            return verdict or Verdict(state=State.PAUSED)
        case Desired.RUNNING:
            return replace(_run(seen), serve=_misses_service(seen))


def recorded_end(trial: Object) -> str | None:
    """Return the reason why a Trial is over, or None while it is not."""
    reason = (trial.get("status") or {}).get("reason")
    return str(reason) if reason else None


def recorded_state(trial: Object) -> str | None:
    """Return what the Trial's status says that it does, or None if it says nothing yet."""
    condition = _condition(trial, "Running")
    return None if condition is None else str(condition["reason"])


def _after(seen: Seen) -> Verdict:
    """Return what is still to be freed of a Trial that is over.

    A Job that fails because of what ended the Trial is left to do so, and keeps its pods. One that would try again is
    deleted before it does: the Job controller waits ten seconds.
    """
    if not _is_active(seen.job):
        return Verdict()
    finished = _condition(seen.trial, "Finished")
    since = seen.now - (parse_time((finished or {}).get("lastTransitionTime")) or seen.now - _FAILS_WITHIN)
    if since < _FAILS_WITHIN:
        return Verdict(again=(_FAILS_WITHIN - since).total_seconds())
    return Verdict(delete=True)


def _own_end(seen: Seen) -> Verdict | None:
    """Return the end that the training came to by itself, whatever is wanted by now."""
    job = seen.job
    if job is None or _is_going(job):
        # A pod that was asked to end may exit with 0 as well; only the trainer's own word counts here.
        for end in look.ends(seen.pods):
            if end.reason is EndReason.COMPLETED and end.result and end.result.outcome is Outcome.COMPLETED:
                return Verdict(end=end)
        return None
    pods = look.of_job(seen.pods, job)
    final = look.final(pods)
    if final is not None:
        return Verdict(end=final, log_of=look.newest_failed(pods))
    for kind in ("Complete", "Failed"):
        condition = job_condition(job, kind)
        if condition is not None:
            return _end_of_job(seen, job, condition)
    return _hopeless(seen, job)


def _end_of_job(seen: Seen, job: Object, condition: Object) -> Verdict:
    pods = look.of_job(seen.pods, job)
    complete = condition["type"] == "Complete"
    end = look.success(pods) if complete else look.cause(pods)
    if end is None:
        since = seen.now - (parse_time(condition.get("lastTransitionTime")) or seen.now)
        if since < _LAG:
            return Verdict(again=(_LAG - since).total_seconds())
        reason = EndReason.COMPLETED if complete else EndReason.FAILED
        return Verdict(end=PodEnd(reason=reason, message="" if complete else _of_condition(condition)))
    if complete and end.result and end.result.outcome is Outcome.INTERRUPTED:
        # Somebody other than us had it stopped, and the program exited with 0: there is more to train.
        return Verdict(state=State.RESTARTING, message="it was interrupted; it goes on in a new Job", delete=True)
    if condition.get("reason") == "BackoffLimitExceeded" and (retries := job["spec"].get("backoffLimit", 0)):
        tried = f"{retries} {'retry' if retries == 1 else 'retries'}"
        end = replace(end, message=f"{end.message}; given up after {tried}")
    failed = None if complete else look.newest_failed(pods)
    return Verdict(end=end, log_of=failed)


def _hopeless(seen: Seen, job: Object) -> Verdict | None:
    """Return the end of a Trial whose pod will never start."""
    if Desired(seen.trial["spec"].get("desired", Desired.RUNNING)) is not Desired.RUNNING:
        return None
    for pod, problem, left in _waiting(seen, job):
        if left is not None and left <= timedelta():
            message = f"pod {pod} does not start: {problem}"
            return Verdict(end=PodEnd(reason=EndReason.CONFIGURATION_ERROR, message=message), delete=True)
    return None


def _waiting(seen: Seen, job: Object) -> list[tuple[str, str, timedelta | None]]:
    """Return pods that may never start: name, problem, and the time until that is final (None: it never is)."""
    patience = seen.spec.metrics.first_within if seen.spec else Metrics().first_within
    found = []
    for pod in look.living(look.of_job(seen.pods, job)):
        problem = None if look.has_started(pod) else never_starts(pod)
        if problem is None:
            continue
        word = problem.partition(":")[0]
        left: timedelta | None = None
        if word in _NEVER:
            left = timedelta()
        elif word != State.UNSCHEDULABLE:
            left = (parse_time(pod["metadata"].get("creationTimestamp")) or seen.now) + patience - seen.now
        found.append((pod["metadata"]["name"], problem, left))
    return found


def _stop(seen: Seen) -> Verdict:
    reason = EndReason(seen.trial["spec"].get("stopReason") or StopReason.CANCELLED)
    freeing = _free(seen, State.STOPPING)
    if freeing is not None and freeing.state is not State.NODE_LOST:
        return freeing
    left = f"; {freeing.message}" if freeing is not None else ""
    last = next(reversed(look.ends(seen.pods)), None)
    message = f"stopped as decided{left}"
    return Verdict(end=PodEnd(reason=reason, message=message, result=last.result if last else None))


def _free(seen: Seen, state: State) -> Verdict | None:
    """Return how to get rid of Job and pods; None when there are none that run."""
    living = look.living(seen.pods)
    if seen.job is not None and not _is_going(seen.job):
        return Verdict(state=state, delete=True)
    lost = _lost(seen)
    if lost is not None:
        return lost
    if living or seen.job is not None:
        return Verdict(state=state, again=_until_overdue(seen))
    return None


def _run(seen: Seen) -> Verdict:
    job = seen.job
    if job is None or _is_going(job):
        return _lost(seen) or _make(seen)
    if job_condition(job, "Suspended") or job_is_suspended(job):
        return Verdict(
            state=State.QUEUED, message="its Job is suspended: it waits for a queue, or for who suspended it"
        )
    pods = look.of_job(seen.pods, job)
    living = look.living(pods)
    lost = _lost(seen)
    if lost is not None:
        return lost
    waiting = _waiting(seen, job)
    again = min((left.total_seconds() for _, _, left in waiting if left is not None), default=_until_overdue(seen))
    if waiting:
        pod, problem, left = waiting[0]
        return Verdict(
            state=State.UNSCHEDULABLE if left is None else State.STARTING,
            message=f"pod {pod}: {problem}",
            again=again,
        )
    silent = [pod for pod in living if look.is_cut_off(pod)]
    if silent:
        return Verdict(state=State.NODE_LOST, message=_silence(silent[0]))
    running = [pod for pod in living if look.runs(pod)]
    if len(running) >= job["spec"].get("parallelism", 1):
        return Verdict(state=State.RUNNING)
    last = look.newest_end(pods)
    if last is not None and not running and not living and _is_about_to_end(job, pods, last):
        return Verdict()
    if last is not None and not running:
        return Verdict(state=State.RESTARTING, message=f"{last.reason}: {last.message}", again=again)
    if living:
        return Verdict(state=State.STARTING, again=again)
    return Verdict(state=State.PENDING)


def _is_about_to_end(job: Object, pods: Sequence[Sight], last: PodEnd) -> bool:
    """Return whether the Job controller has no reason to make another pod, though it has not said so yet."""
    if last.reason is EndReason.COMPLETED:
        return True
    failures = [end for end in look.ends(pods) if end.reason not in (EndReason.COMPLETED, EndReason.PREEMPTED)]
    return len(failures) > int(job["spec"].get("backoffLimit", 0))


def _misses_service(seen: Seen) -> bool:
    job = seen.job
    return (
        job is not None and not _is_going(job) and int(job["spec"].get("parallelism", 1)) > 1 and not seen.has_service
    )


def _make(seen: Seen) -> Verdict:
    """Return how to come to a Job again, or for the first time."""
    recorded = recorded_state(seen.trial)
    state, message = State.PENDING, ""
    if recorded in _HAD_A_JOB or recorded == State.RECREATING:
        state, message = State.RECREATING, "its Job was deleted, and not by this operator; it is made again"
    if look.living(seen.pods) or seen.job is not None:
        waits = "the pods of its last Job must end first"
        return Verdict(state=state, message=f"{message}; {waits}" if message else waits, again=_until_overdue(seen))
    if seen.spec is None:
        return Verdict(state=state, message="its TuningJob is not there")
    return Verdict(state=state, message=message, create=True)


def _silence(pod: Object) -> str:
    node = pod["spec"].get("nodeName", "")
    return (
        f"node {node} does not answer, so nobody knows how pod {pod['metadata']['name']} is doing; Kubernetes replaces "
        "the pod when its tolerations for unreachable nodes run out (5 minutes, if the template says nothing else); "
        f"if the node is gone for good, delete it (kubectl delete node {node})"
    )


def _lost(seen: Seen) -> Verdict | None:
    for pod in look.living(seen.pods):
        deadline = parse_time(pod["metadata"].get("deletionTimestamp"))
        if deadline is not None and deadline + OVERDUE <= seen.now:
            node = pod["spec"].get("nodeName", "")
            message = (
                f"pod {pod['metadata']['name']} should have ended, but node {node} does not say so; if the node is "
                "gone, delete its Node object, or the pod by force (kubectl delete pod --force)"
            )
            return Verdict(state=State.NODE_LOST, message=message)
    return None


def _until_overdue(seen: Seen) -> float | None:
    """Return seconds until the first pod that is to end counts as lost."""
    deadlines = [parse_time(pod["metadata"].get("deletionTimestamp")) for pod in look.living(seen.pods)]
    waits = [(deadline + OVERDUE - seen.now).total_seconds() for deadline in deadlines if deadline is not None]
    return max(min(waits), 0.0) if waits else None


def _condition(trial: Object, kind: str) -> Object | None:
    conditions: list[Object] = (trial.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == kind), None)


def _is_going(job: Object) -> bool:
    return bool(job["metadata"].get("deletionTimestamp"))


def _is_active(job: Object | None) -> bool:
    """Return whether a Job may still hold or make pods."""
    return job is not None and not (_is_going(job) or job_condition(job, "Complete") or job_condition(job, "Failed"))


def _of_condition(condition: Object) -> str:
    return f"{condition.get('reason', 'Failed')}: {condition.get('message', '')}".rstrip(": ")
