"""What is to be done about one Trial, and what its status is to say: a pure function of what is seen of it.

A Job exists while its Trial is to run, and afterwards if it ended by itself, with its pods and their logs. A Trial that
is to pause or to stop loses its Job, in the foreground: the Job's name stays taken until every pod has ended, so that
two pods never write one checkpoint (docs/adr/0007).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from tuning_operator.api.trial import Desired, StopReason
from tuning_operator.backends.kubernetes import pods as look
from tuning_operator.backends.kubernetes.outcome import PodEnd, job_condition, job_is_suspended
from tuning_operator.backends.kubernetes.resources import Object
from tuning_operator.backends.kubernetes.sightings import Sight
from tuning_operator.backends.kubernetes.times import parse_time
from tuning_operator.backends.kubernetes.trial_end import own_end, waiting_pods, what_is_left
from tuning_operator.backends.kubernetes.trial_state import (
    Seen,
    State,
    Verdict,
    is_going,
    recorded_end,
    recorded_state,
)
from tuning_operator.engine.events import EndReason

#: Time that a node gets beyond a pod's grace period before it counts as lost.
OVERDUE: Final = timedelta(seconds=30)
_HAD_A_JOB: Final = frozenset({State.RUNNING, State.STARTING, State.UNSCHEDULABLE, State.QUEUED, State.NODE_LOST})


def judge(seen: Seen) -> Verdict:
    """Return what is to be done about a Trial and what to say of it."""
    if seen.trial["metadata"].get("deletionTimestamp"):
        return Verdict()  # Its Job and pods go with it.
    if recorded_end(seen.trial) is not None:
        return what_is_left(seen)
    over = own_end(seen)
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
    if seen.job is not None and not is_going(seen.job):
        return Verdict(state=state, delete=True)
    lost = _lost(seen)
    if lost is not None:
        return lost
    if living or seen.job is not None:
        return Verdict(state=state, again=_until_overdue(seen))
    return None


def _run(seen: Seen) -> Verdict:
    job = seen.job
    if job is None or is_going(job):
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
    waiting = waiting_pods(seen, job)
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
    return job is not None and not is_going(job) and int(job["spec"].get("parallelism", 1)) > 1 and not seen.has_service


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
