"""Every metric that the operator exports, in one table; the code, the dashboards and the alerts are written against it.

Names follow Prometheus' conventions (base units, ``_total`` for counters). No series outlives what it tells of:
whatever carries the name of an object is computed at each scrape from the caches, and is gone with the object. What is
counted while the process runs carries closed sets of labels only.

The labels ``namespace`` and ``tuning_job`` say what a series is about, so a scrape must keep them
(``honorLabels: true``); ``job`` is not used, because Prometheus gives that label to every target.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tuning_operator.engine.decisions import Action
from tuning_operator.engine.events import EndReason
from tuning_operator.scrape.steering import Sent

PREFIX: Final = "tuning_operator_"
TRIALS_SHOWN: Final = 100
"""Trials of one job that have series of their own: those that run, then those that ended last."""
ENDED_SHOWN: Final = 600.0
"""Seconds for which an ended trial keeps its series, so that every scrape interval in use sees its last value."""


class Kind(StrEnum):
    """Prometheus' type."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


class About(StrEnum):
    """What a metric tells of, which says when it is there."""

    PROCESS = "process"
    """Always, while the process lives."""
    WORK = "work"
    """While this process leads."""
    JOB = "job"
    """While this process leads and the TuningJob exists."""
    TRIAL = "trial"
    """While this process leads and the Trial runs, or ended not long ago; of at most `TRIALS_SHOWN` a job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric.

    Attributes:
        name: As it is queried, without the ``_bucket``, ``_sum`` and ``_count`` of a histogram.
        unit: Base unit; empty for a pure number.
        buckets: Upper bounds, for a histogram.
    """

    name: str
    kind: Kind
    about: About
    labels: tuple[str, ...] = ()
    unit: str = ""
    help: str
    buckets: tuple[float, ...] = ()


class JobState(StrEnum):
    """Values of the label ``state`` of `JOBS`."""

    PENDING = "Pending"
    """Nobody has looked at it yet."""
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    COMPLETE = "Complete"
    FAILED = "Failed"
    REJECTED = "Rejected"
    """Its manifest cannot be followed; its condition Accepted says why."""


class TrialState(StrEnum):
    """Values of the label ``state`` of `TRIALS`."""

    PENDING = "Pending"
    """Its pods do not run yet, or not any more."""
    QUEUED = "Queued"
    """A queue, or a person, holds its Job suspended."""
    RUNNING = "Running"
    PAUSED = "Paused"
    COMPLETED = "Completed"
    """Trained to the end, or reached the target."""
    STOPPED_EARLY = "StoppedEarly"
    """Stopped by a rule."""
    FAILED = "Failed"
    ENDED = "Ended"
    """Ended otherwise: budget, cancelled, preempted."""


