import math

import pytest
from tests.unit.engine.driving import TOTAL, Driver, make_spec

from tuning_operator.api.trial import Desired
from tuning_operator.engine.decisions import Action
from tuning_operator.engine.events import AlarmRaised, EndReason, MarkReached
from tuning_operator.engine.wanted import WantedControl

PERCENTILE = {"rule": "Percentile", "percentile": 50, "minimumTrials": 1}
DIVERGENCE = {"rule": "Divergence"}
BACK_OFF = {"rule": "BackOff", "times": 2, "quiet": 0.1}
COOL_DOWN = {"rule": "CoolDown"}


def with_one_completed(**changes) -> Driver:
    driver = Driver(**changes)
    driver.begin()
    driver.complete(0, 1.0)
    return driver


def test_a_hopeless_trial_is_stopped_with_the_numbers():
    driver = with_one_completed(stopping=[PERCENTILE])
    assert driver.mark(1, 4, 9.0) == []
    (decision,) = driver.mark(1, 5, 9.0)
    assert decision.action is Action.STOP
    assert decision.enforced
    assert decision.because == driver.records[-2].sequence < decision.sequence
    assert decision.inputs["best"] == 9.0
    assert decision.compared == 1
    assert decision.saved == pytest.approx(0.9)
    wanted = driver.engine.wanted(1)
    assert (wanted.desired, wanted.reason) == (Desired.STOPPED, EndReason.STOPPED_EARLY)
    assert driver.mark(1, 6, 9.0) == []
    driver.end(1, 9.0, reason=EndReason.STOPPED_EARLY)
    assert driver.engine.wanted(1).reason is EndReason.STOPPED_EARLY


def test_a_good_trial_is_left_alone():
    driver = with_one_completed(stopping=[PERCENTILE, DIVERGENCE], control=[BACK_OFF])
    assert [driver.mark(1, mark, 0.5) for mark in range(1, 51)] == [[]] * 50
    assert driver.engine.wanted(1).desired is Desired.RUNNING
    assert driver.engine.wanted(1).control == WantedControl()


def test_nothing_is_stopped_when_its_schedule_is_done():
    driver = with_one_completed(stopping=[PERCENTILE], control=[{"rule": "CoolDown", "fraction": 0.01}])
    assert driver.mark(1, 50, 9.0) == []


def test_rules_are_asked_in_the_order_of_the_manifest():
    for stopping in ([PERCENTILE, DIVERGENCE], [DIVERGENCE, PERCENTILE]):
        driver = with_one_completed(stopping=stopping)
        driver.mark(1, 4, math.nan)
        (decision,) = driver.mark(1, 5, math.nan)
        assert decision.rule == stopping[0]["rule"]


def test_an_observing_rule_says_it_once_and_the_next_rule_acts():
    driver = with_one_completed(stopping=[{**PERCENTILE, "mode": "Observe"}, {**DIVERGENCE, "mode": "Act"}], control=[])
    (decision,) = driver.mark(1, 10, 9.0)
    assert not decision.enforced
    assert decision.saved == 0.0
    assert driver.mark(1, 11, 9.0) == []
    assert driver.engine.wanted(1).desired is Desired.RUNNING
    driver.mark(1, 12, math.nan)
    (decision,) = driver.mark(1, 13, math.nan)
    assert (decision.rule, decision.enforced) == ("Divergence", True)


def test_an_audited_trial_is_steered_like_all_others_and_never_stopped():
    driver = with_one_completed(stopping=[PERCENTILE, DIVERGENCE], control=[COOL_DOWN, BACK_OFF], audit=1.0)
    found = [decision for mark in range(1, 51) for decision in driver.mark(1, mark, 9.0)]
    found += [decision for _ in range(3) for decision in driver.alarm(1, fraction=0.99)]
    assert [(one.rule, one.enforced) for one in found] == [
        ("Percentile", False),
        ("CoolDown", True),
        ("BackOff", True),
        ("BackOff", True),
        ("Divergence", False),
    ]
    assert driver.engine.wanted(1).desired is Desired.RUNNING
    assert driver.engine.wanted(1).control.revision == 3


