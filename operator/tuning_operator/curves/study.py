"""All curves of a job, indexed for comparison at equal marks."""

from __future__ import annotations


class StudyCurves:
    """What rules compare a curve with."""
