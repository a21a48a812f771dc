from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from tests.unit.cli.browser import browser_tab
from tests.unit.cli.views import make_decision, make_spec, make_trial, make_view, simulated_view

from tuning_operator.cli.report.importance import LEAST_TRIALS, importances
from tuning_operator.cli.report.page import _script_json, page
from tuning_operator.cli.report.picture import log_axis
from tuning_operator.cli.results import results_csv
from tuning_operator.engine.events import EndReason
from tuning_operator.engine.view import CurvePoint, JobView, TrialState

VIEWS = {
    "whole": simulated_view(24, evaluated=3, finished="TrialsCompleted"),
    "three trials": simulated_view(3, seed=5),
    "running": simulated_view(6, running=3, pending=2),
    "nothing completed": simulated_view(0, running=2),
    "maximise": simulated_view(20, maximise=True),
    "empty": make_view(),
}


def figures_of(html: str) -> dict[str, dict[str, Any]]:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    figures: dict[str, dict[str, Any]] = json.loads(found.group(1))
    return figures


@pytest.mark.parametrize("name", VIEWS)
def test_every_figure_is_one_that_plotly_knows(name: str) -> None:
    for figure in figures_of(page(VIEWS[name])).values():
        for shape in figure["layout"].get("shapes", []):
            shape["line"]["color"] = "black"  # The page replaces named colours by those of its theme.
        for note in figure["layout"].get("annotations", []):
            note["bgcolor"] = "white"
        for trace in figure["data"]:
            if trace.get("line", {}).get("color") == "best":
                trace["line"]["color"] = "black"
        go.Figure(figure)


@pytest.mark.parametrize(("name", "width", "dark"), [("whole", 1200, False), ("maximise", 390, True)])
async def test_a_browser_draws_every_picture_and_asks_the_network_for_nothing(
    tmp_path: Path, name: str, width: int, dark: bool
) -> None:
    html = page(VIEWS[name])
    path = tmp_path / "report.html"
    path.write_text(html, encoding="utf-8")
    async with browser_tab() as tab:
        await tab.open(path, width=width, dark=dark)
        drawn = await tab.evaluate(
            "[...document.querySelectorAll('.plot')].filter(p => p.querySelector('.main-svg')).length"
        )
        assert drawn == len(figures_of(html)) >= 9
        assert tab.complaints == []
        assert tab.requests == [path.as_uri()]
        assert await tab.evaluate("document.documentElement.scrollWidth") <= width


