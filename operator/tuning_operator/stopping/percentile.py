"""Percentile: stop what is worse at its best than the best completed trials were on average.

Formula:
    Stop trial i at mark t if ``best_i(t) > P_p { mean_j(t) : j completed }`` where ``best_i(t)`` is its least loss up
    to t, ``mean_j(t)`` the mean of trial j's losses up to t, and ``P_p`` the p-th percentile, interpolated. With p =
    50 it is Vizier's median rule.

Source:
    Golovin et al. 2017, "Google Vizier: A Service for Black-Box Optimization", section 3.4.2 (median of running
    averages). The low percentile is ours: the long average is the slack that keeps late bloomers alive. A window
    instead of the whole average destroys the rule.

Inputs:
    The trial's best loss and fraction of the schedule; the running averages of completed trials at the same mark.

Defaults:
    percentile 10, after 0.1 of the schedule, at least 3 completed trials.

Failure modes:
    Ranks that turn late in training: on recorded AlgoPerf runs it stops the best of 100 trials in a quarter of all
    draws, most of them on two of eight workloads. At an equal budget the further trials make up for it
    (benchmarks/replay.py); where every trial must be judged fairly, raise ``after`` or ``percentile``.
    Few completed trials: silent, which is safe. Judging inside warm-up stops good configurations: keep ``after``
    above it. Completed trials that all diverged give an infinite bar: nothing is stopped. A trial without one finite
    loss is above every finite bar: it is stopped, and ``best`` is then infinite.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tuning_operator.curves.curve import Curve
from tuning_operator.curves.study import StudyCurves
from tuning_operator.schema import RuleSettings
from tuning_operator.stopping.base import StoppingRule, StopVerdict


class PercentileSettings(RuleSettings):
    """Stop a trial whose best value so far is worse than a low percentile of the completed trials' running averages."""

    rule: Literal["Percentile"] = "Percentile"
    """Name of the rule."""
    percentile: Annotated[float, Field(ge=0, le=100)] = 10
    """Percentile of the running averages of completed trials; lower stops more."""
    after: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Fraction of the schedule before which no trial is judged; never set it inside warm-up."""
    minimum_trials: Annotated[int, Field(ge=1, le=1000)] = 3
    """Completed trials to compare with before the rule says anything."""


class Percentile(StoppingRule):
    """The rule of this module's text."""

    name = "Percentile"
    Settings = PercentileSettings

    def __init__(self, settings: PercentileSettings) -> None:
        self._settings = settings

    def judge(self, curve: Curve, study: StudyCurves) -> StopVerdict | None:
        """Compare the trial's best loss with the bar at its newest mark."""
        mark = curve.mark
        if curve.fraction < self._settings.after:
            return None
        compared = study.completed(mark)
        if compared < self._settings.minimum_trials:
            return None
        bar = study.percentile_of_means(mark, self._settings.percentile)
        if not curve.best > bar:
            return None
        return StopVerdict(
            reason="StoppedEarly",
            sentence=(
                f"after {curve.fraction:.0%} its best value {{best:.4g}} is worse than {{bar:.4g}}, the bound of the "
                f"best {{percentile:.4g}} % of the running averages of {compared} completed trials"
            ),
            inputs={"best": curve.best, "bar": bar, "percentile": self._settings.percentile},
            losses=frozenset({"best", "bar"}),
            compared=compared,
        )
