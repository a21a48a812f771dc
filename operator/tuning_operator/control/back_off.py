"""Back-off."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tuning_operator.control.base import ControlRule
from tuning_operator.schema import RuleSettings


class BackOffSettings(RuleSettings):
    """Answer a divergence by a smaller learning rate instead of a stop."""

    rule: Literal["BackOff"] = "BackOff"
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Each back-off multiplies the learning rate by this."""
    floor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Least scale that back-offs may reach."""
    times: Annotated[int, Field(ge=1, le=10)] = 3
    """Back-offs per trial; after the last one a divergence stops the trial."""
    quiet: Annotated[float, Field(ge=0, lt=1)] = 0.06
    """Fraction of the schedule after a change during which no stopping rule judges the trial."""


class BackOff(ControlRule):
    name = "BackOff"
    Settings = BackOffSettings
