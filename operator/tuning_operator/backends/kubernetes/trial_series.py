"""The metrics of single trials, of a bounded number for each job."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tuning_operator.backends.kubernetes import metrics
from tuning_operator.backends.kubernetes.metrics import TrialState
from tuning_operator.backends.kubernetes.resources import Object
from tuning_operator.backends.kubernetes.series import Add
from tuning_operator.backends.kubernetes.snapshot import Glimpse
from tuning_operator.backends.kubernetes.times import parse_time
from tuning_operator.engine.events import EndReason

_COMPLETED = frozenset({EndReason.COMPLETED, EndReason.TARGET_REACHED})
_STOPPED = frozenset({EndReason.STOPPED_EARLY, EndReason.NON_FINITE})


def state_of(trial: Object) -> TrialState:
    """Return what a Trial does, or how it ended."""
    status = trial.get("status") or {}
    if status.get("reason"):
        reason = EndReason(status["reason"])
        if reason in _COMPLETED:
            return TrialState.COMPLETED
        if reason in _STOPPED:
            return TrialState.STOPPED_EARLY
        return TrialState.FAILED if reason.is_failure else TrialState.ENDED
    running = condition(trial, "Running")
    if running.get("status") == "True":
        return TrialState.RUNNING
    if trial["spec"].get("desired") == "Paused":
        return TrialState.PAUSED
    return TrialState.QUEUED if running.get("reason") == "Queued" else TrialState.PENDING


def condition(body: Object, kind: str) -> Object:
    """Return a condition; an empty object if there is none of its type."""
    found = (body.get("status") or {}).get("conditions") or ()
    return next((one for one in found if one["type"] == kind), {})


def seconds_since(text: str | None, now: float) -> float | None:
    """Return how long ago a time was that the API server wrote; None where there is none."""
    moment = parse_time(text)
    return None if moment is None else max(now - moment.timestamp(), 0.0)


def choose_shown(trials: Iterable[Object], *, now: float, limit: int) -> tuple[list[Object], int]:
    """Return the trials of a job that have series of their own, and how many more would have without the limit."""
    active: list[tuple[int, Object]] = []
    ended: list[tuple[float, int, Object]] = []
    for trial in trials:
        status = trial.get("status") or {}
        number = int(trial["spec"].get("number", 0))
        if not status.get("reason"):
            if status.get("attempt", 0):
                active.append((number, trial))
            continue
        age = seconds_since(status.get("completionTime"), now)
        if age is not None and age < metrics.ENDED_SHOWN:
            ended.append((age, -number, trial))
    found = [trial for _, trial in sorted(active, key=lambda one: one[0])]
    found += [trial for _, _, trial in sorted(ended, key=lambda one: one[:2])]
    return found[:limit], max(len(found) - limit, 0)


def add_trial(add: Add, trial: Object, glimpse: Glimpse | None) -> None:
    """Add the series of one trial: what was seen of it last, or else what is recorded."""
    spec, status = trial["spec"], trial.get("status") or {}
    labels = (trial["metadata"]["namespace"], spec["job"], trial["metadata"]["name"])
    seen = Glimpse() if glimpse is None else glimpse
    for metric, live, field in (
        (metrics.TRIAL_VALUE, seen.value, "value"),
        (metrics.TRIAL_BEST, seen.best, "best"),
        (metrics.TRIAL_LEARNING_RATE, seen.learning_rate, "learningRate"),
    ):
        recorded = status.get(field)
        if not math.isnan(live):
            add(metric, labels, live)
        elif recorded is not None:
            add(metric, labels, float(recorded))
    add(metrics.TRIAL_PROGRESS, labels, max(seen.progress, float(status.get("fraction") or 0)))
    control = spec.get("control") or {}
    add(metrics.TRIAL_SCALE, labels, float(control.get("learningRateScale", 1.0)))
    add(metrics.TRIAL_REVISION, labels, int(control.get("revision", 0)))
    add(metrics.TRIAL_APPLIED, labels, applied_revision(trial, glimpse))
    for name, value in spec["parameters"].items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            choice = str(value).lower() if isinstance(value, bool) else str(value)
            add(metrics.TRIAL_CHOICE, (*labels, name, choice), 1)
        else:
            add(metrics.TRIAL_PARAMETER, (*labels, name), float(value))


def applied_revision(trial: Object, glimpse: Glimpse | None) -> int:
    """Return the newest control revision that a trial has reported."""
    recorded = int((trial.get("status") or {}).get("revision") or 0)
    return recorded if glimpse is None else max(glimpse.revision, recorded)


def wait_of(trial: Object, state: TrialState, *, now: float) -> float:
    """Return how long a trial that is to run has waited for its pods; the time in a queue does not count."""
    if state is not TrialState.PENDING or trial["spec"].get("desired", "Running") != "Running":
        return 0.0
    times = (
        trial["metadata"].get("creationTimestamp"),
        condition(trial, "Running").get("lastTransitionTime"),
        condition(trial, "Queued").get("lastTransitionTime"),
    )
    return min((age for text in times if (age := seconds_since(text, now)) is not None), default=0.0)


def control_wait_of(trial: Object, glimpse: Glimpse | None, *, now: float) -> float:
    """Return how long a running trial has not acknowledged a control change."""
    applied = applied_revision(trial, glimpse)
    if applied >= int((trial["spec"].get("control") or {}).get("revision", 0)):
        return 0.0
    decided = [
        now - float(one["time"]) for one in trial["spec"].get("decisions") or () if one.get("revision", 0) > applied
    ]
    running = seconds_since(condition(trial, "Running").get("lastTransitionTime"), now)
    return max(min([*decided[:1], *([] if running is None else [running])], default=0.0), 0.0)


def stall_of(glimpse: Glimpse | None, *, now: float) -> float:
    """Return how long a running trial has not moved."""
    return 0.0 if glimpse is None or glimpse.moved is None else max(now - glimpse.moved, 0.0)
