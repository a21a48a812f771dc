from __future__ import annotations

import io
import math
import re

import pytest
from rich.console import Console
from tests.unit.cli.views import START, make_decision, make_spec, make_trial, make_view, simulated_view

from tuning_operator.cli.live import render
from tuning_operator.cli.pictures import live_svg
from tuning_operator.engine.events import EndReason, Role
from tuning_operator.engine.view import CurvePoint, JobView, TrialState


def show(view: JobView, *, width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, record=True, color_system=None, highlight=False)
    console.print(render(view, width=width, height=height))
    return [line.rstrip() for line in console.export_text().splitlines()]


def small_view() -> JobView:
    points = tuple(CurvePoint(fraction=mark / 50, value=2 / mark, learning_rate=1e-3) for mark in range(1, 21))
    best = make_trial(
        0, state=TrialState.ENDED, reason=EndReason.COMPLETED, fraction=1.0, result=0.0512, best=0.0512, points=points
    )
    running = make_trial(
        1,
        fraction=0.4,
        value=0.1,
        best=0.1,
        learning_rate=5e-4,
        scale=0.5,
        revision=1,
        applied_revision=1,
        points=points,
    )
    waiting_for_control = make_trial(
        2,
        fraction=0.1,
        value=math.nan,
        learning_rate=2e-3,
        scale=0.25,
        revision=2,
        applied_revision=1,
        points=points[:5],
    )
    stopped = make_trial(
        3,
        state=TrialState.ENDED,
        reason=EndReason.STOPPED_EARLY,
        fraction=0.2,
        result=1.31,
        best=1.31,
        points=points[:10],
    )
    return make_view((best, running, waiting_for_control, stopped), (make_decision(9, 3),), best=best)


def test_the_view_at_100_columns() -> None:
    assert show(small_view(), width=100, height=24) == [
        "digits  TPE  minimize eval_loss                                                                 2:13",
        "trials    ━━━━━───────────────────────────────────  2 of 16",
        "time      ────────────────────────────────────────  2 min 13 s of 4 h",
        "",
        "  #  state          schedule          eval_loss  learning rate  curve",
        "  1  running        ━━━━──────  40 %        0.1  5.0e-4 ×0.5    █▇▅▄▃▃▂▂▂▁▁▁▁▁",
        "  2  running        ━─────────  10 %        NaN  2.0e-3 ×0.25…  █▃▂▁▁",
        "★ 0  completed      ━━━━━━━━━━ 100 %     0.0512                 █▇▅▄▃▃▂▂▂▁▁▁▁▁",
        "  3  stopped early  ━━────────  20 %       1.31                 █▄▃▂▁▁▁▁▁▁      by Percentile",
        "",
        "best trial 0  eval_loss 0.0512  lr=0.001  width=128  optimizer=adamw",
        "   0:09  trial 3: stopped by Percentile: after 20% its best loss 1.31 is above 0.42, the 10th perce…",
    ]


def test_a_narrow_terminal_keeps_number_state_share_value_and_rate() -> None:
    lines = show(small_view(), width=60, height=24)
    assert lines[4].split() == ["#", "state", "schedule", "eval_loss", "lr"]
    assert lines[5].split() == ["1", "running", "40", "%", "0.1", "5.0e-4", "×0.5"]


def test_a_wide_terminal_shows_parameters() -> None:
    lines = show(small_view(), width=160, height=24)
    assert "lr=0.001  width=128  optimizer=adamw" in lines[5]


@pytest.mark.parametrize("width", [60, 80, 100, 160])
@pytest.mark.parametrize("height", [14, 24, 50])
@pytest.mark.parametrize("ended", [0, 40])
def test_the_view_stays_inside_the_terminal(width: int, height: int, ended: int) -> None:
    view = simulated_view(ended, running=5, pending=3)
    lines = show(view, width=width, height=height)
    assert max(map(len, lines)) <= width
    assert len(lines) <= height


def test_running_trials_come_first_and_the_best_is_never_hidden() -> None:
    view = simulated_view(40, running=4)
    lines = show(view, width=100, height=20)
    rows = [line for line in lines if re.match(r"^[★ ]\s*\d+  \w", line)]
    assert ["running" in row for row in rows] == sorted(["running" in row for row in rows], reverse=True)
    assert any(row.startswith("★") for row in rows)
    hidden = next(line for line in lines if line.startswith("and "))
    assert int(hidden.split()[1]) == len(view.trials) - len(rows)


def test_an_empty_job_a_suspended_and_a_finished_one_say_so() -> None:
    assert any("no trial has a result yet" in line for line in show(make_view(), width=80, height=24))
    assert "suspended" in show(make_view(suspended=True), width=80, height=24)[0]
    assert "finished: the target was reached" in show(make_view(finished="TargetReached"), width=80, height=24)[0]


def test_gpu_hours_and_evaluations_are_shown() -> None:
    again = make_trial(5, role=Role.EVALUATION, candidate=2, started=START)
    view = make_view((again,), spec=make_spec(budget={"trials": 4, "gpuHours": 10}), gpu_hours=2.5)
    lines = show(view, width=100, height=24)
    assert any("2.5 of 10" in line for line in lines)
    assert any("trial 2 again, new seed" in line for line in lines)


def test_the_picture_for_the_documentation_is_an_svg() -> None:
    svg = live_svg(small_view())
    assert svg.startswith("<svg")
    assert "★" in svg


@pytest.mark.parametrize("width", [60, 76, 80, 96, 100, 130, 160])
def test_long_messages_and_names_take_nothing_from_the_other_columns(width: int) -> None:
    failed = make_trial(
        1234,
        state=TrialState.ENDED,
        reason=EndReason.CONFIGURATION_ERROR,
        fraction=0.5,
        scale=0.125,
        result=-0.00012345,
        message="a long sentence about what went wrong " * 5,
        parameters={f"parameter_{number}": 1.5 for number in range(20)},
    )
    lines = show(make_view((failed,), spec=make_spec(objective={"metric": "m" * 60})), width=width, height=24)
    row = next(line for line in lines if "1234" in line)
    for part in ("1234", "configuration error", "50 %", "-1.23e-4", "×0.125"):
        assert part in row
    assert max(map(len, lines)) <= width
