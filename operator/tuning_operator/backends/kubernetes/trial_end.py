"""How a Trial ends by itself, whatever is wanted of it: its training is over, or can never begin."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from trial_protocol.result import Outcome
from tuning_operator.api.trial import Desired
from tuning_operator.api.tuning_job import Metrics
from tuning_operator.backends.kubernetes import pods as look
from tuning_operator.backends.kubernetes.outcome import PodEnd, job_condition, never_starts
from tuning_operator.backends.kubernetes.resources import Object
from tuning_operator.backends.kubernetes.times import parse_time
from tuning_operator.backends.kubernetes.trial_state import Seen, State, Verdict, is_active, is_going, trial_condition
from tuning_operator.engine.events import EndReason

#: Time in which the Job controller lets a Job fail whose last pod has failed.
_FAILS_WITHIN: Final = timedelta(seconds=5)
#: Time that the pods' watch may lag behind the Jobs'.
_LAG: Final = timedelta(seconds=10)
_NEVER: Final = frozenset({"ErrImageNeverPull", "InvalidImageName"})


def own_end(seen: Seen) -> Verdict | None:
    """Return the end that the training came to by itself, whatever is wanted by now."""
    job = seen.job
    if job is None or is_going(job):
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
    for pod, problem, left in waiting_pods(seen, job):
        if left is not None and left <= timedelta():
            message = f"pod {pod} does not start: {problem}"
            return Verdict(end=PodEnd(reason=EndReason.CONFIGURATION_ERROR, message=message), delete=True)
    return None


def waiting_pods(seen: Seen, job: Object) -> list[tuple[str, str, timedelta | None]]:
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


def what_is_left(seen: Seen) -> Verdict:
    """Return what is still to be freed of a Trial that is over.

    A Job that fails because of what ended the Trial is left to do so, and keeps its pods. One that would try again is
    deleted before it does: the Job controller waits ten seconds.
    """
    if not is_active(seen.job):
        return Verdict()
    finished = trial_condition(seen.trial, "Finished")
    since = seen.now - (parse_time((finished or {}).get("lastTransitionTime")) or seen.now - _FAILS_WITHIN)
    if since < _FAILS_WITHIN:
        return Verdict(again=(_FAILS_WITHIN - since).total_seconds())
    return Verdict(delete=True)


def _of_condition(condition: Object) -> str:
    return f"{condition.get('reason', 'Failed')}: {condition.get('message', '')}".rstrip(": ")
