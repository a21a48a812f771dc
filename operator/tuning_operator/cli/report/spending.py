"""Pictures of the price: the best result against compute, what was used and saved, what retraining confirmed."""

from __future__ import annotations

from typing import Any

from tuning_operator.cli import reading, words
from tuning_operator.cli.report.picture import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    GROUPS,
    VIOLET,
    Picture,
    axis_of,
    layout,
)
from tuning_operator.cli.report.picture import group as group_of
from tuning_operator.engine.view import JobView, TrialState


def progress(view: JobView) -> Picture:
    """The best result so far against the compute that it took."""
    metric = view.spec.objective.metric
    picture: dict[str, Any] = {
        "name": "progress",
        "title": "Best so far",
        "reading": f"Each dot is a trial at the compute used when it ended; the line is the best {metric} until "
        "then, so a long flat end means that more trials found nothing better.",
    }
    ended = [trial for trial in reading.search_trials(view) if trial.state is TrialState.ENDED]
    unit, name = time_unit(view.compute_seconds)
    used, best = 0.0, None
    x: list[float] = []
    y: list[float] = []
    line: list[float] = []
    about: list[str] = []
    for trial in sorted(ended, key=lambda trial: (trial.ended or 0.0, trial.number)):
        used += trial.compute_seconds
        value = reading.score(trial) if trial.result is not None else None
        if value is None:
            continue
        best = value if best is None or reading.loss(view, value) < reading.loss(view, best) else best
        x.append(used / unit)
        y.append(value)
        line.append(best)
        about.append(f"trial {trial.number}, {words.state(trial)}")
    if not x:
        return Picture(**picture, figure=None, missing="No trial has ended with a result yet.")
    figure = {
        "data": [
            {
                "type": "scatter",
                "mode": "markers",
                "name": "trial",
                "x": x,
                "y": y,
                "customdata": about,
                "marker": {"color": GREY, "size": 6, "opacity": 0.7},
                "hovertemplate": "%{customdata}: %{y:.4g}<extra></extra>",
            },
            {
                "type": "scatter",
                "mode": "lines",
                "name": "best so far",
                "x": x,
                "y": line,
                "line": {"shape": "hv", "color": BLUE, "width": 2.5},
                "hovertemplate": "best: %{y:.4g}<extra></extra>",
            },
        ],
        "layout": layout(
            height=360,
            xaxis={"title": {"text": f"compute used ({name})"}, "rangemode": "tozero"},
            yaxis=axis_of(y, metric, log=not reading.maximises(view)),
        ),
    }
    return Picture(**picture, figure=figure)


def compute(view: JobView) -> Picture:
    """One bar: what the trials used, by how they ended, and what was saved."""
    unit, name = time_unit(view.compute_seconds + view.compute_seconds_saved)
    picture: dict[str, Any] = {
        "name": "compute",
        "title": "Compute used and saved",
        "reading": "The whole bar is what all trials would have cost without stops; the hatched part was saved: each "
        "stopped trial's own pace over the rest of its schedule.",
    }
    if not view.compute_seconds:
        return Picture(**picture, figure=None, missing="Nothing has been used yet.")
    parts = [
        (group, sum(one.compute_seconds for one in reading.search_trials(view) if group_of(one) == group), colour)
        for group, colour in GROUPS
    ]
    retrained = sum(one.compute_seconds for one in view.trials) - sum(seconds for _, seconds, _ in parts)
    parts.append(("retraining finalists", retrained, VIOLET))
    data = [
        _bar(f"{group}: {words.duration(seconds)}", seconds / unit, colour)
        for group, seconds, colour in parts
        if seconds > 1e-6
    ]
    if view.compute_seconds_saved > 0:
        saved = _bar(f"saved: {words.duration(view.compute_seconds_saved)}", view.compute_seconds_saved / unit, GREY)
        saved["marker"] = {
            "color": "rgba(0,0,0,0)",
            "line": {"color": GREY, "width": 1.5},
            "pattern": {"shape": "/", "fgcolor": GREY},
        }
        data.append(saved)
    figure = {
        "data": data,
        "layout": layout(
            height=240,
            barmode="stack",
            showlegend=True,
            margin={"l": 16, "r": 16, "t": 8, "b": 48},
            xaxis={"title": {"text": name}},
            yaxis={"visible": False},
            legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
        ),
    }
    return Picture(**picture, figure=figure)


def _bar(name: str, value: float, colour: str) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "x": [value],
        "y": [""],
        "marker": {"color": colour},
        "hovertemplate": f"{name}<extra></extra>",
    }


def evaluation(view: JobView) -> Picture | None:
    """What tuning promised beside what new seeds gave; None for a job that asks for no evaluation."""
    if view.spec.evaluation is None:
        return None
    metric = view.spec.objective.metric
    picture: dict[str, Any] = {
        "name": "evaluation",
        "title": "Finalists, retrained",
        "reading": "The open ring is what tuning measured, each dot one retraining with a seed that tuning never saw; "
        "the distance is how much tuning flattered itself by picking the best of many.",
    }
    found = reading.finalists(view)
    if not found:
        return Picture(**picture, figure=None, missing="No finalist has been retrained yet.")
    labels = [f"trial {finalist.trial.number}" for finalist in found]
    promised = [reading.score(finalist.trial) for finalist in found]
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "retrained",
            "x": [value for finalist in found for value in finalist.values],
            "y": [label for label, finalist in zip(labels, found, strict=True) for _ in finalist.values],
            "marker": {"color": BLUE, "size": 9, "opacity": 0.75},
            "hovertemplate": "%{y}: %{x:.4g}<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "their mean",
            "x": [finalist.mean for finalist in found],
            "y": labels,
            "marker": {"color": GREEN, "size": 18, "symbol": "line-ns", "line": {"color": GREEN, "width": 3}},
            "hovertemplate": "mean of %{y}: %{x:.4g}<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "tuning",
            "x": promised,
            "y": labels,
            "marker": {"color": AMBER, "size": 13, "symbol": "circle-open", "line": {"width": 2.5}},
            "hovertemplate": "tuning said %{x:.4g}<extra></extra>",
        },
    ]
    figure = {
        "data": data,
        "layout": layout(
            height=150 + 46 * len(found),
            margin={"l": 16, "r": 24, "t": 12, "b": 52},
            xaxis={"title": {"text": metric}},
            yaxis={"type": "category", "autorange": "reversed", "automargin": True, "ticksuffix": "  "},
        ),
    }
    return Picture(**picture, figure=figure)


def time_unit(seconds: float) -> tuple[float, str]:
    """Return the unit that fits, in seconds, and its name."""
    for size, name in ((3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return size, name
    return 1.0, "seconds"
