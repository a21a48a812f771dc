"""How numbers, times and states are written for people; one place, so that they read the same everywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from tuning_operator.engine.decisions import Action, Decision
from tuning_operator.engine.events import EndReason
from tuning_operator.engine.view import TrialState, TrialView
from tuning_operator.schema import Scalar

NOTHING: Final = "–"

REASON_WORDS: Final[Mapping[EndReason, str]] = {
    EndReason.COMPLETED: "completed",
    EndReason.STOPPED_EARLY: "stopped early",
    EndReason.TARGET_REACHED: "target reached",
    EndReason.FAILED: "failed",
    EndReason.CONFIGURATION_ERROR: "configuration error",
    EndReason.OUT_OF_MEMORY: "out of memory",
    EndReason.PREEMPTED: "preempted",
    EndReason.NON_FINITE: "not finite",
    EndReason.METRICS_UNAVAILABLE: "no metrics",
    EndReason.BUDGET_EXHAUSTED: "budget used up",
    EndReason.CANCELLED: "cancelled",
}

FINISHED_SENTENCES: Final[Mapping[str, str]] = {
    "TrialsCompleted": "all trials are done",
    "TargetReached": "the target was reached",
    "BudgetExhausted": "the budget is used up",
    "SearchSpaceExhausted": "every configuration of the search space was tried",
    "TooManyFailures": "too many trials failed",
    "Cancelled": "it was cancelled",
}


def number(value: float | None, *, digits: int = 4) -> str:
    """Return a number with `digits` significant digits: ``0.05123``, ``1.20e-5``, ``NaN``, ``∞``."""
    if value is None:
        return NOTHING
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"
    return _exponent(f"{value:.{max(digits - 2, 1)}e}")


def rate(value: float | None) -> str:
    """Return a learning rate: always with a power of ten, as people write them."""
    if value is None:
        return NOTHING
    return _exponent(f"{value:.1e}") if math.isfinite(value) and value else number(value)


def _exponent(text: str) -> str:
    return text.replace("e-0", "e-").replace("e+0", "e")


def scalar(value: Scalar) -> str:
    """Return the value of a parameter."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return number(value) if isinstance(value, float) else str(value)


def parameters(values: Mapping[str, Scalar], *, separator: str = "  ") -> str:
    """Return ``lr=0.0012  width=128``."""
    return separator.join(f"{name}={scalar(value)}" for name, value in values.items())


def percent(fraction: float) -> str:
    """Return ``43 %``."""
    return f"{fraction * 100:.0f} %"


def duration(seconds: float | timedelta | None) -> str:
    """Return a span of time in two units at most: ``4.2 s``, ``2 min 03 s``, ``1 h 05 min``, ``3 d 04 h``."""
    if seconds is None:
        return NOTHING
    total = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
    if not math.isfinite(total):
        return number(total)
    if round(total, 1) < 60:
        return f"{total:.1f} s" if total and total < 10 else f"{total:.0f} s"
    whole = round(total)
    for size, word, small, small_word in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {word} {rest:02d} {small_word}" if rest else f"{whole // size} {word}"
    return f"{whole} s"


def clock(seconds: float) -> str:
    """Return time since the start of the job as ``2:13`` or ``1:02:13``."""
    whole = max(int(seconds), 0)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def count(amount: int, noun: str, plural: str | None = None) -> str:
    """Return ``1 trial`` or ``3 trials``."""
    return f"{amount} {noun if amount == 1 else plural or noun + 's'}"


def state(trial: TrialView) -> str:
    """Return the state in one or two words: how it ended, or what it is doing."""
    if trial.state is TrialState.ENDED:
        return REASON_WORDS[trial.reason] if trial.reason else "ended"
    return trial.state.value.lower()


def deed(decision: Decision) -> str:
    """Return what was done, or would have been: ``stopped``, ``learning rate ×0.5``."""
    match decision.action:
        case Action.STOP:
            return "stopped"
        case Action.CHANGE_LEARNING_RATE:
            back = " from the last good checkpoint" if decision.restore else ""
            return f"learning rate ×{number(decision.scale, digits=3)}{back}"
        case Action.BEGIN_DECAY:
            return "final decay begun"
        case Action.PAUSE:
            return "paused"
        case Action.RESUME:
            return "resumed"
        case Action.FINISH:
            return "finished"


def decision(made: Decision) -> str:
    """Return one decision as a line: who, what, by which rule and why; says so when nothing was done."""
    who = f"trial {made.trial}" if made.trial is not None else "the job"
    if made.enforced:
        return f"{who}: {deed(made)} by {made.rule}: {made.sentence}"
    return f"{who}: {made.rule} would have {would(made)}, nothing was done: {made.sentence}"


def would(decision: Decision) -> str:
    """Return what a rule would have done."""
    match decision.action:
        case Action.CHANGE_LEARNING_RATE:
            return f"set the learning rate ×{number(decision.scale, digits=3)}"
        case Action.BEGIN_DECAY:
            return "begun the final decay"
        case _:
            return f"{deed(decision)} it"


def capitalised(text: str) -> str:
    """Return the text with its first letter as a capital and the rest as it is."""
    return text[:1].upper() + text[1:]
