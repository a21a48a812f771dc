"""Numbers in JSON that may be NaN or infinite, which JSON itself cannot say."""

from __future__ import annotations

import math


def encode_number(value: float) -> float | str:
    """Return `value` for JSON: a number, or ``"NaN"``, ``"Infinity"``, ``"-Infinity"``."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def decode_number(value: object) -> float:
    """Undo `encode_number`.

    Raises:
        ValueError: Neither a number nor one of the three words.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"expected a number, found {value!r}")
    if isinstance(value, str) and value not in ("NaN", "Infinity", "-Infinity"):
        raise ValueError(f"expected a number, found {value!r}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError("expected a number that a double can hold") from None