def test_finalists_are_steered_and_never_stopped():
    driver = with_one_completed(
        stopping=[PERCENTILE, DIVERGENCE],
        control=[BACK_OFF],
        budget={"trials": 1, "parallel": 4},
        evaluation={"top": 1, "seeds": [11]},
        objective={"metric": "eval_loss", "target": -1.0},
    )
    driver.begin()
    found = [decision for mark in range(1, 51) for decision in driver.mark(1, mark, 9.0)]
    assert found + driver.mark(1, 50, -5.0) == []
    assert [one.rule for _ in range(4) for one in driver.alarm(1)] == ["BackOff", "BackOff"]
    assert driver.engine.wanted(1).desired is Desired.RUNNING


def test_a_change_is_wanted_with_the_next_revision_and_keeps_what_came_before():
    driver = with_one_completed(control=[COOL_DOWN, BACK_OFF], stopping=[DIVERGENCE])
    (first,) = driver.alarm(1, kind="Explosion", fraction=0.3)
    assert (first.action, first.revision, first.scale, first.restore) == (Action.CHANGE_LEARNING_RATE, 1, 0.5, True)
    (second,) = driver.mark(1, 40, 1.0)
    assert (second.action, second.revision, second.scale) == (Action.BEGIN_DECAY, 2, 0.5)
    (third,) = driver.alarm(1, kind="NonFinite", fraction=0.85)
    assert (third.action, third.revision, third.scale, third.restore) == (Action.CHANGE_LEARNING_RATE, 3, 0.25, True)
    assert driver.engine.wanted(1).control == WantedControl(revision=3, scale=0.25, begin_decay=True, restore=True)
    driver.look(1, 900.0, revision=3)
    assert driver.engine.wanted(1).control.restore is False


def test_when_control_has_had_its_chances_the_rule_that_raised_the_alarm_stops():
    driver = with_one_completed(control=[BACK_OFF], stopping=[PERCENTILE, DIVERGENCE])
    assert [driver.alarm(1, fraction=0.02 * n)[0].rule for n in (1, 2, 3)] == ["BackOff", "BackOff", "Divergence"]
    assert driver.engine.wanted(1).reason is EndReason.NON_FINITE


def test_an_alarm_of_an_attempt_that_is_over_changes_nothing():
    driver = with_one_completed(control=[BACK_OFF], stopping=[DIVERGENCE])
    driver.start(1)
    assert driver.alarm(1, attempt=1) == []
    assert len(driver.alarm(1, attempt=2)) == 1


def test_inside_the_quiet_window_no_stopping_rule_judges_a_mark():
    driver = with_one_completed(control=[BACK_OFF], stopping=[PERCENTILE, DIVERGENCE])
    driver.alarm(1, fraction=0.2)
    assert [len(driver.mark(1, mark, 9.0)) for mark in (11, 12, 13, 14)] == [0, 0, 0, 0]
    assert len(driver.mark(1, 15, 9.0)) == 1


def test_after_a_change_in_a_round_no_stopping_rule_is_asked():
    driver = with_one_completed(control=[COOL_DOWN], stopping=[PERCENTILE])
    for mark in (1, 2, 3, 4):
        driver.mark(1, mark, 9.0)
    assert [one.rule for one in driver.mark(1, 40, 9.0)] == ["CoolDown"]
    assert [one.rule for one in driver.mark(1, 41, 9.0)] == ["Percentile"]


def test_a_late_mark_of_an_older_attempt_is_neither_kept_nor_judged():
    driver = with_one_completed(stopping=[PERCENTILE])
    driver.mark(1, 2, 0.5)
    driver.start(1)
    driver.mark(1, 3, 0.5, attempt=2)
    assert driver.mark(1, 7, 9.0, attempt=1) == []
    assert driver.engine.trial(1).curve.marks() == (2, 3)


