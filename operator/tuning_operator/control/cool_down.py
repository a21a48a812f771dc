"""CoolDown: begin the final decay of the learning rate when the rest of the schedule is just long enough for it.

Formula:
    At the first mark t with ``t >= 1 - fraction``: begin the decay, so that it ends at the end of the schedule.

Source:
    Warm-up, stable, decay: Haegele et al. 2024 (arXiv 2405.18392; fraction 0.2 in the reference code), MiniCPM (Hu et
    al. 2024). Until then all trials are compared at a constant learning rate, where early ranks mean more.

Inputs:
    The trial's fraction of the schedule; whether a decay has begun already.

Defaults:
    fraction 0.2.

Failure modes:
    On a schedule that decays by itself (cosine, linear) the decay is applied twice: use it with a constant or
    warm-up-stable-decay schedule. Trials that report rarely begin late, by at most the distance of two reports.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tuning_operator.control.base import AppliedControl, ControlRule, ControlVerdict
from tuning_operator.curves.curve import Curve
from tuning_operator.schema import RuleSettings

_ROUNDING = 1e-9


class CoolDownSettings(RuleSettings):
    """Begin the final decay of the learning rate when the rest of the schedule is just long enough for it."""

    rule: Literal["CoolDown"] = "CoolDown"
    """Name of the rule."""
    fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Last part of the schedule that decays."""


class CoolDown(ControlRule):
    """The rule of this module's text."""

    name = "CoolDown"
    Settings = CoolDownSettings

    def __init__(self, settings: CoolDownSettings) -> None:
        self._settings = settings

    def judge(self, curve: Curve, applied: AppliedControl) -> ControlVerdict | None:
        """Propose the decay once."""
        start = 1 - self._settings.fraction
        if applied.begin_decay or curve.fraction < start - _ROUNDING or curve.fraction >= 1:
            return None
        return ControlVerdict(
            begin_decay=True,
            sentence=(
                f"{curve.fraction:.0%} of the schedule is done and its decay begins at {start:.0%}: "
                "the learning rate falls from here to the end"
            ),
            inputs={"fraction": curve.fraction, "start": start},
        )
