"""Cool-down."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tuning_operator.control.base import ControlRule
from tuning_operator.schema import RuleSettings


class CoolDownSettings(RuleSettings):
    """Begin the final decay of the learning rate when the rest of the schedule is just long enough for it."""

    rule: Literal["CoolDown"] = "CoolDown"
    fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Last part of the schedule that decays."""


class CoolDown(ControlRule):
    name = "CoolDown"
    Settings = CoolDownSettings
