"""What was measured, as a table beside the targets and the peers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class Row:
    """One line of the table; a lower number is better unless `target` is a floor."""

    what: str
    ours: float
    unit: str
    target: float | None = None
    is_floor: bool = False
    peers: dict[str, float | None] | None = None

    @property
    def is_held(self) -> bool:
        """Whether the target is met."""
        if self.target is None:
            return True
        return self.ours >= self.target if self.is_floor else self.ours <= self.target


def table(rows: list[Row], peers: dict[str, bool]) -> Iterator[str]:
    yield f"{'what':<58} {'engine':>12} {'target':>10}  " + "".join(f"{name:>22}" for name in peers)
    for row in rows:
        number = f"{row.ours:,.0f}" if row.ours >= 1000 else f"{row.ours:.3g}"
        target = "" if row.target is None else f"{'>=' if row.is_floor else '<='} {row.target:,.4g}"
        cells = ""
        for name in peers:
            value = (row.peers or {}).get(name)
            cells += f"{'' if value is None else f'{value:.3g} ({value / row.ours:.1f} x ours)':>22}"
        missed = "" if row.is_held else "  MISSED"
        yield f"{row.what:<58} {number:>9} {row.unit:<3}{target:>9}  {cells}{missed}".rstrip()
    for name, is_there in peers.items():
        if not is_there:
            yield f"{name} was not measured: it is not installed here."
