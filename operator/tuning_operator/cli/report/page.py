"""The page around the pictures: facts, tables, settings; one file that loads nothing from anywhere.

A content security policy in the page forbids every request, so that "self-contained" is enforced by the browser.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from tuning_operator.cli import reading, words
from tuning_operator.cli.explain import why_not_enforced
from tuning_operator.cli.report.curves import curves, learning_rates
from tuning_operator.cli.report.importance import importance
from tuning_operator.cli.report.parameters import parallel, strips
from tuning_operator.cli.report.picture import GROUPS, Picture
from tuning_operator.cli.report.picture import group as group_of
from tuning_operator.cli.report.spending import compute, evaluation, progress
from tuning_operator.cli.summary import compute_sentence, evaluation_sentences, trial_counts, trust_sentences
from tuning_operator.engine.view import JobView

if TYPE_CHECKING:
    import jinja2


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table: what is shown, and what it is sorted by."""

    text: str
    key: float | str = ""
    style: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """One number at the top of the page."""

    name: str
    value: str
    about: str


def page(view: JobView) -> str:
    """Return the whole report as HTML."""
    from plotly.offline import get_plotlyjs

    pictures = {
        "curves": [curves(view)],
        "parameters": strips(view),
        "overview": [parallel(view), importance(view)],
        "spending": [progress(view), compute(view)],
        "steering": [learning_rates(view)],
        "evaluation": [picture for picture in [evaluation(view)] if picture is not None],
    }
    figures = {one.name: one.figure for group in pictures.values() for one in group if one.figure is not None}
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            view=view,
            facts=facts(view),
            heading=_heading(view),
            pictures=pictures,
            conclusions=[words.capitalised(one) for one in (*trust_sentences(view), *evaluation_sentences(view))],
            trial_head=_trial_head(view),
            trials=[_trial_row(view, index) for index in range(len(view.trials))],
            decisions=_decision_rows(view),
            colours=dict(GROUPS),
            settings=_settings(view),
            style=_resource("page.css"),
            script=_resource("page.js"),
            plotly=get_plotlyjs(),
            figures=_script_json(figures),
        )
    )


def _environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_resource),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _script_json(value: Any) -> str:
    """Return JSON that may stand inside a script element whatever the user wrote."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _heading(view: JobView) -> str:
    objective = view.spec.objective
    end = words.FINISHED_SENTENCES.get(view.finished, view.finished) if view.finished else "not finished yet"
    end += f"; {view.notice}" if view.notice else ""
    return (
        f"{objective.direction.value} {objective.metric} with {view.spec.search.algorithm.value}, "
        f"{words.duration(reading.elapsed(view))}; {end}"
    )


def facts(view: JobView) -> list[Fact]:
    """Return the numbers at the top."""
    metric = view.spec.objective.metric
    found = [Fact("Trials", str(len(view.trials)), trial_counts(view).partition(": ")[2])]
    if view.best is not None:
        about = f"trial {view.best.number}: {words.parameters(view.best.parameters, separator=', ')}"
        found.insert(0, Fact(f"Best {metric}", words.number(reading.score(view.best)), about))
    else:
        found.insert(0, Fact(f"Best {metric}", words.NOTHING, "no trial has a finite result yet"))
    steered = sum(1 for trial in view.trials if reading.learning_rate_changes(view, trial.number))
    found.append(
        Fact(
            "Learning-rate changes",
            str(view.learning_rate_changes),
            f"in {words.count(steered, 'trial')}, while training",
        )
    )
    found.append(Fact("Compute saved", words.percent(reading.saved_share(view)), compute_sentence(view)))
    return found


def _trial_head(view: JobView) -> list[str]:
    names = [parameter.name for parameter in view.spec.parameters]
    return ["#", "state", view.spec.objective.metric, "schedule", "learning rate", "compute", *names, "remark"]


def _trial_row(view: JobView, index: int) -> list[Cell]:
    trial = view.trials[index]
    score = reading.score(trial)
    row = [
        Cell(str(trial.number), trial.number),
        Cell(words.state(trial), words.state(trial), group_of(trial)),
        Cell(words.number(trial.result if trial.result is not None else trial.value), "" if score is None else score),
        Cell(words.percent(trial.fraction), trial.fraction),
        Cell("" if trial.scale == 1 else f"×{words.number(trial.scale, digits=3)}", trial.scale),
        Cell(words.duration(trial.compute_seconds), trial.compute_seconds),
    ]
    for parameter in view.spec.parameters:
        value = trial.parameters.get(parameter.name)
        text = "" if value is None else words.scalar(value)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        row.append(Cell(text, float(value) if is_number and value is not None else text))
    remarks = [message] if (message := reading.message(view, trial)) else []
    if trial.audited:
        remarks.append("audited: no rule may stop it")
    if trial.candidate is not None:
        remarks.append(f"trial {trial.candidate} with a new seed")
    if view.best is not None and view.best.number == trial.number:
        remarks.insert(0, "best")
    return [*row, Cell("; ".join(remarks), "; ".join(remarks))]


def _decision_rows(view: JobView) -> list[list[Cell]]:
    rows = []
    for decision in sorted(view.decisions, key=lambda one: one.sequence):
        seconds = decision.time - view.started if view.started is not None else 0.0
        numbers = "; ".join(f"{name} {words.number(value)}" for name, value in reading.numbers(decision))
        done = words.deed(decision) if decision.enforced else f"nothing ({why_not_enforced(view, decision)})"
        rows.append(
            [
                Cell(words.clock(seconds), decision.sequence),
                Cell(
                    "" if decision.trial is None else str(decision.trial),
                    -1 if decision.trial is None else decision.trial,
                ),
                Cell(words.percent(decision.fraction), decision.fraction),
                Cell(decision.rule, decision.rule),
                Cell(done, done, "" if decision.enforced else "quiet"),
                Cell(decision.sentence, decision.sentence),
                Cell(numbers, numbers, "numbers"),
                Cell(words.percent(decision.saved) if decision.saved else "", decision.saved),
            ]
        )
    return rows


def _settings(view: JobView) -> str:
    import yaml

    data = view.spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)


__all__ = ["Cell", "Fact", "Picture", "facts", "page"]
