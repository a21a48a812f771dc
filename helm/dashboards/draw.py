"""Draw the dashboards from a Prometheus server, for where no Grafana is: one page, and one PNG, each.

    python -m helm.dashboards.draw --prometheus http://127.0.0.1:9090 --output pictures

Ends with 1 if a panel has no data, and names it.
"""

from __future__ import annotations

import argparse
import html
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import plotly.graph_objects as go
from helm.dashboards.pages import PAGES
from helm.dashboards.panel import Dashboard, Look, Panel, Query
from helm.dashboards.source import Prometheus, Series, Span

_STYLE = """\
body { font-family: sans-serif; margin: 16px; background: #f4f5f5; color: #222 }
main { display: grid; grid-template-columns: repeat(24, 1fr); gap: 8px }
h2 { grid-column: span 24; margin: 12px 0 0; font-size: 16px }
section { background: #fff; border: 1px solid #ddd; padding: 6px; overflow: hidden }
h3 { margin: 0; font-size: 13px } p { margin: 2px 0; font-size: 11px; color: #666 }
.number { font-size: 30px; text-align: center; padding: 14px 0; color: #1f60c4 } .none { color: #c4162a }
td, th { padding: 2px 10px; font-size: 12px; text-align: left }
"""
_HEIGHT = 240


def draw(page: Dashboard, source: Prometheus, span: Span, given: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return a dashboard as a page of HTML, and the titles of panels without data."""
    chosen = source.choices(page, given, span)
    parts, empty = [], []
    for row in page.rows:
        parts.append(f"<h2>{html.escape(row.title)}</h2>")
        for panel in row.panels:
            body = _body(panel, source, span, chosen, marks=_marks(page, source, span, chosen))
            if body is None:
                empty.append(f"{page.title}: {panel.title}")
            title = panel.title
            for name, value in chosen.items():
                title = title.replace(f"${name}", value)
            parts.append(
                f'<section style="grid-column: span {panel.width}"><h3>{html.escape(title)}</h3>'
                f"<p>{html.escape(panel.advice)}</p>{body or '<div class=none>no data</div>'}</section>"
            )
    of = ", ".join(f"{name} {value}" for name, value in chosen.items() if value != ".*")
    heading = f"<h1>{html.escape(page.title)} <small>{html.escape(of)}</small></h1>"
    library = go.Figure().to_html(full_html=False, include_plotlyjs=True).split("</script>")
    script = "</script>".join(library[:2]) + "</script>"
    return (
        f"<!doctype html><meta charset=utf-8><title>{page.title}</title><style>{_STYLE}</style>{script}"
        f"{heading}<main>{''.join(parts)}</main>",
        empty,
    )


def _body(
    panel: Panel, source: Prometheus, span: Span, chosen: Mapping[str, str], *, marks: Sequence[tuple[float, str]]
) -> str | None:
    if panel.look is Look.LINES:
        found = [(query.legend, source.curves(query, chosen, span)) for query in panel.queries]
        lines = [(_name(legend, one.labels), one) for legend, series in found for one in series]
        return _lines(panel, lines, marks) if any(one.points for _, one in lines) else None
    newest = [source.newest(query, chosen, span) for query in panel.queries]
    if panel.look is Look.NUMBER:
        return (
            f"<div class=number>{newest[0][0].points[0][1]:.5g} {_UNITS.get(panel.unit, '')}</div>"
            if newest[0]
            else None
        )
    if panel.look is Look.TABLE:
        rows = [(_name(panel.queries[0].legend, one.labels), one.points[0][1]) for one in newest[0]]
        cells = "".join(f"<tr><td>{html.escape(name)}<td>{value:.6g}" for name, value in rows)
        return f"<table>{cells}</table>" if rows else None
    return _scatter(panel, *newest)


_UNITS = {"s": "s", "bytes": "bytes", "percentunit": "of 1"}


def _lines(panel: Panel, lines: Sequence[tuple[str, Series]], marks: Sequence[tuple[float, str]]) -> str:
    figure = go.Figure()
    for name, series in lines:
        times = [at * 1000 for at, _ in series.points]
        figure.add_scatter(
            x=times, y=[value for _, value in series.points], name=name, mode="lines+markers", marker_size=3
        )
    for at, colour in marks:
        figure.add_vline(x=at * 1000, line_width=1, line_dash="dot", line_color=colour)
    figure.update_xaxes(type="date")
    if panel.logarithmic:
        figure.update_yaxes(type="log")
    return _html(figure)


def _scatter(panel: Panel, across: Sequence[Series], up: Sequence[Series]) -> str | None:
    heights = {one.labels.get(panel.joined_by): one.points[0][1] for one in up}
    both = [(one.points[0][1], heights[key]) for one in across if (key := one.labels.get(panel.joined_by)) in heights]
    if not both:
        return None
    figure = go.Figure(go.Scatter(x=[x for x, _ in both], y=[y for _, y in both], mode="markers", showlegend=False))
    return _html(figure)


def _html(figure: go.Figure) -> str:
    figure.update_layout(
        height=_HEIGHT, margin={"l": 40, "r": 10, "t": 10, "b": 30}, template="plotly_white", showlegend=True
    )
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config={"staticPlot": True}))


def _marks(page: Dashboard, source: Prometheus, span: Span, chosen: Mapping[str, str]) -> list[tuple[float, str]]:
    return [
        (at, annotation.colour)
        for annotation in page.annotations
        for one in source.curves(Query(expression=annotation.expression), chosen, span)
        for at, _ in one.points
    ]


def _name(legend: str, labels: Mapping[str, str]) -> str:
    for name, value in labels.items():
        legend = legend.replace(f"{{{{{name}}}}}", value)
    return legend


def main(arguments: Sequence[str]) -> int:
    """Draw every dashboard into a folder."""
    parser = argparse.ArgumentParser(prog="python -m helm.dashboards.draw", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--prometheus", required=True, help="URL of a Prometheus server that scrapes operator and trials"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("pictures"), help="folder for the pages (default: pictures)"
    )
    parser.add_argument("--minutes", type=float, default=30, help="how far to look back (default: 30)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="choose a variable's value")
    parser.add_argument("--rate-interval", default="1m", help="four scrape intervals (default: 1m)")
    chosen = parser.parse_args(arguments)
    chosen.output.mkdir(parents=True, exist_ok=True)
    now = time.time()
    span = Span(start=now - 60 * chosen.minutes, end=now)
    missing: list[str] = []
    source = Prometheus(chosen.prometheus, rate_interval=chosen.rate_interval)
    for page in PAGES:
        text, empty = draw(page, source, span, dict(one.split("=", 1) for one in chosen.set))
        missing += empty
        path = chosen.output / f"{page.uid}.html"
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path}\n")
        picture(path)
    for title in missing:
        sys.stderr.write(f"no data: {title}\n")
    return 1 if missing else 0


def picture(path: Path) -> Path | None:
    """Make a PNG of a page, where a Chromium is installed."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        return None
    out = path.with_suffix(".png")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1600,2000"]
    subprocess.run(
        [*command, f"--screenshot={out}", path.resolve().as_uri()], check=True, capture_output=True, timeout=120
    )
    return out


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
