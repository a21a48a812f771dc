"""BackOff: answer a divergence by a smaller learning rate instead of a stop.

Formula:
    On an alarm: ``scale <- max(scale * factor, floor)``, at most ``times`` times a trial, from the last good
    checkpoint. For ``quiet`` of the schedule no stopping rule judges the trial.

Source:
    Rewinding and going on is how PaLM's spikes were handled (Chowdhery et al. 2022). The factor follows the runs of
    Step Law (arXiv 2503.04715): twice too low costs a median excess loss of 0.010, twice too high 0.015, eight times
    too high 0.25. Erring low is cheap, so one halving from "just diverging" costs about 0.01. Weights that have
    exploded are far from any good point: a smaller step alone rarely brings them back, hence the checkpoint.

Inputs:
    A recorded alarm; the scale in force and how often this rule changed the trial before.

Defaults:
    factor 0.5, floor 0.1, times 3, quiet 0.06.

Failure modes:
    A trial that diverges for another reason (data, precision) diverges again: after the last back-off the stopping
    rules have their say. A trial without checkpoints cannot go back: NaN stays NaN, and it diverges again at once.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tuning_operator.control.base import AppliedControl, ControlRule, ControlVerdict
from tuning_operator.curves.alarm import NON_FINITE, Alarm
from tuning_operator.curves.curve import Curve
from tuning_operator.schema import RuleSettings


class BackOffSettings(RuleSettings):
    """Answer a divergence by a smaller learning rate instead of a stop."""

    rule: Literal["BackOff"] = "BackOff"
    """Name of the rule."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Each back-off multiplies the learning rate by this."""
    floor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Least scale that back-offs may reach."""
    times: Annotated[int, Field(ge=1, le=10)] = 3
    """Back-offs per trial; after the last one a divergence stops the trial."""
    quiet: Annotated[float, Field(ge=0, lt=1)] = 0.06
    """Fraction of the schedule after a change during which no stopping rule judges the trial."""


class BackOff(ControlRule):
    """The rule of this module's text."""

    name = "BackOff"
    Settings = BackOffSettings

    def __init__(self, settings: BackOffSettings) -> None:
        self._settings = settings

    def judge_alarm(self, alarm: Alarm, curve: Curve, applied: AppliedControl) -> ControlVerdict | None:  # noqa: ARG002
        """Propose a smaller learning rate, unless the trial has had its chances."""
        done = applied.changes.get(self.name, 0)
        scale = max(applied.scale * self._settings.factor, self._settings.floor)
        if done >= self._settings.times or scale >= applied.scale:
            return None
        return ControlVerdict(
            scale=scale,
            restore=True,
            quiet=self._settings.quiet,
            sentence=(
                f"its training loss {'is not finite' if alarm.kind == NON_FINITE else 'exploded'} ({alarm.told}): the "
                f"learning rate is scaled from {applied.scale:.4g} to {scale:.4g}, from the last good checkpoint "
                f"(change {done + 1} of at most {self._settings.times})"
            ),
            inputs={**alarm.numbers, "before": applied.scale, "scale": scale, "change": float(done + 1)},
        )
