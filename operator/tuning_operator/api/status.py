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
    """What the condition is of."""
    status: ConditionStatus
    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """One word for programs."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """A sentence for people."""
    last_transition_time: datetime
    """When status changed last."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """Generation of the spec that this was seen with."""


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
    """Name of the Trial."""
    value: Number | None = None
    """The objective, reduced as the job asks."""
    parameters: Assignment
    """Its configuration."""
    checkpoint: Annotated[str, Field(max_length=1024)] | None = None
    """Its newest checkpoint."""


class TrialCounts(Manifest):
    """Trials by state."""

    pending: int = 0
    """Proposed, and not training yet."""
    running: int = 0
    """Training."""
    paused: int = 0
    """Waiting at a checkpoint."""
    completed: int = 0
    """Trained to the end of the schedule."""
    stopped_early: int = 0
    """Stopped by a rule."""
    failed: int = 0
    """Ended by an error; disruptions are retried and do not count."""


class TuningJobStatus(Manifest):
    """How the job is doing."""

    observed_generation: int | None = None
    """Generation of the spec that this status is about."""
    conditions: Conditions = ()
    """Accepted, Running, Complete, Failed, Suspended."""
    trials: TrialCounts = TrialCounts()
    best: TrialSummary | None = None
    """The best trial so far."""
    top: Annotated[tuple[TrialSummary, ...], Field(max_length=10)] = ()
    """The ten best trials."""
    gpu_hours_used: Number | None = None
    """GPUs times hours, over all trials."""
    gpu_hours_saved: Number | None = None
    """Estimate: what stopped trials would have used up to the end of their schedule."""
    learning_rate_changes: int = 0
    """Changes made to running trials."""
    rank_correlation: Number | None = None
    """Spearman correlation of early with final results over completed trials; None while there are too few."""
    wrong_stop_rate: Number | None = None
    """Share of audited trials that a rule would have stopped although they ended among the best."""
    start_time: datetime | None = None
    """When the first trial was proposed."""
    completion_time: datetime | None = None
    """When the job was over."""
    records: Annotated[tuple[JobRecord, ...], Field(max_length=MAX_JOB_RECORDS)] = ()
    """What concerns the whole job in its log: the start, suspensions, budgets that ran out, the end."""
