"""What a dashboard is made of, before it is JSON: rows of panels, each with its queries and a word of advice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Look(StrEnum):
    """How a panel shows its queries."""

    LINES = "lines"
    NUMBER = "number"
    TABLE = "table"
    SCATTER = "scatter"
    """Two instant queries against each other: x first, then y, joined by the label `Panel.joined_by`."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """A PromQL expression, and what its series are called (Grafana's ``{{label}}``)."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture.

    Attributes:
        advice: What it shows, and what to do when it looks wrong.
        unit: Grafana's unit id.
        width: Of 24 columns.
        joined_by: For a scatter: the label that both queries have.
        logarithmic: Whether the vertical axis is.
    """

    title: str
    advice: str
    queries: tuple[Query, ...]
    look: Look = Look.LINES
    unit: str = "short"
    width: int = 12
    joined_by: str = ""
    logarithmic: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A choice at the top of a dashboard: the values of a label of a metric, narrowed by the choices before it."""

    name: str
    metric: str
    narrowed_by: tuple[str, ...] = ()
    several: bool = False


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """Marks on every time axis where an expression is above zero."""

    name: str
    expression: str
    colour: str


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """One page.

    Attributes:
        uid: Never changes, so that links and bookmarks live.
    """

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()
    annotations: tuple[Annotation, ...] = ()

    @property
    def panels(self) -> Sequence[Panel]:
        """All panels, in reading order."""
        return [panel for row in self.rows for panel in row.panels]


def lines(
    title: str, advice: str, *queries: tuple[str, str], unit: str = "short", width: int = 12, logarithmic: bool = False
) -> Panel:
    """Return a panel of curves over time."""
    made = tuple(Query(expression=expression, legend=legend) for expression, legend in queries)
    return Panel(title=title, advice=advice, queries=made, unit=unit, width=width, logarithmic=logarithmic)


def number(title: str, advice: str, expression: str, *, unit: str = "short", width: int = 4) -> Panel:
    """Return a panel of one large number."""
    return Panel(
        title=title, advice=advice, queries=(Query(expression=expression),), look=Look.NUMBER, unit=unit, width=width
    )
