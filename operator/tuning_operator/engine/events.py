"""What the engine is told: the log. Its output depends on these records and the job's spec alone.

Locally the log is an append-only file; on Kubernetes the same records lie spread over the objects (a proposal is a
Trial's spec, marks and ends are its status). Each carries a sequence number given by the one process that writes, so
that the records can be put back into the order in which they were judged, wherever they were kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tuning_operator.curves.marks import MarkValue
from tuning_operator.schema import Scalar


class Role(StrEnum):
    """Why a trial exists."""

    SEARCH = "Search"
    EVALUATION = "Evaluation"
    """A finalist retrained with a seed that the search never saw: steered as before, stopped by no rule."""


class EndReason(StrEnum):
    """Why a trial is over. A stop by rule is not a failure."""

    COMPLETED = "Completed"
    STOPPED_EARLY = "StoppedEarly"
    TARGET_REACHED = "TargetReached"
    FAILED = "Failed"
    CONFIGURATION_ERROR = "ConfigurationError"
    OUT_OF_MEMORY = "OutOfMemory"
    PREEMPTED = "Preempted"
    NON_FINITE = "NonFinite"
    METRICS_UNAVAILABLE = "MetricsUnavailable"
    BUDGET_EXHAUSTED = "BudgetExhausted"
    CANCELLED = "Cancelled"

    @property
    def is_failure(self) -> bool:
        """Whether the trial counts against ``budget.failedTrials``."""
        return self in _FAILURES


_FAILURES = frozenset(
    {
        EndReason.FAILED,
        EndReason.CONFIGURATION_ERROR,
        EndReason.OUT_OF_MEMORY,
        EndReason.METRICS_UNAVAILABLE,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One record of the log.

    Attributes:
        sequence: Position in the log of this job; unique and rising.
        time: Seconds since the epoch, by the operator's clock.
    """

    sequence: int
    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStarted(Event):
    """The first record: what the job was when it started, so that a log is never taken up with another job's spec.

    Attributes:
        fixed: The parts of the spec that must not change, by name (``objective``, ``axis``, ``parameters``), each as
            canonical JSON.
    """

    fixed: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialProposed(Event):
    """A configuration was chosen; the trial exists from here on."""

    trial: int
    parameters: Mapping[str, Scalar]
    seed: int
    role: Role = Role.SEARCH
    audited: bool = False
    """No rule stops an audited trial, though each says when it would; so the wrong-stop rate is estimated."""
    candidate: int | None = None
    """For an evaluation: the number of the search trial whose parameters are retrained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted(Event):
    """A process (or pod) for this trial began; attempts count from 1."""

    trial: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkReached(Event):
    """A trial's curve passed a mark of the schedule."""

    trial: int
    attempt: int
    at: MarkValue


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRaised(Event):
    """A monitor saw something between the marks; recorded before anything is done about it."""

    trial: int
    attempt: int
    rule: str
    """The stopping rule whose monitor saw it."""
    alarm: str
    """What was seen: ``NonFinite`` or ``Explosion``."""
    fraction: float
    numbers: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEnded(Event):
    """A trial is over for good.

    Attributes:
        value: The objective in the user's direction, reduced as the job asks (Best or Last); None without any value.
        fraction: How much of the schedule was trained.
        compute_seconds: Seconds of process time over all attempts.
        gpu_seconds: The same times the GPUs held.
        message: For a person: what happened and what to do.
    """

    trial: int
    attempt: int
    reason: EndReason
    value: float | None
    fraction: float
    compute_seconds: float
    gpu_seconds: float = 0.0
    checkpoint: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitReached(Event):
    """The clock or the meter says that a budget is used up."""

    limit: str
    """Field of ``spec.budget``: ``duration`` or ``gpuHours``."""
    used: float
    """Seconds or GPU-hours; raising the budget above this number goes on with the job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceExhausted(Event):
    """A finite search space has no configuration left to propose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSuspended(Event):
    """The user asked to free everything and continue later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResumed(Event):
    """The user asked to continue, or a process took the job up again after a pause that is not to be counted.

    A backend records it when it takes up a log whose process was gone or whose job was finished: the time since the
    record before it then does not count against ``budget.duration``.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCancelled(Event):
    """The user asked to end the job now and keep what was found."""
