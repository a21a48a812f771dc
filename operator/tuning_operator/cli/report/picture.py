"""What every picture of the report shares: a figure for plotly.js as plain data, and a sentence on how to read it.

Figures are plain dictionaries, so that building them costs no import of plotly's Python classes; the colours of text,
grid and background are laid over them in the page, in light and in dark.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tuning_operator.cli.sparkline import useful_log
from tuning_operator.engine.events import EndReason
from tuning_operator.engine.view import TrialState, TrialView

Figure = dict[str, Any]

BLUE: Final = "#3b82f6"
GREEN: Final = "#22a06b"
AMBER: Final = "#e0962f"
RED: Final = "#e5534b"
VIOLET: Final = "#9467f2"
GREY: Final = "#8b95a5"

GROUPS: Final[tuple[tuple[str, str], ...]] = (
    ("completed", GREEN),
    ("stopped early", AMBER),
    ("running", BLUE),
    ("not finite or failed", RED),
    ("other", GREY),
)
"""How trials are told apart by colour, in the order of the legend."""


_FEW_DECADES: Final = 2.6
_MOST_DECADES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture.

    Attributes:
        reading: One sentence that says how to read it.
        figure: Data and layout for plotly.js; None when there is nothing to draw, and then `missing` says why.
        wide: It needs room to the side; on a phone it scrolls.
    """

    name: str
    title: str
    reading: str
    figure: Figure | None
    missing: str = ""
    wide: bool = False


@dataclass(slots=True)
class Segments:
    """Many curves as one line with gaps, which a browser draws far faster than one line each."""

    x: list[float | None] = field(default_factory=list)
    y: list[float | None] = field(default_factory=list)
    about: list[str | None] = field(default_factory=list)

    def add(self, points: Iterable[tuple[float, float | None]], about: str) -> None:
        """Append one curve; values that are not finite leave a gap."""
        for x, y in points:
            self.x.append(x)
            self.y.append(finite(y))
            self.about.append(about)
        self.x.append(None)
        self.y.append(None)
        self.about.append(None)


def group(trial: TrialView) -> str:
    """Return the group of `GROUPS` that a trial belongs to."""
    if trial.state is not TrialState.ENDED:
        return "running" if trial.state is TrialState.RUNNING else "other"
    if trial.reason in (EndReason.COMPLETED, EndReason.TARGET_REACHED):
        return "completed"
    if trial.reason is EndReason.STOPPED_EARLY:
        return "stopped early"
    if trial.reason is EndReason.NON_FINITE or (trial.reason is not None and trial.reason.is_failure):
        return "not finite or failed"
    return "other"


def finite(value: float | None) -> float | None:
    """Return the value if it can be drawn."""
    return value if value is not None and math.isfinite(value) else None


def axis_of(values: Sequence[float], title: str, *, log: bool = True) -> dict[str, Any]:
    """Return a value axis: logarithmic when that shows more, and `log` allows it."""
    axis: dict[str, Any] = {"title": {"text": safe(title)}}
    drawn = [value for value in values if math.isfinite(value)]
    return axis | log_axis(min(drawn), max(drawn)) if log and useful_log(drawn) else axis


def log_axis(low: float, high: float) -> dict[str, Any]:
    """Return a logarithmic axis with few, plainly written ticks: 1, 2, 5 in a decade, or whole decades over many."""
    first, last = math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1
    decades = math.log10(high / low)
    steps = (1, 2, 5) if decades <= _FEW_DECADES else (1,)
    every = max(math.ceil(decades / _MOST_DECADES), 1)
    ticks = [step * 10.0**power for power in range(first, last + 1) if power % every == 0 for step in steps]
    return {"type": "log", "tickvals": ticks, "ticktext": [_tick(tick) for tick in ticks]}


def _tick(value: float) -> str:
    return f"{value:g}" if 1e-3 <= value < 1e5 else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")


def layout(**changes: Any) -> dict[str, Any]:
    """Return the layout that every picture starts from."""
    return {
        "height": 420,
        "margin": {"l": 64, "r": 16, "t": 12, "b": 52},
        "hovermode": "closest",
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    } | changes


def safe(text: str) -> str:
    """Return a user's text so that plotly.js takes nothing in it for markup."""
    return html.escape(text, quote=False)
