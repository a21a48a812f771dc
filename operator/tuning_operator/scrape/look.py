"""One look at one running trial."""

from __future__ import annotations

from dataclasses import dataclass

from trial_protocol.history import HistoryRecord
from tuning_operator.curves.marks import Observation, Pulse


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look found; a look that failed says why and carries no value.

    Attributes:
        time: Seconds since the epoch, by the operator's clock.
        position: How far on the axis, in its own units.
        fraction: The same as a part of the planned schedule.
        pulse: What training has done since the last look.
        records: Evaluations that no earlier look has brought, oldest first.
        observations: The same on the axis; records that do not carry the objective are left out.
        revision: Newest control revision that the trial has put in force; None if it does not say.
        error: What went wrong, as a sentence's end: ``connection refused``; None if nothing did.
    """

    time: float
    position: float | None = None
    fraction: float | None = None
    pulse: Pulse | None = None
    records: tuple[HistoryRecord, ...] = ()
    observations: tuple[Observation, ...] = ()
    revision: int | None = None
    error: str | None = None
