"""Divergence guard."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tuning_operator.schema import RuleSettings
from tuning_operator.stopping.base import StoppingRule


class DivergenceSettings(RuleSettings):
    """Stop a trial whose training loss becomes non-finite or explodes, unless a control rule rescues it first."""

    rule: Literal["Divergence"] = "Divergence"
    patience: Annotated[int, Field(ge=1, le=100)] = 3
    """Looks in a row that must see the explosion."""
    sigma: Annotated[float, Field(gt=0, le=100)] = 6
    """How many robust standard deviations of the log-loss count as an explosion (at least a doubling in any case)."""
    after: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """Fraction of the schedule before which an explosion is not looked for; non-finite losses always count."""


class Divergence(StoppingRule):
    name = "Divergence"
    Settings = DivergenceSettings
