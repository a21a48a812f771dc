"""What a person is shown of a job: one frozen picture, the same from a local run, a cluster or a simulation.

The command line, the report and the status are written against these classes only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.engine.decisions import Decision
from tuning_operator.engine.events import EndReason, Role
from tuning_operator.schema import Scalar


class TrialState(StrEnum):
    """Where a trial is in its life."""

    PENDING = "Pending"
    RUNNING = "Running"
    PAUSED = "Paused"
    ENDED = "Ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One point of a curve, in the user's own direction."""

    fraction: float
    value: float
    learning_rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialView:
    """One trial. Values are in the user's own direction.

    Attributes:
        value: Newest value seen, recorded or not.
        best: Best value seen.
        result: The final, reduced value; None until the trial has ended with one.
        scale: Learning-rate scale now wanted.
        applied_revision: Newest revision that the trial itself has reported.
        points: The recorded curve at the marks.
    """

    number: int
    name: str
    role: Role
    candidate: int | None
    audited: bool
    parameters: Mapping[str, Scalar]
    state: TrialState
    reason: EndReason | None
    message: str
    attempt: int
    fraction: float
    value: float | None
    best: float | None
    result: float | None
    learning_rate: float | None
    scale: float
    revision: int
    applied_revision: int
    checkpoint: str
    started: float | None
    ended: float | None
    compute_seconds: float
    gpu_seconds: float
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateView:
    """A finalist and what its retraining with other seeds gave, in the user's own direction.

    Attributes:
        candidate: Number of the search trial.
        results: One for each seed that has one.
        mean: Over all seeds; None while one of them has no result.
    """

    candidate: int
    results: tuple[float, ...]
    mean: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """The whole job.

    Attributes:
        best: The best trial: of the search, or, once all finalists are retrained, the one with the best mean.
        finished: Why the job is over (``TrialsCompleted``, ``TargetReached``, ``BudgetExhausted``,
            ``SearchSpaceExhausted``, ``TooManyFailures``, ``Cancelled``), or None while it goes on.
        compute_seconds: Process seconds used by all trials.
        compute_seconds_saved: Estimate of what stopped trials would still have used: their own pace over the rest of
            their schedule, at most what the median completed trial used.
        learning_rate_changes: Enforced control decisions.
        rank_correlation: Spearman correlation between early and final results; None while too few are complete.
        wrong_stop_rate: Share of audited would-be stops that ended among the best; None without audited trials.
        candidates: Finalists of the evaluation, best mean first; empty before or without one.
        ranking: Numbers of the search trials that may be the best, best first.
        notice: What a person must know before all else, for example why the job does not go on; usually empty.
    """

    name: str
    spec: TuningJobSpec
    suspended: bool
    finished: str | None
    trials: tuple[TrialView, ...]
    decisions: tuple[Decision, ...]
    best: TrialView | None
    states: Mapping[str, int]
    reasons: Mapping[str, int]
    learning_rate_changes: int
    compute_seconds: float
    compute_seconds_saved: float
    gpu_hours: float
    gpu_hours_saved: float
    rank_correlation: float | None
    wrong_stop_rate: float | None
    started: float | None
    updated: float | None
    candidates: tuple[CandidateView, ...] = ()
    ranking: tuple[int, ...] = ()
    notice: str = ""
