"""Records of a job's log as they lie in the objects they belong to (docs/adr/0001).

A Trial's spec holds its proposal and the decisions about it, so that writing a decision down and saying what is wanted
is one write; its status holds attempts, marks, alarms and the end; the TuningJob's status holds what concerns the whole
job. Every record carries its number in the job's log. All numbers that were observed or computed are texts, because
they must come back exactly as they were written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import Field

from tuning_operator.schema import Manifest

_NUMBER: Final = r"(-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?|NaN|-?Infinity)"

Number = Annotated[str, Field(max_length=32, pattern=f"^{_NUMBER}$")]
"""An observed number as text: NaN and infinity are not JSON, and 1.0 would come back as 1."""

MAX_DECISIONS: Final = 32
"""Of one trial: ten back-offs, a decay, a stop, and what each rule would have done, with room to spare."""
MAX_ALARMS: Final = 8
MAX_ATTEMPTS: Final = 16
MAX_JOB_RECORDS: Final = 64
MAX_NUMBERS: Final = 32
MAX_SENTENCE: Final = 1024
MAX_MESSAGE: Final = 4096
MAX_CHECKPOINT: Final = 1024

Sequence = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(max_length=128)]
Numbers = Annotated[Mapping[Annotated[str, Field(max_length=128)], Number], Field(max_length=MAX_NUMBERS)]

MarkLine = Annotated[
    str,
    Field(max_length=192, pattern=f"^[1-9][0-9]?( {_NUMBER}){{3}} ({_NUMBER}|-) [0-9]+ [0-9]+ {_NUMBER}$"),
]
"""The curve at one mark, as one text, because an API server takes objects apart field by field with each write."""


class RecordedDecision(Manifest):
    """What was decided, by which rule, and from which numbers."""

    sequence: Sequence
    """Position in the job's log."""
    because: Sequence
    """Position of the mark, alarm or end that was judged."""
    time: Number
    """Seconds since the epoch."""
    rule: Name
    """The rule, or the part of the budget."""
    action: Literal["Stop", "ChangeLearningRate", "BeginDecay", "Pause", "Resume", "Finish"]
    """What was decided."""
    mode: Literal["Act", "Observe"]
    """Whether the rule acts or only observes."""
    enforced: bool
    """False where a rule only observes, or would stop an audited trial: nothing is done."""
    sentence: Annotated[str, Field(max_length=MAX_SENTENCE)]
    """The decision in words, with its numbers."""
    reason: Annotated[str, Field(max_length=64)] | None = None
    """Reason of the end that a stop leads to."""
    fraction: Number | None = None
    """Where on the schedule the trial was."""
    inputs: Numbers = Field(default_factory=dict)
    """The numbers behind the decision."""
    compared: int | None = None
    """Number of other trials compared."""
    saved: Number | None = None
    """Part of the schedule that is not trained because of a stop."""
    revision: int | None = None
    """For a control change: the revision that carries it."""
    scale: Number | None = None
    """For a control change: factor on the schedule's learning rate, absolute."""
    begin_decay: bool | None = None
    """For a control change: decay from here to the end of the schedule."""
    restore: bool | None = None
    """For a control change: go back to the last good checkpoint first."""
    quiet: Number | None = None
    """Part of the schedule after a change in which no stopping rule judges the trial."""
    trial: int | None = None
    """Number of the trial concerned, where the decision lies with the job."""


class RecordedAttempt(Manifest):
    """A pod that began to train."""

    attempt: int
    """Which start of the trial, from 1."""
    sequence: Sequence
    """Position in the job's log."""
    time: Number
    """Seconds since the epoch."""


class RecordedAlarm(Manifest):
    """What a monitor saw between the marks."""

    sequence: Sequence
    """Position in the job's log."""
    time: Number
    """Seconds since the epoch."""
    attempt: int
    """Start of the trial that it was seen in."""
    rule: Name
    """Rule whose monitor it was."""
    alarm: Name
    """What it saw."""
    fraction: Number
    """Where on the schedule."""
    numbers: Numbers = Field(default_factory=dict)
    """What it saw in numbers."""


class RecordedEnd(Manifest):
    """How the trial is over, as the engine was told."""

    sequence: Sequence
    """Position in the job's log."""
    time: Number
    """Seconds since the epoch."""
    attempt: int
    """Last start of the trial."""
    reason: Annotated[str, Field(max_length=64)]
    """Why it ended."""
    value: Number | None = None
    """The objective, reduced as the job asks."""
    fraction: Number
    """How much of the schedule was trained."""
    compute_seconds: Number
    """Seconds that its pods ran."""
    gpu_seconds: Number | None = None
    """Seconds times GPUs held."""
    checkpoint: Annotated[str, Field(max_length=MAX_CHECKPOINT)] | None = None
    """Its newest checkpoint."""
    message: Annotated[str, Field(max_length=MAX_MESSAGE)] | None = None
    """What is to be said of its end."""


class JobRecord(Manifest):
    """A record that concerns the whole job."""

    kind: Literal[
        "JobStarted", "LimitReached", "SpaceExhausted", "JobSuspended", "JobResumed", "JobCancelled", "Decision"
    ]
    """What happened."""
    sequence: Sequence
    """Position in the job's log."""
    time: Number
    """Seconds since the epoch."""
    fixed: Annotated[
        Mapping[Annotated[str, Field(max_length=63)], Annotated[str, Field(max_length=128)]], Field(max_length=8)
    ] = Field(default_factory=dict)
    """With JobStarted: fingerprints of the parts of the spec that must not change."""
    limit: Annotated[str, Field(max_length=64)] | None = None
    """With LimitReached: which part of the budget."""
    used: Number | None = None
    """With LimitReached: seconds or GPU-hours."""
    decision: RecordedDecision | None = None
    """With Decision: why the job ends."""
