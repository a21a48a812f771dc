"""What the engine answers, and the ledger's line for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tuning_operator.engine.events import Event
from tuning_operator.schema import Mode


class Action(StrEnum):
    """What is to be done with a trial or the job."""

    STOP = "Stop"
    CHANGE_LEARNING_RATE = "ChangeLearningRate"
    BEGIN_DECAY = "BeginDecay"
    PAUSE = "Pause"
    RESUME = "Resume"
    FINISH = "Finish"
    """The whole job: no more proposals, running trials are stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Event):
    """One line of the ledger: what was decided, by which rule, and from which numbers.

    Attributes:
        because: Sequence of the event that was judged.
        trial: The trial concerned; None for the whole job.
        rule: Name of the rule, or of the budget (``Budget.duration``), or ``Target``.
        reason: Reason of the end that a stop leads to, else empty.
        enforced: False when the rule only observes, or would stop an audited trial: nothing is done.
        fraction: Where on the schedule the trial was.
        sentence: The decision as one plain sentence.
        inputs: The numbers behind it.
        compared: Number of other trials compared.
        saved: Fraction of the trial's schedule that is not trained because of a stop.
        revision: For control: the revision that carries the change.
        scale: For control: learning-rate scale now wanted.
        restore: For control: go back to the last good checkpoint first.
    """

    because: int
    trial: int | None
    rule: str
    action: Action
    mode: Mode
    enforced: bool
    sentence: str
    reason: str = ""
    fraction: float = 0.0
    inputs: Mapping[str, float]
    compared: int = 0
    saved: float = 0.0
    revision: int = 0
    scale: float = 1.0
    begin_decay: bool = False
    restore: bool = False
    quiet: float = 0.0
