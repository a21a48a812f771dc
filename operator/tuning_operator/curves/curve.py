"""A recorded learning curve: what is known of one trial at the marks."""

from __future__ import annotations

from tuning_operator.curves.marks import MarkValue


class Curve:
    """One trial's values at the marks."""

    marks: list[MarkValue]