def test_an_attempt_that_goes_back_replaces_what_it_repeats():
    driver = with_one_completed()
    for mark in range(1, 11):
        driver.mark(1, mark, 2.0)
    driver.start(1)
    driver.mark(1, 6, 3.0, attempt=2)
    assert driver.engine.trial(1).curve.marks() == (1, 2, 3, 4, 5, 6)
    assert driver.engine.trial(1).curve.value == 3.0


def test_looks_become_marks_in_the_direction_of_a_loss():
    driver = Driver(objective={"metric": "accuracy", "direction": "Maximize"})
    driver.begin()
    (event,) = driver.look(0, TOTAL / 50, value=0.75)
    assert isinstance(event, MarkReached)
    assert event.at.value == -0.75
    driver.feed(event)
    view = driver.engine.view(time=driver.time).trials[0]
    assert (view.value, view.best, view.points[0].value) == (0.75, 0.75, 0.75)


def test_an_alarm_comes_before_the_marks_of_the_same_look():
    driver = Driver(stopping=[DIVERGENCE])
    driver.begin()
    events = driver.look(0, 100.0, value=2.0, count=0, nonfinite=5)
    assert [type(event) for event in events] == [AlarmRaised, MarkReached]
    assert events[0].fraction == 0.1


def test_until_a_change_is_applied_the_trial_is_not_accused_again():
    driver = Driver(stopping=[DIVERGENCE], control=[BACK_OFF])
    driver.begin()

    def broken(position, **fields):
        return driver.look(0, position, count=0, nonfinite=5, **fields)

    (alarm,) = broken(100.0)
    driver.feed(alarm)
    assert broken(110.0) == broken(120.0, revision=0) == []
    assert [type(event) for event in broken(130.0, revision=1)] == [AlarmRaised]


def test_a_trial_that_is_to_stop_is_shown_and_not_recorded():
    driver = with_one_completed(stopping=[PERCENTILE])
    driver.mark(1, 5, 9.0)
    assert driver.look(1, 500.0, value=8.0) == []
    assert driver.engine.view(time=driver.time).trials[1].value == 8.0
    driver.end(1, 8.0, reason=EndReason.STOPPED_EARLY)
    assert driver.look(1, 600.0, value=8.0) == []


def test_a_new_attempt_is_watched_afresh():
    driver = Driver(stopping=[DIVERGENCE])
    driver.begin()
    assert len(driver.look(0, 100.0, count=0, nonfinite=5)) == 1
    assert driver.look(0, 110.0, count=0, nonfinite=5) == []
    driver.start(0)
    assert driver.look(0, 90.0, count=0, nonfinite=5, attempt=1) == []
    assert len(driver.look(0, 90.0, count=0, nonfinite=5, attempt=2)) == 1


def test_asking_decides_nothing():
    driver = with_one_completed(stopping=[PERCENTILE])
    before = driver.engine.view(time=0.0)
    driver.engine.propose(time=0.0)
    driver.engine.check(time=0.0)
    driver.engine.wanted(1)
    driver.engine.event(MarkReached, time=0.0, trial=1, attempt=1, at=None)
    assert driver.engine.view(time=0.0) == before


def test_specs_are_taken_with_all_rules_observing():
    spec = make_spec(stopping=[{**PERCENTILE, "mode": "Observe"}], control=[{**COOL_DOWN, "mode": "Observe"}])
    driver = Driver(spec)
    driver.begin()
    driver.complete(0, 1.0)
    driver.complete(1, 9.0)
    assert [one.rule for one in driver.engine.view(time=0.0).decisions] == ["CoolDown", "Percentile", "CoolDown"]
    assert driver.engine.view(time=0.0).learning_rate_changes == 0
