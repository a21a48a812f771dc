"""What the operator writes back: conditions, counts, the best trial. Bounded: never a curve, never all trials."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tuning_operator.api.parameters import Assignment
from tuning_operator.api.record import MAX_JOB_RECORDS, JobRecord, Number
from tuning_operator.schema import Manifest


class ConditionStatus(StrEnum):
    """Kubernetes' three-valued truth."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Manifest):
    """metav1.Condition."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    status: ConditionStatus
    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    message: Annotated[str, Field(max_length=32768)] = ""
    last_transition_time: datetime
    observed_generation: Annotated[int, Field(ge=0)] | None = None


Conditions = Annotated[
    tuple[Condition, ...],
    Field(
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    ),
]


class TrialSummary(Manifest):
    """A trial in one line."""

    name: Annotated[str, Field(max_length=63)]
    value: Number | None = None
    """The objective, reduced as the job asks."""
    parameters: Assignment
    checkpoint: Annotated[str, Field(max_length=1024)] | None = None


class TrialCounts(Manifest):
    """Trials by state."""

    pending: int = 0
    running: int = 0
    paused: int = 0
    completed: int = 0
    stopped_early: int = 0
    failed: int = 0


class TuningJobStatus(Manifest):
    """How the job is doing."""

    observed_generation: int | None = None
    conditions: Conditions = ()
    """Accepted, Running, Complete, Failed, Suspended."""
    trials: TrialCounts = TrialCounts()
    best: TrialSummary | None = None
    top: Annotated[tuple[TrialSummary, ...], Field(max_length=10)] = ()
    """The ten best trials."""
    gpu_hours_used: Number | None = None
    gpu_hours_saved: Number | None = None
    """Estimate: what stopped trials would have used up to the end of their schedule."""
    learning_rate_changes: int = 0
    rank_correlation: Number | None = None
    """Spearman correlation of early with final results over completed trials; None while there are too few."""
    wrong_stop_rate: Number | None = None
    """Share of audited trials that a rule would have stopped although they ended among the best."""
    start_time: datetime | None = None
    completion_time: datetime | None = None
    records: Annotated[tuple[JobRecord, ...], Field(max_length=MAX_JOB_RECORDS)] = ()
    """What concerns the whole job in its log: the start, suspensions, budgets that ran out, the end."""