_JOB = ("namespace", "tuning_job")
_TRIAL = (*_JOB, "trial")
_FAST = (0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_SLOW = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


def _metric(
    name: str,
    kind: Kind,
    about: About,
    text: str,
    *,
    labels: tuple[str, ...] | None = None,
    unit: str = "",
    buckets: tuple[float, ...] = (),
) -> Metric:
    usual = {About.JOB: _JOB, About.TRIAL: _TRIAL}.get(about, ())
    return Metric(
        name=PREFIX + name,
        kind=kind,
        about=about,
        labels=usual if labels is None else labels,
        unit=unit,
        help=text,
        buckets=buckets,
    )


BUILD_INFO: Final = _metric(
    "build_info", Kind.GAUGE, About.PROCESS, "Version of the operator; always 1.", labels=("version", "python")
)
LEADER: Final = _metric("leader", Kind.GAUGE, About.PROCESS, "1 while this process leads, 0 while it stands by.")
LOOP_LAG: Final = _metric(
    "event_loop_lag_seconds",
    Kind.HISTOGRAM,
    About.PROCESS,
    "How late the event loop was, measured four times a second.",
    unit="seconds",
    buckets=_FAST,
)
REQUESTS: Final = _metric(
    "kube_requests_total",
    Kind.COUNTER,
    About.PROCESS,
    "Requests to the API server by the verb of its RBAC rules; code 0: no answer came.",
    labels=("verb", "resource", "code"),
)
REQUEST_DURATION: Final = _metric(
    "kube_request_duration_seconds",
    Kind.HISTOGRAM,
    About.PROCESS,
    "Time until the API server had answered; of a watch, until it began.",
    labels=("verb", "resource"),
    unit="seconds",
    buckets=_SLOW,
)

RECONCILES: Final = _metric(
    "reconciles_total",
    Kind.COUNTER,
    About.WORK,
    "Times that a controller (trial, job) looked at one object, by result (success, error).",
    labels=("controller", "result"),
)
RECONCILE_DURATION: Final = _metric(
    "reconcile_duration_seconds",
    Kind.HISTOGRAM,
    About.WORK,
    "Time that one such look took, its requests included.",
    labels=("controller",),
    unit="seconds",
    buckets=_SLOW,
)
QUEUE_DEPTH: Final = _metric(
    "queue_depth",
    Kind.GAUGE,
    About.WORK,
    "What waits to be done now: trials to be looked at, events to be written.",
    labels=("queue",),
)
QUEUE_AGE: Final = _metric(
    "queue_oldest_seconds",
    Kind.GAUGE,
    About.WORK,
    "How long the trial in front of the queue has waited.",
    labels=("queue",),
    unit="seconds",
)
WATCH_RESTARTS: Final = _metric(
    "watch_restarts_total",
    Kind.COUNTER,
    About.WORK,
    "Watches that ended by an error, by its reason; Gone means that everything was listed anew.",
    labels=("resource", "reason"),
)
CACHE_OBJECTS: Final = _metric("cache_objects", Kind.GAUGE, About.WORK, "Objects in a cache.", labels=("resource",))
CACHE_AGE: Final = _metric(
    "cache_age_seconds",
    Kind.GAUGE,
    About.WORK,
    "Time since the API server last said anything about these objects; about a minute is usual where nothing changes.",
    labels=("resource",),
    unit="seconds",
)
SCRAPES: Final = _metric(
    "scrapes_total",
    Kind.COUNTER,
    About.WORK,
    "Looks at running trials, by result (success, error).",
    labels=("result",),
)
SCRAPE_DURATION: Final = _metric(
    "scrape_duration_seconds",
    Kind.HISTOGRAM,
    About.WORK,
    "Time that one look at one trial took.",
    unit="seconds",
    buckets=_SLOW,
)
CONTROL_MESSAGES: Final = _metric(
    "control_messages_total",
    Kind.COUNTER,
    About.WORK,
    f"Control messages sent to trials, by result ({', '.join(Sent)}); one that is not acknowledged is sent again.",
    labels=("result",),
)

JOBS: Final = _metric(
    "jobs",
    Kind.GAUGE,
    About.JOB,
    f"TuningJobs by state: {', '.join(JobState)}.",
    labels=("namespace", "state"),
)
JOB_INFO: Final = _metric(
    "job_info",
    Kind.GAUGE,
    About.JOB,
    "What a job optimizes and how; always 1.",
    labels=(*_JOB, "objective", "direction", "algorithm"),
)
TRIALS: Final = _metric(
    "trials", Kind.GAUGE, About.JOB, f"Trials by state: {', '.join(TrialState)}.", labels=(*_JOB, "state")
)
TRIALS_ENDED: Final = _metric(
    "trials_ended",
    Kind.GAUGE,
    About.JOB,
    f"Trials that are over, by reason: {', '.join(EndReason)}.",
    labels=(*_JOB, "reason"),
)
DECISIONS: Final = _metric(
    "decisions_total",
    Kind.COUNTER,
    About.JOB,
    f"Recorded decisions by rule and verdict ({', '.join(Action)}); enforced is false where a rule only observes or "
    "the trial is audited. Counted from the records, so a restart loses none.",
    labels=(*_JOB, "rule", "verdict", "enforced"),
)
GPU_SECONDS: Final = _metric(
    "gpu_seconds_total", Kind.COUNTER, About.JOB, "Seconds times GPUs that the trials' pods held.", unit="seconds"
)
COMPUTE_SECONDS: Final = _metric(
    "compute_seconds_total", Kind.COUNTER, About.JOB, "Seconds that the trials' pods ran.", unit="seconds"
)
GPU_SECONDS_SAVED: Final = _metric(
    "gpu_seconds_saved",
    Kind.GAUGE,
    About.JOB,
    "Estimate: GPU-seconds that trials stopped by a rule would still have used.",
    unit="seconds",
)
COMPUTE_SECONDS_SAVED: Final = _metric(
    "compute_seconds_saved",
    Kind.GAUGE,
    About.JOB,
    "Estimate: pod seconds that trials stopped by a rule would still have used.",
    unit="seconds",
)
BEST_VALUE: Final = _metric("job_best_value", Kind.GAUGE, About.JOB, "Result of the best trial that has ended.")
BUDGET_USED: Final = _metric(
    "job_budget_used_ratio",
    Kind.GAUGE,
    About.JOB,
    "Used part of each budget that the job has (trials, failedTrials, duration, gpuHours); at 1 it ends the job.",
    labels=(*_JOB, "budget"),
    unit="ratio",
)
RANK_CORRELATION: Final = _metric(
    "job_rank_correlation",
    Kind.GAUGE,
    About.JOB,
    "Spearman correlation of early with final results, from -1 to 1; absent while too few trials are complete.",
)
WRONG_STOPS: Final = _metric(
    "job_wrong_stop_ratio",
    Kind.GAUGE,
    About.JOB,
    "Share of audited trials that a rule would have stopped although they ended among the best; absent without any.",
    unit="ratio",
)
UNREADABLE: Final = _metric(
    "job_unreadable_trials", Kind.GAUGE, About.JOB, "Running trials whose metrics could not be read at the last look."
)
STALL: Final = _metric(
    "job_stall_seconds",
    Kind.GAUGE,
    About.JOB,
    "Longest time for which a running trial has not moved on its axis; 0 while none runs.",
    unit="seconds",
)
WAIT: Final = _metric(
    "job_wait_seconds",
    Kind.GAUGE,
    About.JOB,
    "Longest time for which a trial that is to run has waited for its pods; a queued one does not count.",
    unit="seconds",
)
CONTROL_WAIT: Final = _metric(
    "job_control_wait_seconds",
    Kind.GAUGE,
    About.JOB,
    "Longest time for which a running trial has not acknowledged a control change; 0 while none is open.",
    unit="seconds",
)
HIDDEN: Final = _metric(
    "job_hidden_trials",
    Kind.GAUGE,
    About.JOB,
    f"Trials that would have series of their own, were it not for the limit of {TRIALS_SHOWN} a job.",
)

TRIAL_VALUE: Final = _metric("trial_value", Kind.GAUGE, About.TRIAL, "Newest value of the objective.")
TRIAL_BEST: Final = _metric("trial_best_value", Kind.GAUGE, About.TRIAL, "Best value of the objective so far.")
TRIAL_PROGRESS: Final = _metric(
    "trial_progress_ratio", Kind.GAUGE, About.TRIAL, "Part of the schedule that is trained.", unit="ratio"
)
TRIAL_LEARNING_RATE: Final = _metric(
    "trial_learning_rate", Kind.GAUGE, About.TRIAL, "Learning rate in force, as the trial reports it."
)
TRIAL_SCALE: Final = _metric(
    "trial_learning_rate_scale", Kind.GAUGE, About.TRIAL, "Wanted factor on the schedule's own learning rate."
)
TRIAL_REVISION: Final = _metric("trial_control_revision", Kind.GAUGE, About.TRIAL, "Wanted control revision.")
TRIAL_APPLIED: Final = _metric(
    "trial_control_revision_applied", Kind.GAUGE, About.TRIAL, "Control revision that the trial reports."
)
TRIAL_PARAMETER: Final = _metric(
    "trial_parameter",
    Kind.GAUGE,
    About.TRIAL,
    "Value of a numeric parameter of the trial.",
    labels=(*_TRIAL, "parameter"),
)
TRIAL_CHOICE: Final = _metric(
    "trial_choice_info",
    Kind.GAUGE,
    About.TRIAL,
    "Choice of a categorical parameter of the trial; always 1.",
    labels=(*_TRIAL, "parameter", "choice"),
)

METRICS: Final[tuple[Metric, ...]] = tuple(value for value in globals().values() if isinstance(value, Metric))
"""All of them, in the order of this module."""

STANDARD: Final = (
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
)
"""What Prometheus' own client library adds about any process."""
