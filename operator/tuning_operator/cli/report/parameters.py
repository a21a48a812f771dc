"""Pictures of the search space: the result against each parameter, and all parameters at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from tuning_operator.api.parameters import Parameter, ParameterType, Scale
from tuning_operator.cli import reading, words
from tuning_operator.cli.report.picture import GROUPS, Picture, axis_of, layout, log_axis, safe
from tuning_operator.cli.report.picture import group as group_of
from tuning_operator.cli.sparkline import useful_log
from tuning_operator.engine.view import JobView, TrialView
from tuning_operator.schema import Scalar

_SHADES: Final = (("#3b82f6", 0.95), ("#3fa0b5", 0.6), ("#7da58f", 0.4), ("#a7a27c", 0.3), ("#a3907c", 0.25))
"""From the best fifth of the trials to the worst: colour and opacity."""
_ABSENT: Final = -0.12
"""Height of the line for parameters that a trial does not have, below the axes."""


def strips(view: JobView) -> list[Picture]:
    """One picture for each parameter."""
    return [_strip(view, index, parameter) for index, parameter in enumerate(view.spec.parameters)]


def _strip(view: JobView, index: int, parameter: Parameter) -> Picture:
    trials = reading.with_result(view)
    having = [trial for trial in trials if parameter.name in trial.parameters]
    without = len(trials) - len(having)
    sentence = f"Each dot is a trial: its {parameter.name} to the right, its result upwards"
    if without:
        sentence += f"; {words.count(without, 'trial does', 'trials do')} not have this parameter"
    picture: dict[str, Any] = {"name": f"parameter-{index}", "title": parameter.name, "reading": sentence + "."}
    if not having:
        return Picture(**picture, figure=None, missing="No trial with this parameter has a result yet.")
    data = []
    for name, colour in GROUPS:
        chosen = [trial for trial in having if group_of(trial) == name]
        if chosen:
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    "x": [_place(parameter, trial) for trial in chosen],
                    "y": [trial.result for trial in chosen],
                    "customdata": [
                        f"trial {trial.number}, {safe(words.scalar(trial.parameters[parameter.name]))}"
                        for trial in chosen
                    ],
                    "marker": {
                        "color": colour,
                        "size": 8,
                        "opacity": 0.8,
                        "symbol": "circle" if name == "completed" else "circle-open",
                    },
                    "hovertemplate": "%{customdata}: %{y:.4g}<extra></extra>",
                }
            )
    results = [trial.result for trial in trials if trial.result is not None]
    figure = {
        "data": data,
        "layout": layout(
            height=280,
            showlegend=False,
            margin={"l": 64, "r": 16, "t": 12, "b": 34},
            xaxis=_axis(parameter),
            yaxis=axis_of(results, view.spec.objective.metric, log=not reading.maximises(view)),
        ),
    }
    return Picture(**picture, figure=figure)


def _place(parameter: Parameter, trial: TrialView) -> float:
    value = trial.parameters[parameter.name]
    if parameter.type is not ParameterType.CATEGORICAL:
        return float(value)
    # Spread sideways by the trial's number alone, so that dots do not hide each other and never move.
    return _choice_index(parameter, value) + ((trial.number * 0.618) % 1 - 0.5) * 0.4


def _choice_index(parameter: Parameter, value: Scalar) -> int:
    for index, choice in enumerate(parameter.choices or ()):
        if choice == value and isinstance(choice, bool) == isinstance(value, bool):
            return index
    return -1


def _axis(parameter: Parameter) -> dict[str, Any]:
    if parameter.type is ParameterType.CATEGORICAL:
        choices = parameter.choices or ()
        return {
            "tickvals": list(range(len(choices))),
            "ticktext": [safe(words.scalar(choice)) for choice in choices],
            "range": [-0.6, len(choices) - 0.4],
        }
    if parameter.scale is Scale.LOG:
        return log_axis(parameter.min or 1.0, parameter.max or 1.0)
    return {}


def parallel(view: JobView) -> Picture:
    """All parameters side by side, one line a trial."""
    trials = reading.ranked(view, reading.with_result(view))
    picture: dict[str, Any] = {
        "name": "parallel",
        "title": "All parameters at once",
        "reading": "Each line is a trial and crosses every axis at its value; bright blue lines are the best fifth, so "
        "where they bundle is where good trials are."
        + (" A line that dips below an axis has no such parameter." if _conditional(view) else ""),
        "wide": True,
    }
    if len(trials) < 2:
        return Picture(**picture, figure=None, missing="It takes two trials with a result.")
    axes = view.spec.parameters
    results = [trial.result for trial in trials if trial.result is not None]
    data = []
    for shade in reversed(range(len(_SHADES))):
        colour, opacity = _SHADES[shade]
        x: list[float | None] = []
        y: list[float | None] = []
        about: list[str | None] = []
        for place, trial in enumerate(trials):
            if place * len(_SHADES) // len(trials) != shade:
                continue
            heights = [_height(parameter, trial) for parameter in axes]
            heights.append(_share(trial.result or 0.0, results, log=not reading.maximises(view)))
            told = [
                words.scalar(trial.parameters[one.name]) if one.name in trial.parameters else "none" for one in axes
            ]
            told.append(words.number(trial.result))
            x += [*range(len(heights)), None]
            y += [*heights, None]
            about += [*(f"trial {trial.number}: {safe(text)}" for text in told), None]
        if x:
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": x,
                    "y": y,
                    "customdata": about,
                    "opacity": opacity,
                    "line": {"color": colour, "width": 2.2 if shade == 0 else 1.3},
                    "hovertemplate": "%{customdata}<extra></extra>",
                }
            )
    names = [*(parameter.name for parameter in axes), view.spec.objective.metric]
    figure = {
        "data": data,
        "layout": layout(
            showlegend=False,
            margin={"l": 56, "r": 56, "t": 34, "b": 16},
            xaxis={"range": [-0.15, len(names) - 0.85], "visible": False},
            yaxis={"range": [-0.2, 1.1], "visible": False},
            shapes=[
                {"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "line": {"color": "axis", "width": 1}}
                for at in range(len(names))
            ],
            annotations=_labels(names, [*map(_ends, axes), _result_ends(results)]),
        ),
    }
    return Picture(**picture, figure=figure)


def _conditional(view: JobView) -> bool:
    return any(parameter.when for parameter in view.spec.parameters)


def _height(parameter: Parameter, trial: TrialView) -> float:
    value = trial.parameters.get(parameter.name)
    if value is None:
        return _ABSENT
    if parameter.type is ParameterType.CATEGORICAL:
        last = max(len(parameter.choices or ()) - 1, 1)
        return _choice_index(parameter, value) / last
    low, high = parameter.min or 0.0, parameter.max or 0.0
    if parameter.scale is Scale.LOG:
        return math.log(float(value) / low) / math.log(high / low)
    return (float(value) - low) / (high - low)


def _share(value: float, values: Sequence[float], *, log: bool) -> float:
    low, high = min(values), max(values)
    if log and useful_log(values):
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low) if high > low else 0.5


def _ends(parameter: Parameter) -> list[tuple[float, str]]:
    if parameter.type is ParameterType.CATEGORICAL:
        choices = parameter.choices or ()
        shown = range(len(choices)) if len(choices) <= 8 else (0, len(choices) - 1)
        return [(index / max(len(choices) - 1, 1), words.scalar(choices[index])) for index in shown]
    return [(0.0, words.number(parameter.min, digits=3)), (1.0, words.number(parameter.max, digits=3))]


def _result_ends(results: Sequence[float]) -> list[tuple[float, str]]:
    return [(0.0, words.number(min(results), digits=3)), (1.0, words.number(max(results), digits=3))]


def _labels(names: Sequence[str], ends: Sequence[Sequence[tuple[float, str]]]) -> list[dict[str, Any]]:
    labels: list[dict[str, Any]] = []
    for at, (name, marks) in enumerate(zip(names, ends, strict=True)):
        labels.append({"x": at, "y": 1.1, "text": f"<b>{safe(name)}</b>", "showarrow": False, "yanchor": "bottom"})
        labels += [
            {
                "x": at,
                "y": height,
                "text": safe(text),
                "showarrow": False,
                "xanchor": "left",
                "xshift": 5,
                "bgcolor": "background",
                "font": {"size": 11},
            }
            for height, text in marks
        ]
    return labels