async def test_the_table_of_decisions_sorts_and_filters_and_the_theme_turns(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    view = VIEWS["whole"]
    path.write_text(page(view), encoding="utf-8")
    async with browser_tab() as tab:
        await tab.open(path)
        column = (
            "[...document.querySelectorAll('[data-table=decisions] tbody tr')].map(r => Number(r.cells[1].textContent))"
        )
        click = "document.querySelectorAll('[data-table=decisions] th button')[1].click()"
        await tab.evaluate(click)
        rising = await tab.evaluate(column)
        await tab.evaluate(click)
        assert rising == sorted(rising) == (await tab.evaluate(column))[::-1]
        await tab.evaluate(
            "(() => { const box = document.querySelector('[data-table=decisions] input');"
            "box.value = 'backoff'; box.dispatchEvent(new Event('input')); })()"
        )
        shown = await tab.evaluate("document.querySelectorAll('[data-table=decisions] tbody tr:not([hidden])').length")
        assert shown == sum(1 for one in view.decisions if one.rule == "BackOff") > 0
        before = await tab.evaluate("getComputedStyle(document.body).backgroundColor")
        await tab.evaluate("document.getElementById('theme').click()")
        assert await tab.evaluate("getComputedStyle(document.body).backgroundColor") != before
        assert tab.complaints == []


def test_what_users_write_stays_text() -> None:
    nasty = "</script><img src=x onerror=alert(1)>"
    spec = make_spec(
        parameters=[{"name": "kind", "type": "Categorical", "choices": [nasty, "plain"]}],
    )
    trials = tuple(
        make_trial(
            number,
            parameters={"kind": nasty},
            state=TrialState.ENDED,
            reason=EndReason.COMPLETED,
            result=0.1 + number,
            best=0.1 + number,
            message=nasty,
            fraction=1.0,
        )
        for number in range(2)
    )
    html = page(make_view(trials, (make_decision(1, 0, sentence=nasty),), spec=spec, best=trials[0]))
    assert nasty not in html
    assert "<img" not in html.partition("<script>")[0]


def test_numbers_that_are_not_finite_break_no_picture() -> None:
    points = tuple(
        CurvePoint(fraction=mark / 50, value=value, learning_rate=rate)
        for mark, value, rate in ((1, 1.0, 0.1), (2, math.inf, 0.0), (3, math.nan, None))
    )
    trials = tuple(
        make_trial(
            number,
            state=TrialState.ENDED,
            reason=EndReason.NON_FINITE,
            value=math.nan,
            result=result,
            best=1.0,
            points=points,
            fraction=0.06,
            compute_seconds=1.0,
        )
        for number, result in enumerate((math.nan, math.inf, None, 1.0))
    )
    figures = figures_of(page(make_view(trials)))
    assert {"curves", "learning-rates", "compute", "progress"} <= figures.keys()


def test_importance_says_nothing_from_few_trials_and_finds_what_matters_from_many() -> None:
    few = simulated_view(LEAST_TRIALS - 1)
    assert importances(few) == {}
    assert f"It takes {LEAST_TRIALS} trials" in page(few)
    many = importances(simulated_view(80))
    assert next(iter(many)) == "lr"
    assert sum(many.values()) == pytest.approx(1.0)
    assert set(many) == {"lr", "width", "optimizer", "momentum"}


def test_best_so_far_falls_and_for_a_maximised_objective_rises() -> None:
    for name, sign in (("whole", 1), ("maximise", -1)):
        line = figures_of(page(VIEWS[name]))["progress"]["data"][1]["y"]
        assert [sign * value for value in line] == sorted((sign * value for value in line), reverse=True)


def test_stops_and_changes_are_marked_where_they_happened() -> None:
    view = VIEWS["whole"]
    traces = {trace["name"]: trace for trace in figures_of(page(view))["curves"]["data"]}
    stops = [trial for trial in view.trials if trial.reason is EndReason.STOPPED_EARLY]
    assert traces["stopped"]["x"] == [pytest.approx(trial.fraction * 100) for trial in stops]
    assert len(traces["learning rate changed"]["x"]) == view.learning_rate_changes > 0


def test_logarithmic_ticks_are_few() -> None:
    assert [tick for tick in log_axis(0.05, 2.0)["ticktext"] if 0.05 <= float(tick) <= 2] == [
        "0.05", "0.1", "0.2", "0.5", "1", "2",
    ]  # fmt: skip
    shown = [tick for tick in log_axis(1e-20, 1.0)["tickvals"] if 1e-20 <= tick <= 1]
    assert 4 <= len(shown) <= 8


def test_the_table_has_one_row_a_trial_with_full_precision() -> None:
    view = VIEWS["whole"]
    rows = list(csv.DictReader(io.StringIO(results_csv(view))))
    assert [int(row["trial"]) for row in rows] == [trial.number for trial in view.trials]
    for row, trial in zip(rows, view.trials, strict=True):
        assert float(row["parameter.lr"]) == trial.parameters["lr"]
        assert row["parameter.momentum"] == (
            "" if "momentum" not in trial.parameters else str(trial.parameters["momentum"])
        )
        assert float(row["fraction"]) == trial.fraction
    assert {row["reason"] for row in rows} >= {"Completed", "StoppedEarly"}


def test_the_table_writes_a_message_with_commas_and_lines_as_one_cell() -> None:
    view: JobView = make_view((replace(make_trial(0), message='a, "b"\nc'),))
    rows = list(csv.DictReader(io.StringIO(results_csv(view))))
    assert rows[0]["message"] == 'a, "b"\nc'


async def test_the_page_forbids_every_request_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page(VIEWS["empty"]), encoding="utf-8")
    async with browser_tab() as tab:
        await tab.open(path)
        fetched = await tab.evaluate("fetch('http://127.0.0.1:9/').then(() => 'fetched', error => String(error))")
        assert "Failed to fetch" in fetched
        assert any("Content Security Policy" in complaint for complaint in tab.complaints)


def test_figures_cannot_end_the_script_that_carries_them() -> None:
    assert "<" not in _script_json({"text": "</script>"})
    assert json.loads(_script_json({"text": "</script>"})) == {"text": "</script>"}


def test_a_maximised_objective_keeps_a_linear_axis() -> None:
    points = tuple(CurvePoint(fraction=mark / 50, value=mark / 50) for mark in range(1, 51))
    trial = make_trial(0, points=points, fraction=1.0)
    for direction, kind in (("Minimize", "log"), ("Maximize", None)):
        spec = make_spec(objective={"metric": "accuracy", "direction": direction})
        axis = figures_of(page(make_view((trial,), spec=spec)))["curves"]["layout"]["yaxis"]
        assert axis.get("type") == kind
