"""What every rule must wait for, whatever its formula: asked once by the engine instead of by each rule."""

from __future__ import annotations

from tuning_operator.curves.alarm import NON_FINITE, Alarm
from tuning_operator.schema import Mode

_ROUNDING = 1e-9


def may_judge(*, fraction: float, quiet_until: float | None, evaluation: bool, alarm: Alarm | None = None) -> bool:
    """Return whether rules are asked about a trial at all.

    A finalist that is retrained for evaluation is left alone. In the quiet window after a control change a loss may
    rise before it falls: nothing is judged, except that a training loss which is not finite is never a transient.

    Args:
        fraction: How much of the schedule is done at the mark or alarm in question.
        quiet_until: Fraction at which the quiet window of the newest control change ends; None without a change.
        alarm: The alarm in question; None at a mark.
    """
    if evaluation:
        return False
    if alarm is not None and alarm.kind == NON_FINITE:
        return True
    return quiet_until is None or fraction > quiet_until - _ROUNDING


def may_act(*, mode: Mode, audited: bool) -> bool:
    """Return whether a verdict is carried out, or only written down.

    Audited trials are judged like all others and never touched: what became of them tells how often a stop is wrong.
    """
    return mode is Mode.ACT and not audited
