"""The metrics of jobs, and of the operator's own queues and caches, from one snapshot."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from prometheus_client.metrics_core import Metric as Family

from tuning_operator.api.tuning_job import Budget, TuningJobSpec
from tuning_operator.backends.kubernetes import metrics
from tuning_operator.backends.kubernetes.gpus import Usage, usage
from tuning_operator.backends.kubernetes.metrics import JobState, TrialState
from tuning_operator.backends.kubernetes.reflector import Key
from tuning_operator.backends.kubernetes.resources import Object, key_of
from tuning_operator.backends.kubernetes.series import Add, Series, add_known
from tuning_operator.backends.kubernetes.snapshot import Snapshot
from tuning_operator.backends.kubernetes.times import parse_time
from tuning_operator.backends.kubernetes.trial_series import (
    add_trial,
    choose_shown,
    condition,
    control_wait_of,
    stall_of,
    state_of,
    wait_of,
)
from tuning_operator.engine.events import EndReason
from tuning_operator.engine.savings import estimate_saved
from tuning_operator.schema import parse_duration

_STATES: Final = (
    ("Failed", JobState.FAILED),
    ("Complete", JobState.COMPLETE),
    ("Suspended", JobState.SUSPENDED),
)


def render(snapshot: Snapshot, *, limit: int = metrics.TRIALS_SHOWN) -> list[Family]:
    """Return the metrics of everything in a snapshot, with series of their own for `limit` trials of each job."""
    series = Series()
    add = series.add
    by_job: dict[Key, list[Object]] = defaultdict(list)
    for trial in snapshot.trials:
        by_job[trial["metadata"]["namespace"], trial["spec"]["job"]].append(trial)
    _add_states(add, snapshot.jobs)
    for job in snapshot.jobs:
        _add_job(add, job, by_job.get(key_of(job), []), snapshot, limit)
    for queue, depth in snapshot.queues.items():
        add(metrics.QUEUE_DEPTH, (queue,), depth)
    for queue, age in snapshot.oldest.items():
        add(metrics.QUEUE_AGE, (queue,), age)
    for resource, cache in snapshot.caches.items():
        add(metrics.CACHE_OBJECTS, (resource,), cache.size)
        if cache.age is not None:
            add(metrics.CACHE_AGE, (resource,), cache.age)
    return series.families()


def job_state(job: Object) -> JobState:
    """Return what a TuningJob does."""
    if not (job.get("status") or {}).get("conditions"):
        return JobState.PENDING
    if condition(job, "Accepted").get("status") == "False":
        return JobState.REJECTED
    found = (state for kind, state in _STATES if condition(job, kind).get("status") == "True")
    return next(found, JobState.RUNNING)


def _add_states(add: Add, jobs: Iterable[Object]) -> None:
    """Every state of every namespace that has a job, so that a panel shows 0 and not nothing."""
    counts: dict[str, Counter[JobState]] = defaultdict(Counter)
    for job in jobs:
        counts[job["metadata"]["namespace"]][job_state(job)] += 1
    for namespace, count in counts.items():
        for state in JobState:
            add(metrics.JOBS, (namespace, state), count[state])


def _add_job(add: Add, job: Object, trials: Sequence[Object], snapshot: Snapshot, limit: int) -> None:
    labels, spec, status, now = key_of(job), job["spec"], job.get("status") or {}, snapshot.now
    objective = spec.get("objective") or {}
    algorithm = str((spec.get("search") or {}).get("algorithm", TuningJobSpec.model_fields["search"].default.algorithm))
    direction = str(objective.get("direction", "Minimize"))
    add(metrics.JOB_INFO, (*labels, str(objective.get("metric", "")), direction, algorithm), 1)
    states = [state_of(trial) for trial in trials]
    counts = Counter(states)
    for state in TrialState:
        add(metrics.TRIALS, (*labels, state), counts[state])
    reasons = Counter(str(trial["status"]["reason"]) for trial in trials if (trial.get("status") or {}).get("reason"))
    for reason, count in reasons.items():
        add(metrics.TRIALS_ENDED, (*labels, reason), count)
    _add_decisions(add, labels, status, trials)
    gpu_seconds = _add_usage(add, labels, trials, snapshot)
    if status.get("best"):
        add_known(add, metrics.BEST_VALUE, labels, status["best"], "value")
    add_known(add, metrics.RANK_CORRELATION, labels, status, "rankCorrelation")
    add_known(add, metrics.WRONG_STOPS, labels, status, "wrongStopRate")
    for budget, used in _budgets(spec, status, trials, gpu_seconds=gpu_seconds, now=now).items():
        add(metrics.BUDGET_USED, (*labels, budget), used)
    seen = [snapshot.glimpses.get(key_of(trial)) for trial in trials]
    running = [
        (trial, glimpse)
        for trial, state, glimpse in zip(trials, states, seen, strict=True)
        if state is TrialState.RUNNING
    ]
    unreadable = sum(glimpse is not None and not glimpse.readable for _, glimpse in running)
    waits = (wait_of(trial, state, now=now) for trial, state in zip(trials, states, strict=True))
    add(metrics.UNREADABLE, labels, unreadable)
    add(metrics.STALL, labels, max((stall_of(glimpse, now=now) for _, glimpse in running), default=0.0))
    add(metrics.WAIT, labels, max(waits, default=0.0))
    pending = (control_wait_of(trial, glimpse, now=now) for trial, glimpse in running)
    add(metrics.CONTROL_WAIT, labels, max(pending, default=0.0))
    shown, hidden = choose_shown(trials, now=now, limit=limit)
    add(metrics.HIDDEN, labels, hidden)
    for trial in shown:
        add_trial(add, trial, snapshot.glimpses.get(key_of(trial)))


def _add_decisions(add: Add, labels: Key, status: Object, trials: Iterable[Object]) -> None:
    of_job = [one["decision"] for one in status.get("records") or () if one.get("decision")]
    of_trials = (one for trial in trials for one in trial["spec"].get("decisions") or ())
    counts = Counter((one["rule"], one["action"], str(one["enforced"]).lower()) for one in (*of_job, *of_trials))
    for decided, count in counts.items():
        add(metrics.DECISIONS, (*labels, *decided), count)


def _add_usage(add: Add, labels: Key, trials: Iterable[Object], snapshot: Snapshot) -> float:
    """Add what was used and saved, and return the GPU-seconds used."""
    found = [(trial, _usage_of(trial, snapshot)) for trial in trials]
    gpu = sum(used.gpu for _, used in found)
    add(metrics.GPU_SECONDS, labels, gpu)
    add(metrics.COMPUTE_SECONDS, labels, sum(used.compute for _, used in found))
    ends = [(_end_of(trial), used) for trial, used in found]
    saved_gpu = estimate_saved((reason, fraction, used.gpu) for (reason, fraction), used in ends)
    saved_compute = estimate_saved((reason, fraction, used.compute) for (reason, fraction), used in ends)
    add(metrics.GPU_SECONDS_SAVED, labels, saved_gpu)
    add(metrics.COMPUTE_SECONDS_SAVED, labels, saved_compute)
    return gpu


def _usage_of(trial: Object, snapshot: Snapshot) -> Usage:
    status = trial.get("status") or {}
    compute, gpu = float(status.get("computeSeconds") or 0), float(status.get("gpuSeconds") or 0)
    pods = snapshot.sights.get(key_of(trial), ())
    if status.get("reason") or not pods:
        return Usage(compute=compute, gpu=gpu)
    since, now = parse_time(status.get("accountedUntil")), datetime.fromtimestamp(snapshot.now, tz=UTC)
    fresh = usage(pods, since=since, now=now)
    return Usage(compute=compute + fresh.compute, gpu=gpu + fresh.gpu)


def _end_of(trial: Object) -> tuple[EndReason | None, float]:
    status = trial.get("status") or {}
    end = status.get("end") or {}
    reason = end.get("reason") or status.get("reason")
    return (EndReason(reason) if reason else None), float(end.get("fraction") or status.get("fraction") or 0)


def _budgets(
    spec: Object, status: Object, trials: Iterable[Object], *, gpu_seconds: float, now: float
) -> Mapping[str, float]:
    """Return the used part of each budget; at 1 it ends the job."""
    budget: dict[str, Any] = spec.get("budget") or {}
    usual = Budget()
    ended = [trial for trial in trials if (trial.get("status") or {}).get("reason")]
    searched = sum(trial["spec"].get("role", "Search") == "Search" for trial in ended)
    failures = sum(EndReason(trial["status"]["reason"]).is_failure for trial in ended)
    found = {
        "trials": searched / int(budget.get("trials", usual.trials)),
        "failedTrials": failures / (int(budget.get("failedTrials", usual.failed_trials)) + 1),
    }
    if budget.get("duration"):
        whole = parse_duration(budget["duration"]).total_seconds()
        found["duration"] = _active_seconds(status, now) / whole if whole else 1.0
    if budget.get("gpuHours"):
        found["gpuHours"] = gpu_seconds / 3600 / float(budget["gpuHours"])
    return found


def _active_seconds(status: Object, now: float) -> float:
    """Return how long a job has been at work, without suspensions, as its records tell."""
    completed = parse_time(status.get("completionTime"))
    until = now if completed is None else completed.timestamp()
    total, since = 0.0, None
    for record in sorted(status.get("records") or (), key=lambda one: one["sequence"]):
        time = float(record["time"])
        if record["kind"] == "JobSuspended" and since is not None:
            total, since = total + time - since, None
        elif since is None and record["kind"] in ("JobStarted", "JobResumed"):
            since = time
    return total if since is None else total + max(until - since, 0.0)
