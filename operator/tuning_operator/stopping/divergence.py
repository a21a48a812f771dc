"""Divergence: notice a training loss that is not a number any more, or explodes.

Formula:
    NonFinite: two looks in a row contain a non-finite loss, or every loss of one look is non-finite.
    Explosion: with y the logarithm of the mean training loss of a look, s its exponential average (weight 0.5 on the
    newest) and m the least s so far, ``s > m + max(ln 2, sigma * d)`` for ``patience`` looks in a row, where d is
    1.4826 times the median of ``|y - s'|`` over the last 100 sound looks, with s' the average before the look; and
    at least half of the progress made since the first look is lost, ``s - m > (y_first - m) / 2``.

Source:
    PaLM (Chowdhery et al. 2022) and ZClip (arXiv 2504.02507) for what spikes look like; Wortsman et al. 2023 (arXiv
    2309.14322) for slow divergence. The condition on lost progress is ours: a loss near zero doubles by noise.

Inputs:
    Mean training loss and number of non-finite losses since the last look; at the marks, the objective itself for
    trials that report no training loss.

Defaults:
    patience 3 looks, sigma 6, explosions looked for after 0.02 of the schedule.

Failure modes:
    A curriculum or another batch size changes the scale of the loss: use Observe. A loss that may reach zero or below
    has no logarithm: from the first such look on only NonFinite is noticed. A look without training steps (a stalled or
    slow trial, a gap in the scrapes) is not a bad value and changes nothing.
"""

from __future__ import annotations

import math
from collections import deque
from statistics import median
from typing import Annotated, Final, Literal

from pydantic import Field

from tuning_operator.curves.alarm import EXPLOSION, NON_FINITE, Alarm
from tuning_operator.curves.curve import Curve
from tuning_operator.curves.marks import Pulse
from tuning_operator.curves.study import StudyCurves
from tuning_operator.schema import RuleSettings
from tuning_operator.stopping.base import StoppingRule, StopVerdict

_SMOOTHING: Final = 0.5
_RESIDUALS: Final = 100
_MAD_TO_DEVIATION: Final = 1.4826
_LOST: Final = 0.5


class DivergenceSettings(RuleSettings):
    """Stop a trial whose training loss becomes non-finite or explodes, unless a control rule rescues it first."""

    rule: Literal["Divergence"] = "Divergence"
    """Name of the rule."""
    patience: Annotated[int, Field(ge=1, le=100)] = 3
    """Looks in a row that must see the explosion."""
    sigma: Annotated[float, Field(gt=0, le=100)] = 6
    """How many robust standard deviations of the log-loss count as an explosion (at least a doubling in any case)."""
    after: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """Fraction of the schedule before which an explosion is not looked for; non-finite losses always count."""


class Divergence(StoppingRule):
    """The rule of this module's text."""

    name = "Divergence"
    Settings = DivergenceSettings

    def __init__(self, settings: DivergenceSettings) -> None:
        self._settings = settings

    def judge(self, curve: Curve, study: StudyCurves) -> StopVerdict | None:  # noqa: ARG002
        """Stop a trial whose objective was not finite at the two newest marks."""
        before = curve.mark - 1
        if not curve.has(before) or math.isfinite(curve.value) or math.isfinite(curve.value_at(before)):
            return None
        return StopVerdict(
            reason="NonFinite",
            sentence=f"its objective is {{value:g}} after {curve.fraction:.0%} and was {{before:g}} at the mark before",
            inputs={"value": curve.value, "before": curve.value_at(before)},
            losses=frozenset({"value", "before"}),
        )

    def monitor(self, *, total: float) -> DivergenceMonitor:
        """Return a watcher of the training loss."""
        return DivergenceMonitor(self._settings, total=total)

    def judge_alarm(self, alarm: Alarm, curve: Curve) -> StopVerdict | None:  # noqa: ARG002
        """Stop a trial that no control rule rescued."""
        if alarm.kind == NON_FINITE:
            return StopVerdict(
                reason="NonFinite",
                sentence=f"its training loss is not finite any more ({alarm.told})",
                inputs=alarm.numbers,
            )
        return StopVerdict(
            reason="StoppedEarly", sentence=f"its training loss exploded ({alarm.told})", inputs=alarm.numbers
        )


class DivergenceMonitor:
    """Watches one attempt; forgets everything at `reset`."""

    def __init__(self, settings: DivergenceSettings, *, total: float) -> None:
        self._settings = settings
        self._begin = settings.after * total
        self._has_logarithm = True
        self.reset()

    def reset(self) -> None:
        """Start anew, after a control change."""
        self._is_told = False
        self._broken_looks = 0
        self._bad_looks = 0
        self._first = math.nan
        self._smooth = math.nan
        self._least = math.inf
        self._residuals: deque[float] = deque(maxlen=_RESIDUALS)

    def observe(self, pulse: Pulse) -> Alarm | None:
        """Take in one look; return an alarm at most once until `reset`."""
        if self._is_told or pulse.count + pulse.nonfinite <= 0:
            return None
        alarm = self._non_finite(pulse) or self._explosion(pulse)
        self._is_told = alarm is not None
        return alarm

    def _non_finite(self, pulse: Pulse) -> Alarm | None:
        if not pulse.nonfinite:
            self._broken_looks = 0
            return None
        self._broken_looks += 1
        if self._broken_looks < 2 and pulse.count > 0:
            return None
        return Alarm(
            kind=NON_FINITE,
            position=pulse.position,
            numbers={"nonfinite": float(pulse.nonfinite), "finite": float(pulse.count)},
        )

    def _explosion(self, pulse: Pulse) -> Alarm | None:
        if pulse.count == 0 or not math.isfinite(pulse.mean) or pulse.position < self._begin:
            return None
        self._has_logarithm = self._has_logarithm and pulse.mean > 0
        if not self._has_logarithm:
            return None
        allowed = self._allowed_after(math.log(pulse.mean))
        if self._smooth <= self._least + allowed:
            self._bad_looks = 0
            return None
        self._bad_looks += 1
        if self._bad_looks < self._settings.patience:
            return None
        return Alarm(
            kind=EXPLOSION,
            position=pulse.position,
            numbers={
                "loss": math.exp(self._smooth),
                "least": math.exp(self._least),
                "allowed": math.exp(self._least + allowed),
                "looks": float(self._bad_looks),
            },
        )

    def _allowed_after(self, level: float) -> float:
        """Take in one log-loss; return how far above its least the average may stand."""
        if math.isnan(self._smooth):
            self._first = self._smooth = self._least = level
            return math.inf
        residual = abs(level - self._smooth)
        deviation = _MAD_TO_DEVIATION * median(self._residuals) if self._residuals else 0.0
        allowed = max(math.log(2), self._settings.sigma * deviation, _LOST * (self._first - self._least))
        self._smooth += _SMOOTHING * (level - self._smooth)
        self._least = min(self._least, self._smooth)
        if self._smooth <= self._least + allowed:
            self._residuals.append(residual)
        return allowed
