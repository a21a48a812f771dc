"""A learning curve in the space of a few letters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

_BARS: Final = "▁▂▃▄▅▆▇█"
_SPREAD_FOR_LOG: Final = 10.0


def useful_log(values: Sequence[float]) -> bool:
    """Whether a logarithmic axis shows more: all positive and more than a factor of ten apart."""
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and min(finite) > 0 and max(finite) / min(finite) > _SPREAD_FOR_LOG


def sparkline(values: Sequence[float], *, width: int, log: bool = True) -> str:
    """Draw the newest shape of `values` in at most `width` characters; ``!`` where a value is not finite.

    Neighbouring values that share a character are averaged, so a long curve keeps its shape. `log` allows a logarithmic
    height, which shows the end of a falling loss and would hide the end of a rising accuracy.
    """
    if not values or width < 1:
        return ""
    cells = _squeeze(values, width)
    if log and useful_log(cells):
        cells = [math.log(value) if math.isfinite(value) else value for value in cells]
    finite = [value for value in cells if math.isfinite(value)]
    if not finite:
        return "!" * len(cells)
    low, high = min(finite), max(finite)
    span = high - low
    return "".join(_bar(value, low, span) if math.isfinite(value) else "!" for value in cells)


def _bar(value: float, low: float, span: float) -> str:
    position = (value - low) / span if span > 0 else 0.0
    return _BARS[min(int(position * len(_BARS)), len(_BARS) - 1)]


def _squeeze(values: Sequence[float], width: int) -> list[float]:
    if len(values) <= width:
        return list(values)
    cells = []
    for index in range(width):
        part = values[index * len(values) // width : (index + 1) * len(values) // width]
        cells.append(sum(part) / len(part))
    return cells
