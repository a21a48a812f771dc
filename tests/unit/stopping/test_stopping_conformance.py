"""What every stopping rule must do, whatever it is. A rule comes under it by its line in the registry."""

from __future__ import annotations

import copy
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.curves import (
    TOTAL,
    broken_curves,
    broken_finished,
    broken_losses,
    curve_of,
    curves,
    finished,
    marks_of,
    pulse,
    quickly,
    study_of,
)

from tuning_operator.curves.alarm import EXPLOSION, NON_FINITE, Alarm
from tuning_operator.curves.marks import MARKS
from tuning_operator.curves.study import StudyCurves
from tuning_operator.stopping.base import StoppingRule, StopVerdict
from tuning_operator.stopping.registry import STOPPING_RULES

every_rule = pytest.mark.parametrize("rule", STOPPING_RULES, ids=lambda rule: rule.name)
Rule = type[StoppingRule]

studies = st.lists(finished, max_size=6)
broken_studies = st.lists(broken_finished, max_size=6)


def make(rule: Rule, **fields: Any) -> StoppingRule:
    return rule(rule.Settings(**fields))


def check_verdict(verdict: StopVerdict | None) -> None:
    """A verdict stands on its own: a known reason, and a sentence with every number that is in its inputs."""
    if verdict is None:
        return
    assert verdict.reason in {"StoppedEarly", "NonFinite"}
    assert verdict.inputs
    assert verdict.losses <= set(verdict.inputs)
    for sign in (1.0, -1.0):
        sentence, inputs = verdict.tell(sign=sign)
        for name, number in inputs.items():
            assert isinstance(number, float), name
            assert number == (sign if name in verdict.losses else 1.0) * verdict.inputs[name] or math.isnan(number)
            assert f"{number:.4g}" in sentence, (name, number, sentence)
        assert "\n" not in sentence


@every_rule
@quickly
@given(values=broken_curves, others=broken_studies)
def test_it_judges_any_curve_and_explains_itself(rule: Rule, values: list[float], others: list[list[float]]) -> None:
    check_verdict(make(rule).judge(curve_of(values), study_of(others)))


@every_rule
@quickly
@given(values=broken_curves, others=broken_studies)
def test_it_is_pure(rule: Rule, values: list[float], others: list[list[float]]) -> None:
    judge, curve, study = make(rule), curve_of(values), study_of(others)
    first = judge.judge(curve, study)
    judge.judge(curve_of([1.0] * 30), study_of([[0.0] * MARKS] * 5))
    assert repr(judge.judge(curve, study)) == repr(first)
    assert repr(make(rule).judge(curve, study)) == repr(first)
    assert marks_of(curve) == marks_of(curve_of(values))
    untouched = study_of(others)
    for mark in range(1, MARKS + 1):
        assert study.completed(mark) == untouched.completed(mark)
        for percentile in (0, 50, 100) if others else ():
            assert study.percentile_of_means(mark, percentile) == untouched.percentile_of_means(mark, percentile)


@every_rule
@quickly
@given(values=broken_curves, others=broken_studies, seed=st.integers(0, 99))
def test_the_order_of_completion_does_not_matter(
    rule: Rule, values: list[float], others: list[list[float]], seed: int
) -> None:
    shuffled = copy.copy(others)
    random.Random(seed).shuffle(shuffled)
    curve = curve_of(values)
    assert repr(make(rule).judge(curve, study_of(others))) == repr(make(rule).judge(curve, study_of(shuffled)))


@every_rule
@quickly
@given(values=curves)
def test_it_is_silent_about_a_finite_curve_without_anything_to_compare(rule: Rule, values: list[float]) -> None:
    assert make(rule).judge(curve_of(values), StudyCurves()) is None


@every_rule
@quickly
@given(others=studies, after=st.integers(1, MARKS - 1))
def test_it_is_silent_before_after(rule: Rule, others: list[list[float]], after: int) -> None:
    if "after" not in rule.Settings.model_fields:
        pytest.skip(f"{rule.name} has no setting `after`")
    judge, study = make(rule, after=after / MARKS), study_of([*others, *[[-1e9] * MARKS] * 20])
    for marks in range(1, after):
        assert judge.judge(curve_of([1e9] * marks), study) is None


@every_rule
@quickly
@given(values=curves, others=studies)
def test_it_never_stops_the_best_curve_of_all(rule: Rule, values: list[float], others: list[list[float]]) -> None:
    """Best of all: at its newest mark no other trial has ever been better."""
    best = min([min(values), *(min(other[: len(values)]) for other in others)])
    curve = curve_of([*values[:-1], best])
    assert make(rule).judge(curve, study_of([*others, *others])) is None


@every_rule
@quickly
@given(values=finished)
def test_it_never_stops_one_of_equals(rule: Rule, values: list[float]) -> None:
    study = study_of([values] * 5)
    for marks in range(1, MARKS + 1):
        assert make(rule).judge(curve_of(values[:marks]), study) is None


@every_rule
@pytest.mark.parametrize("level", [0.0, -3.5, 1e-300, 1e300, -1e300])
def test_it_never_stops_a_constant_among_equals(rule: Rule, level: float) -> None:
    study = study_of([[level] * MARKS] * 7)
    for marks in (1, MARKS // 2, MARKS):
        assert make(rule).judge(curve_of([level] * marks), study) is None


@every_rule
@quickly
@given(
    looks=st.lists(
        st.tuples(broken_losses, st.sampled_from([0, 0, 1, 10]), st.sampled_from([0, 0, 0, 1, 10])), max_size=60
    )
)
def test_its_monitor_takes_anything_and_says_something_once(rule: Rule, looks: list[tuple[float, int, int]]) -> None:
    monitor = make(rule).monitor(total=TOTAL)
    if monitor is None:
        return
    for _ in range(2):
        alarms = [
            monitor.observe(pulse(10.0 * index, mean, count=count, nonfinite=nonfinite))
            for index, (mean, count, nonfinite) in enumerate(looks)
        ]
        raised = [alarm for alarm in alarms if alarm is not None]
        assert len(raised) <= 1
        for alarm in raised:
            assert all(math.isfinite(number) for number in alarm.numbers.values())
            check_verdict(make(rule).judge_alarm(alarm, curve_of([1.0])))
        monitor.reset()


@every_rule
@quickly
@given(gaps=st.lists(st.integers(0, 5), min_size=1, max_size=50), level=st.floats(1e-9, 1e9))
def test_its_monitor_takes_a_gap_for_nothing(rule: Rule, gaps: list[int], level: float) -> None:
    """Looks that saw no training step, in between looks at a steady loss, raise nothing."""
    monitor = make(rule).monitor(total=TOTAL)
    if monitor is None:
        return
    for index, empty in enumerate(gaps):
        position = 20.0 * index
        assert monitor.observe(pulse(position, level)) is None
        for _ in range(empty):
            assert monitor.observe(pulse(position, math.nan, count=0)) is None


@every_rule
@pytest.mark.parametrize("kind", [NON_FINITE, EXPLOSION])
def test_it_answers_an_alarm_with_a_verdict_or_nothing(rule: Rule, kind: str) -> None:
    alarm = Alarm(kind=kind, position=10.0, numbers={"loss": 12.5, "least": 0.123456})
    check_verdict(make(rule).judge_alarm(alarm, curve_of([1.0])))
