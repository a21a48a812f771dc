"""What a control rule is: a pure judge that proposes to change the learning rate of a running trial."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tuning_operator.curves.alarm import Alarm
from tuning_operator.curves.curve import Curve
from tuning_operator.schema import RuleSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlVerdict:
    """Change what this trial trains with, and why.

    Attributes:
        scale: New factor on the schedule's own learning rate (absolute, not relative to the factor in force); None
            leaves it.
        begin_decay: Begin the final decay now, so that it ends at the end of the schedule.
        restore: Go back to the last good checkpoint first.
        quiet: Fraction of the schedule during which stopping rules must not judge this trial after the change.
    """

    sentence: str
    inputs: Mapping[str, float]
    scale: float | None = None
    begin_decay: bool = False
    restore: bool = False
    quiet: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedControl:
    """What has been asked of a trial so far.

    Attributes:
        changes: How often each rule (by name) changed this trial.
    """

    revision: int = 0
    scale: float = 1.0
    begin_decay: bool = False
    changes: Mapping[str, int]


class ControlRule(ABC):
    """Base of all control rules; a rule overrides what it needs."""

    name: ClassVar[str]
    Settings: ClassVar[type[RuleSettings]]

    @abstractmethod
    def __init__(self, settings: Any) -> None:
        """Keep the settings; they are an instance of `Settings`."""

    def judge(self, curve: Curve, applied: AppliedControl) -> ControlVerdict | None:  # noqa: ARG002
        """Judge a curve at its newest mark."""
        return None

    def judge_alarm(self, alarm: Alarm, curve: Curve, applied: AppliedControl) -> ControlVerdict | None:  # noqa: ARG002
        """Answer a recorded alarm before any stopping rule does; None leaves it to them."""
        return None
