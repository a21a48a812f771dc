"""Invented trainings: a power law whose end depends on the learning rate, with noise, divergence and crashes.

Loss at fraction t of the schedule: ``floor + excess(lr) + (start - floor) * (1 + 20 t) ** -speed(lr)`` with an excess
that grows with the distance of the learning rate from the best one, faster above than below. Above a limit training
diverges at some step. Everything follows from the seed, the trial's own seed and the position.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tuning_operator.backends.simulation.course import Exit, Report
from tuning_operator.engine.events import EndReason, TrialProposed
from tuning_operator.engine.wanted import WantedControl
from tuning_operator.search.sampler import derive_seed

_RANGE = 2.0**31


@dataclass(frozen=True, kw_only=True)
class SyntheticCurves:
    """Trainings of one imaginary model.

    Attributes:
        total: Length of the schedule on the axis.
        reports: Evaluations over the whole schedule.
        seconds: Between two evaluations.
        noise: Standard deviation of an evaluation, about.
        learning_rate: Name of the parameter that decides; trials without it behave as with `best`.
        best: Best learning rate.
        limit: Above this multiple of the best learning rate training diverges.
        crashes: Share of attempts that crash somewhere.
        maximize: Whether reports carry the negative loss.
    """

    total: float
    seed: int = 0
    reports: int = 50
    seconds: float = 60.0
    noise: float = 0.01
    learning_rate: str = "lr"
    best: float = 3e-3
    limit: float = 4.0
    crashes: float = 0.0
    maximize: bool = False

    def start(self, trial: TrialProposed, *, attempt: int, position: float) -> _Training:
        """Begin an attempt; whether and where it crashes is drawn from the seeds."""
        return _Training(self, trial, attempt=attempt, position=position)

    def draw(self, *parts: int | str) -> float:
        """Return a number in [0, 1) that depends on the seed and `parts` alone."""
        return derive_seed(self.seed, *parts) / _RANGE


class _Training:
    def __init__(self, curves: SyntheticCurves, trial: TrialProposed, *, attempt: int, position: float) -> None:
        self._curves = curves
        self._seed = trial.seed
        rate = trial.parameters.get(curves.learning_rate, curves.best)
        self._rate = float(rate) if isinstance(rate, int | float) else curves.best
        self._step = round(position / curves.total * curves.reports)
        self._crash = math.inf
        if curves.draw(trial.seed, attempt, "crash?") < curves.crashes:
            self._crash = self._step + 1 + int(curves.draw(trial.seed, attempt, "crash") * curves.reports)
        self._diverges = int(curves.draw(trial.seed, "diverges") * curves.reports / 2)

    def next(self, control: WantedControl) -> Report | Exit | None:
        curves = self._curves
        if self._step >= curves.reports:
            return None
        self._step += 1
        if self._step >= self._crash:
            resumed = max(self._step - 3, 0) / curves.reports * curves.total
            return Exit(seconds=curves.seconds / 2, reason=EndReason.FAILED, checkpoint=resumed)
        rate = self._rate * control.scale
        loss = self._loss(rate, self._step / curves.reports)
        is_lost = rate > curves.limit * curves.best and self._step > self._diverges
        value = math.nan if is_lost else -loss if curves.maximize else loss
        return Report(
            seconds=curves.seconds,
            position=self._step / curves.reports * curves.total,
            value=value,
            steps=0 if is_lost else 10,
            loss=math.nan if is_lost else loss,
            nonfinite=10 if is_lost else 0,
            learning_rate=rate,
        )

    def _loss(self, rate: float, fraction: float) -> float:
        distance = math.log(max(rate, 1e-12) / self._curves.best)
        excess = 0.05 * distance**2 * (2.0 if distance > 0 else 1.0)
        speed = 0.8 * math.exp(-abs(distance) / 4)
        noise = self._curves.noise * (2 * self._curves.draw(self._seed, self._step, "noise") - 1)
        return 0.1 + excess + 2.2 * math.pow(1 + 20 * fraction, -speed) + noise
