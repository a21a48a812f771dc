"""All stopping rules. A new rule is its file and its line here."""

from __future__ import annotations

from typing import Final

from tuning_operator.stopping.base import StoppingRule
from tuning_operator.stopping.divergence import Divergence
from tuning_operator.stopping.percentile import Percentile

STOPPING_RULES: Final[tuple[type[StoppingRule], ...]] = (
    Percentile,
    Divergence,
)
