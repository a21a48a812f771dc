"""Pictures over the schedule: every curve, and the learning rate in force."""

from __future__ import annotations

from typing import Any

from tuning_operator.cli import reading, words
from tuning_operator.cli.report.picture import (
    AMBER,
    GREY,
    GROUPS,
    RED,
    VIOLET,
    Picture,
    Segments,
    axis_of,
    finite,
    layout,
    safe,
)
from tuning_operator.cli.report.picture import group as group_of
from tuning_operator.curves.marks import MARKS
from tuning_operator.engine.events import EndReason
from tuning_operator.engine.view import CurvePoint, JobView, TrialView

_SCHEDULE = {"title": {"text": "part of the schedule"}, "ticksuffix": " %", "range": [0, 101]}


def curves(view: JobView) -> Picture:
    """Every trial's curve, with stops and learning-rate changes where they happened."""
    trials = [trial for trial in reading.search_trials(view) if trial.points]
    picture: dict[str, Any] = {
        "name": "curves",
        "title": "Learning curves",
        "reading": f"Each line is one trial's {view.spec.objective.metric} while it trained, drawn at the {MARKS} "
        f"marks that rules judge; {'higher' if reading.maximises(view) else 'lower'} is better; a line that ends at a "
        "cross was stopped there, and a violet triangle is a change of its learning rate.",
    }
    values = [point.value for trial in trials for point in trial.points if finite(point.value) is not None]
    if not values:
        return Picture(**picture, figure=None, missing="No trial has reported a finite value yet.")
    many = len(trials) > 40
    data: list[dict[str, Any]] = []
    for name, colour in GROUPS:
        lines = Segments()
        for trial in trials:
            if group_of(trial) == name and not _is_best(view, trial):
                lines.add(((point.fraction * 100, point.value) for point in trial.points), f"trial {trial.number}")
        if lines.x:
            data.append(_line(lines, name, colour, width=1.2 if many else 1.6, opacity=0.45 if many else 0.75))
    for trial in trials:
        if _is_best(view, trial):
            best = Segments()
            best.add(((point.fraction * 100, point.value) for point in trial.points), f"trial {trial.number}, the best")
            data.append(_line(best, f"best: trial {trial.number}", "best", width=3, opacity=1))
    data += _marks(view, trials)
    return Picture(
        **picture,
        figure={
            "data": data,
            "layout": layout(xaxis=_SCHEDULE, yaxis=axis_of(values, _metric(view), log=not reading.maximises(view))),
        },
    )


def _line(
    lines: Segments, name: str, colour: str, *, width: float, opacity: float, shape: str = "linear"
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": lines.x,
        "y": lines.y,
        "customdata": lines.about,
        "opacity": opacity,
        "line": {"color": colour, "width": width, "shape": shape},
        "hovertemplate": "%{customdata}<br>%{x:.0f} %: %{y:.4g}<extra></extra>",
    }


def _marks(view: JobView, trials: list[TrialView]) -> list[dict[str, Any]]:
    stops: list[tuple[float, float, str]] = []
    broken: list[tuple[float, float, str]] = []
    changes: list[tuple[float, float, str]] = []
    for trial in trials:
        last = next((point for point in reversed(trial.points) if finite(point.value) is not None), None)
        if last is not None and trial.reason is EndReason.STOPPED_EARLY:
            stops.append((last.fraction * 100, last.value, f"trial {trial.number}: stopped"))
        if last is not None and trial.reason is EndReason.NON_FINITE:
            broken.append((last.fraction * 100, last.value, f"trial {trial.number}: not a finite number after this"))
        for decision in reading.learning_rate_changes(view, trial.number):
            at = _nearest(trial, decision.fraction)
            if at is not None:
                changes.append((at.fraction * 100, at.value, f"trial {trial.number}: {words.deed(decision)}"))
    return [
        *_dots(stops, "stopped", AMBER, "x-thin", 7),
        *_dots(broken, "not finite", RED, "x-thin", 8),
        *_dots(changes, "learning rate changed", VIOLET, "triangle-down", 8),
    ]


def _dots(
    found: list[tuple[float, float, str]], name: str, colour: str, symbol: str, size: int
) -> list[dict[str, Any]]:
    if not found:
        return []
    x, y, about = zip(*found, strict=True)
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": list(x),
            "y": list(y),
            "customdata": [safe(text) for text in about],
            "marker": {"color": colour, "symbol": symbol, "size": size, "line": {"color": colour, "width": 2}},
            "hovertemplate": "%{customdata}<br>%{x:.0f} %: %{y:.4g}<extra></extra>",
        }
    ]


def _nearest(trial: TrialView, fraction: float) -> CurvePoint | None:
    drawn = [point for point in trial.points if finite(point.value) is not None]
    return min(drawn, key=lambda point: abs(point.fraction - fraction), default=None)


def learning_rates(view: JobView) -> Picture:
    """The learning rate that each trial really trained with."""
    trials = [
        trial for trial in reading.search_trials(view) if any((point.learning_rate or 0) > 0 for point in trial.points)
    ]
    picture: dict[str, Any] = {
        "name": "learning-rates",
        "title": "Learning rate in force",
        "reading": "Each line is the learning rate that a trial trained with; violet trials were steered while "
        "they ran, and a triangle shows where.",
    }
    if not trials:
        return Picture(**picture, figure=None, missing="No trial has reported its learning rate.")
    steered, left_alone = Segments(), Segments()
    changes: list[tuple[float, float, str]] = []
    for trial in trials:
        # A schedule that ends at zero would stretch a logarithmic axis to nothing.
        highest = max(point.learning_rate or 0 for point in trial.points)
        points = [
            (point.fraction * 100, point.learning_rate)
            for point in trial.points
            if point.learning_rate is not None and point.learning_rate > highest * 1e-3
        ]
        made = reading.learning_rate_changes(view, trial.number)
        (steered if made else left_alone).add(points, f"trial {trial.number}")
        for decision in made:
            x, y = min(points, key=lambda point: abs(point[0] - decision.fraction * 100))
            changes.append((x, y, f"trial {trial.number}: {words.deed(decision)} by {decision.rule}"))
    data = []
    if left_alone.x:
        data.append(_line(left_alone, "as scheduled", GREY, width=1.2, opacity=0.6, shape="vh"))
    if steered.x:
        data.append(_line(steered, "steered", VIOLET, width=2, opacity=0.9, shape="vh"))
    data += _dots(changes, "change", VIOLET, "triangle-down", 9)
    values = [value for value in (*left_alone.y, *steered.y) if value is not None]
    return Picture(
        **picture, figure={"data": data, "layout": layout(xaxis=_SCHEDULE, yaxis=axis_of(values, "learning rate"))}
    )


def _is_best(view: JobView, trial: TrialView) -> bool:
    return view.best is not None and trial.number == view.best.number


def _metric(view: JobView) -> str:
    return view.spec.objective.metric
