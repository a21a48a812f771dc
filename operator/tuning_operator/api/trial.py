"""Trial: one configuration being trained. The engine decides by its spec, the trial controller executes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from tuning_operator.api.metadata import API_VERSION, ObjectMeta
from tuning_operator.api.parameters import Assignment, Choice, ParameterName
from tuning_operator.api.record import (
    MAX_ALARMS,
    MAX_ATTEMPTS,
    MAX_DECISIONS,
    MarkLine,
    Number,
    RecordedAlarm,
    RecordedAttempt,
    RecordedDecision,
    RecordedEnd,
)
from tuning_operator.api.status import Conditions
from tuning_operator.schema import Manifest


class Desired(StrEnum):
    """What is wanted of a trial."""

    RUNNING = "Running"
    PAUSED = "Paused"
    STOPPED = "Stopped"


class StopReason(StrEnum):
    """Why a trial is to be stopped; it becomes the reason of its end."""

    STOPPED_EARLY = "StoppedEarly"
    TARGET_REACHED = "TargetReached"
    NON_FINITE = "NonFinite"
    METRICS_UNAVAILABLE = "MetricsUnavailable"
    BUDGET_EXHAUSTED = "BudgetExhausted"
    CANCELLED = "Cancelled"


class Control(Manifest):
    """What the running trainer is to apply; sent again until the trial reports the revision."""

    revision: Annotated[int, Field(ge=0)] = 0
    """Rises by one with every change."""
    learning_rate_scale: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Factor on the schedule's own learning rate."""
    begin_decay: bool = False
    """Decay from here to the end of the schedule."""
    restore: bool = False
    """Go back to the last good checkpoint first."""
    values: Annotated[Mapping[ParameterName, Choice], Field(max_length=16)] = Field(default_factory=dict)
    """Other live parameters."""


class TrialSpec(Manifest):
    """What is wanted."""

    job: Annotated[str, Field(min_length=1, max_length=52)]
    """The TuningJob it belongs to."""
    number: Annotated[int, Field(ge=0)]
    """Position among the job's trials, from 0."""
    parameters: Assignment
    """The configuration to train."""
    seed: Annotated[int, Field(ge=0)]
    """Seed of the training itself."""
    role: Literal["Search", "Evaluation"] = "Search"
    """Search, or Evaluation of a finalist with a seed that the search never saw."""
    candidate: int | None = None
    """For an evaluation: number of the trial that is retrained."""
    audited: bool = False
    """No rule may stop this trial; what becomes of it tells how often a stop is wrong."""
    sequence: Annotated[int, Field(ge=0)] = 0
    """Position of the proposal in the job's log."""
    proposed_at: Number = "0.0"
    """When it was proposed, in seconds since the epoch."""
    desired: Desired = Desired.RUNNING
    """Running, Paused (the checkpoint stays, the GPU is free) or Stopped."""
    stop_reason: StopReason | None = None
    """With desired Stopped: what was decided; left out it counts as Cancelled."""
    control: Control = Control()
    decisions: Annotated[tuple[RecordedDecision, ...], Field(max_length=MAX_DECISIONS)] = ()
    """What was decided about it and why, in the order of the job's log; desired and control follow from it."""


class TrialStatus(Manifest):
    """What is."""

    observed_generation: int | None = None
    """Generation of the spec that this status is about."""
    conditions: Conditions = ()
    """Running, Finished, and Queued where a queue holds the trial back."""
    attempt: int = 0
    """How often it was started: over several nodes, how often rank 0 was."""
    pod: Annotated[str, Field(max_length=253)] | None = None
    """Pod of the newest attempt; over several nodes, of rank 0."""
    value: Number | None = None
    """Newest value of the objective."""
    best: Number | None = None
    """Best value of the objective."""
    fraction: Number | None = None
    """How much of the schedule is trained."""
    learning_rate: Number | None = None
    """Learning rate in force."""
    revision: int = 0
    """Newest control revision that the trainer has applied."""
    reason: Annotated[str, Field(max_length=64)] | None = None
    """Why it ended."""
    message: Annotated[str, Field(max_length=4096)] | None = None
    """A sentence on its state, or on why it ended and what would help."""
    checkpoint: Annotated[str, Field(max_length=1024)] | None = None
    """Its newest checkpoint."""
    marks: Annotated[tuple[MarkLine, ...], Field(max_length=64)] = ()
    """The recorded curve; columns: mark (of 50), loss, least, mean, rate or -, attempt, log position, seconds."""
    attempts: Annotated[tuple[RecordedAttempt, ...], Field(max_length=MAX_ATTEMPTS)] = ()
    """The first attempt and the newest ones."""
    alarms: Annotated[tuple[RecordedAlarm, ...], Field(max_length=MAX_ALARMS)] = ()
    """The newest alarms."""
    end: RecordedEnd | None = None
    """The last word of the job's log on it."""
    start_time: datetime | None = None
    """When its first pod ran."""
    completion_time: datetime | None = None
    """When it ended."""
    gpu_seconds: Number | None = None
    """Seconds times GPUs held, over all pods, up to accountedUntil."""
    compute_seconds: Number | None = None
    """Seconds that its pods ran, over all pods, up to accountedUntil."""
    accounted_until: datetime | None = None
    """Up to when compute and GPU time are counted."""


class Trial(Manifest):
    """One configuration being trained."""

    api_version: Literal["tuning-operator.io/v1alpha1"] = API_VERSION
    kind: Literal["Trial"] = "Trial"
    metadata: ObjectMeta
    spec: TrialSpec
    status: TrialStatus | None = None
