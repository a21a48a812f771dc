"""What is wanted of a trial right now. A backend makes the process agree with it, however often it has to try."""

from __future__ import annotations

from dataclasses import dataclass

from tuning_operator.api.trial import Desired
from tuning_operator.engine.events import EndReason


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedControl:
    """What the trial is to train with; sent again until the trial reports `revision`.

    Attributes:
        revision: Rises by one with every change; 0 means that nothing was ever changed.
        scale: Factor on the schedule's own learning rate, absolute.
        begin_decay: Decay from where the trial is to the end of its schedule.
        restore: Go back to the last good checkpoint first. It stays asked for until the trial reports the revision
            that asked for it, even if a newer revision has taken its place.
    """

    revision: int = 0
    scale: float = 1.0
    begin_decay: bool = False
    restore: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Desired state of one trial.

    Attributes:
        desired: Running, Paused (the checkpoint stays, the machine is free) or Stopped.
        reason: With Stopped: the reason that the end is to be recorded with, unless the trial ended by itself first.
        message: With Stopped: why, for a person.
    """

    desired: Desired
    reason: EndReason | None = None
    message: str = ""
    control: WantedControl = WantedControl()
