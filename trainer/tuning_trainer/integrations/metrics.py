"""Metrics as frameworks name them, made into what a trial can report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from trial_protocol import names

_NOT_ALLOWED = re.compile(r"[^a-zA-Z0-9_]")


def reportable(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers among the metrics, ``val/loss`` as ``val_loss``, but for names that the client exports."""
    found: dict[str, float] = {}
    for name, value in metrics.items():
        clean = _NOT_ALLOWED.sub("_", name)
        if clean[:1].isdigit():
            clean = f"_{clean}"
        if clean in names.COUNTERS or clean.startswith("tuning_"):
            continue
        try:
            found[clean] = float(value)
        except (TypeError, ValueError, RuntimeError):
            continue
    return found
