"""What every control rule must do, whatever it is. A rule comes under it by its line in the registry."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.curves import broken_curves, curve_of, marks_of, quickly

from tuning_operator.api.trial import Control
from tuning_operator.control.base import AppliedControl, ControlRule, ControlVerdict
from tuning_operator.control.registry import CONTROL_RULES
from tuning_operator.curves.alarm import EXPLOSION, NON_FINITE, Alarm
from tuning_operator.curves.marks import MARKS

every_rule = pytest.mark.parametrize("rule", CONTROL_RULES, ids=lambda rule: rule.name)
Rule = type[ControlRule]

alarms = st.builds(
    Alarm,
    kind=st.sampled_from([NON_FINITE, EXPLOSION]),
    position=st.floats(0, 1000),
    numbers=st.dictionaries(st.sampled_from(["loss", "least"]), st.floats(-1e9, 1e9), max_size=2),
)


def applied(rule: Rule, *, scale: float = 1.0, changes: int = 0, begin_decay: bool = False) -> AppliedControl:
    return AppliedControl(scale=scale, changes={rule.name: changes}, begin_decay=begin_decay)


states = st.fixed_dictionaries(
    {"scale": st.floats(0.01, 1.0), "changes": st.integers(0, 12), "begin_decay": st.booleans()}
)


def make(rule: Rule, **fields: Any) -> ControlRule:
    return rule(rule.Settings(**fields))


def answers(
    rule: Rule, values: list[float], alarm: Alarm, state: AppliedControl
) -> tuple[ControlVerdict | None, ControlVerdict | None]:
    judge, curve = make(rule), curve_of(values)
    return judge.judge(curve, state), judge.judge_alarm(alarm, curve, state)


def check_verdict(verdict: ControlVerdict | None) -> None:
    """A verdict changes something, within what a manifest allows, and its sentence has its numbers."""
    if verdict is None:
        return
    assert verdict.scale is not None or verdict.begin_decay
    if verdict.scale is not None:
        Control(learning_rate_scale=verdict.scale)
    assert 0 <= verdict.quiet < 1
    assert verdict.inputs
    for name, number in verdict.inputs.items():
        assert f"{number:.4g}" in verdict.sentence or f"{number:.0%}" in verdict.sentence, (name, verdict.sentence)
    assert "\n" not in verdict.sentence


@every_rule
@quickly
@given(values=broken_curves, alarm=alarms, state=states)
def test_it_takes_anything_and_explains_itself(
    rule: Rule, values: list[float], alarm: Alarm, state: dict[str, Any]
) -> None:
    for verdict in answers(rule, values, alarm, applied(rule, **state)):
        check_verdict(verdict)


@every_rule
@quickly
@given(values=broken_curves, alarm=alarms, state=states)
def test_it_is_pure(rule: Rule, values: list[float], alarm: Alarm, state: dict[str, Any]) -> None:
    judge, curve, told = make(rule), curve_of(values), applied(rule, **state)
    first = (judge.judge(curve, told), judge.judge_alarm(alarm, curve, told))
    judge.judge(curve_of([1.0] * MARKS), applied(rule))
    assert (judge.judge(curve, told), judge.judge_alarm(alarm, curve, told)) == first
    assert answers(rule, values, alarm, told) == first
    assert marks_of(curve) == marks_of(curve_of(values))
    assert told == applied(rule, **state)


@every_rule
@quickly
@given(values=broken_curves, alarm=alarms)
def test_it_comes_to_an_end(rule: Rule, values: list[float], alarm: Alarm) -> None:
    """Whatever it changes is applied and it is asked again: it must not change a trial forever."""
    state = applied(rule)
    for changes in range(1, 30):
        verdicts = [verdict for verdict in answers(rule, values, alarm, state) if verdict is not None]
        if not verdicts:
            return
        for verdict in verdicts:
            state = AppliedControl(
                revision=state.revision + 1,
                scale=state.scale if verdict.scale is None else verdict.scale,
                begin_decay=state.begin_decay or verdict.begin_decay,
                changes={rule.name: changes},
            )
    pytest.fail(f"{rule.name} changes a trial again and again: {state}")


@every_rule
@quickly
@given(values=broken_curves, alarm=alarms, state=states)
def test_it_never_raises_a_learning_rate(rule: Rule, values: list[float], alarm: Alarm, state: dict[str, Any]) -> None:
    """Raising one needs a re-warm with a bounded slope; no rule may do it by the way."""
    for verdict in answers(rule, values, alarm, applied(rule, **state)):
        assert verdict is None or verdict.scale is None or verdict.scale < state["scale"]


@every_rule
def test_it_leaves_a_sound_trial_alone_in_the_first_half(rule: Rule) -> None:
    for marks in range(1, MARKS // 2):
        assert make(rule).judge(curve_of([1 / mark for mark in range(1, marks + 1)]), applied(rule)) is None
