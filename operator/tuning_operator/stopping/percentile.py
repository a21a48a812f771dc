"""Percentile rule."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tuning_operator.schema import RuleSettings
from tuning_operator.stopping.base import StoppingRule


class PercentileSettings(RuleSettings):
    """Stop a trial whose best value so far is worse than a low percentile of the completed trials' running averages."""

    rule: Literal["Percentile"] = "Percentile"
    percentile: Annotated[float, Field(ge=0, le=100)] = 10
    """Percentile of the running averages of completed trials; lower stops more."""
    after: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Fraction of the schedule before which no trial is judged; never set it inside warm-up."""
    minimum_trials: Annotated[int, Field(ge=1, le=1000)] = 3
    """Completed trials to compare with before the rule says anything."""


class Percentile(StoppingRule):
    name = "Percentile"
    Settings = PercentileSettings
