"""What stopped trials would still have used, from what they did use."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median

from tuning_operator.engine.events import EndReason

_STOPPED_BY_RULE = frozenset({EndReason.STOPPED_EARLY, EndReason.NON_FINITE})


def estimate_saved(ended: Iterable[tuple[EndReason | None, float, float]]) -> float:
    """Estimate what trials that a rule stopped would still have used.

    Each at its own pace, but in all no more than the median completed trial used: the pace of a trial that was stopped
    soon after its start is mostly start-up.

    Args:
        ended: Of every trial of a job why it ended (None: it has not), how much of its schedule was trained, and what
            it used.
    """
    seen = list(ended)
    completed = [used for reason, _, used in seen if reason is EndReason.COMPLETED and used]
    most = median(completed) if completed else math.inf
    stopped = [(fraction, used) for reason, fraction, used in seen if reason in _STOPPED_BY_RULE and 0 < fraction < 1]
    return math.fsum(max(min(used / fraction, most) - used, 0.0) for fraction, used in stopped)
