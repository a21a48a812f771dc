"""The marks: fixed fractions of the planned schedule at which curves are recorded, compared and judged.

A trial reports whenever it likes. Comparing two trials at "the latest report" would compare different amounts of
training, so every curve is put on one grid: `MARKS` equal parts of the schedule. What a rule may judge is exactly what
is recorded at the marks, which is why a restarted operator decides as the old one did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MARKS: Final = 50
"""Marks in a schedule: one every 2 % of training. At most 64, so that a recorded curve stays near 3 KB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One evaluation of a trial, already put on the axis.

    Attributes:
        position: How far on the axis (steps, tokens, ...), in the axis' own units.
        value: The objective, may be NaN or infinite. In the user's own direction as it comes from a trial; the engine
            turns the sign of a maximised one before anything in `curves` sees it.
        time: Seconds since the epoch, by the trial's clock.
        learning_rate: In force, or None if the trial does not say.
    """

    position: float
    value: float
    attempt: int
    time: float
    learning_rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """What one look at a running trial says about its training loss since the last look.

    Evaluations are rare; the pulse sees every step between them, so that a single NaN is not lost.

    Attributes:
        position: How far on the axis.
        count: Finite losses in the window; 0 makes mean, minimum and maximum meaningless (NaN). With 0 here and in
            `nonfinite` no step was trained since the last look, which says nothing about the trial.
        nonfinite: Losses that were NaN or infinite in this window.
    """

    position: float
    attempt: int
    time: float
    count: int
    mean: float
    minimum: float
    maximum: float
    nonfinite: int
    gradient_norm: float | None = None
    learning_rate: float | None = None
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkValue:
    """A curve at one mark. Values are losses: lower is better, a maximised objective has its sign turned.

    Attributes:
        mark: 1 to `MARKS`; the fraction of the schedule is ``mark / MARKS``.
        value: Interpolated between the evaluations on both sides; NaN or infinite as it was reported.
        best: Least finite value up to here, of evaluations and of this curve at the marks; infinite without any.
        mean: Mean of the values at all recorded marks up to and including this one (the running average of Vizier's
            rule); never below `best`, and infinite as soon as one of the values is not finite.
    """

    mark: int
    value: float
    best: float
    mean: float
    learning_rate: float | None = None
