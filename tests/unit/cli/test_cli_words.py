from __future__ import annotations

import math

import pytest
from tests.unit.cli.views import make_decision, make_trial

from tuning_operator.cli import words
from tuning_operator.cli.sparkline import sparkline, useful_log
from tuning_operator.engine.decisions import Action
from tuning_operator.engine.events import EndReason
from tuning_operator.engine.view import TrialState


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (0.0512345, "0.05123"),
        (-1.5, "-1.5"),
        (12345.678, "12346"),
        (0.00001234, "1.23e-5"),
        (2.5e9, "2.50e9"),
        (math.nan, "NaN"),
        (-math.inf, "-∞"),
    ],
)
def test_numbers_are_short_and_exact_enough(value: float | None, text: str) -> None:
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0, "0 s"),
        (4.25, "4.2 s"),
        (59.96, "1 min"),
        (123, "2 min 03 s"),
        (3600, "1 h"),
        (3900, "1 h 05 min"),
        (273_600, "3 d 04 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float | None, text: str) -> None:
    assert words.duration(seconds) == text


def test_every_end_and_every_action_has_its_words() -> None:
    for reason in EndReason:
        assert words.state(make_trial(1, state=TrialState.ENDED, reason=reason))
    for action in Action:
        assert words.deed(make_decision(1, 1, action=action))


def test_a_decision_says_when_nothing_was_done() -> None:
    acted = words.decision(make_decision(1, 7))
    observed = words.decision(make_decision(1, 7, enforced=False))
    assert acted.startswith("trial 7: stopped by Percentile: after 20%")
    assert observed.startswith("trial 7: Percentile would have stopped it, nothing was done: after 20%")


def test_a_sparkline_falls_with_its_curve_and_marks_what_is_not_finite() -> None:
    assert sparkline([3, 2, 1, math.nan], width=10) == "█▅▁!"
    assert sparkline([5.0] * 4, width=10) == "▁▁▁▁"
    assert sparkline([], width=10) == ""
    assert sparkline([math.inf], width=10) == "!"
    assert len(sparkline([float(value) for value in range(50)], width=14)) == 14


def test_a_sparkline_over_decades_is_logarithmic() -> None:
    values = [1000.0, 100.0, 10.0, 1.0]
    assert useful_log(values)
    assert sparkline(values, width=4) == "█▆▃▁"
    assert not useful_log([0.0, 100.0])
