"""What the person who converts adds, because the foreign manifest does not say it; and how it is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tuning_operator.cli.convert.report import Report


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Options of the command.

    Attributes:
        axis: Counter that says how far a training is.
        total: Length of the planned schedule in units of `axis`; None if nobody said it.
        trials: Search trials, for a manifest that sets no bound; None if nobody said it.
    """

    axis: str = "train_step"
    total: float | None = None
    trials: int | None = None

    def axis_of(self, report: Report, *, metric: str = "", total: float | None = None) -> dict[str, Any]:
        """Return ``spec.axis``: what was given, else what the manifest says of the length of a training."""
        if self.total is not None:
            return {"metric": self.axis, "total": _plain(self.total)}
        if total is not None:
            return {"metric": metric, "total": _plain(total)}
        report.refuse(
            "spec", "nothing in it says how long a training is: give --total STEPS (and --axis for another unit)"
        )
        return {"metric": self.axis, "total": 1000}


def _plain(value: float) -> int | float:
    return int(value) if value == int(value) else value
