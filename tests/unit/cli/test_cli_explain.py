from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.cli.views import START, make_decision, make_spec, make_trial, make_view, simulated_view

from tuning_operator.cli.explain import explain, explain_document, find_trial, why_no_decision
from tuning_operator.engine.decisions import Action
from tuning_operator.engine.events import EndReason, Role
from tuning_operator.engine.view import CurvePoint, TrialState
from tuning_operator.errors import RunNotFound
from tuning_operator.schema import Mode

POINTS = tuple(CurvePoint(fraction=mark / 50, value=1 / mark) for mark in range(1, 11))
STOPPED = make_trial(
    3, state=TrialState.ENDED, reason=EndReason.STOPPED_EARLY, fraction=0.2, result=1.31, best=1.31, points=POINTS
)


def test_every_decision_is_told_in_order_with_its_numbers() -> None:
    change = make_decision(
        4,
        3,
        rule="BackOff",
        action=Action.CHANGE_LEARNING_RATE,
        fraction=0.12,
        scale=0.5,
        revision=1,
        saved=0.0,
        compared=0,
        inputs={"level": 8.1},
        sentence="its loss exploded",
    )
    observed = make_decision(6, 3, mode=Mode.OBSERVE, enforced=False, fraction=0.16, saved=0.0, sentence="it is bad")
    lines = explain(make_view((STOPPED,), (make_decision(8, 3), observed, change)), STOPPED)
    assert lines == [
        "Trial 3 of digits: lr=0.001, width=128, optimizer=adamw",
        "It ended as stopped early at 20 % of its schedule; eval_loss 1.31, place 1 of 1.",
        "",
        "2 decisions, and 1 that a rule saw but did not carry out:",
        "     0:04  at 12 %  BackOff: learning rate ×0.5: its loss exploded",
        "           from: level 8.1; learning-rate scale 0.5 as revision 1",
        "     0:06  at 16 %  Percentile would have stopped it: it is bad",
        "           Nothing was done: Percentile has mode Observe.",
        "           from: best 1.31; threshold 0.42; compared with 5 trials",
        "     0:08  at 20 %  Percentile: stopped: after 20% its best loss 1.31 is above 0.42, "
        "the 10th percentile of the running averages of 5 trials",
        "           from: best 1.31; threshold 0.42; compared with 5 trials; saves 80 % of its schedule",
    ]


def test_an_audited_trial_says_that_rules_never_touch_it() -> None:
    audited = replace(STOPPED, audited=True)
    lines = explain(make_view((audited,), (make_decision(8, 3, enforced=False),)), audited)
    assert any("this trial is audited" in line for line in lines)


def test_a_trial_without_a_decision_is_told_why() -> None:
    done = [
        make_trial(number, state=TrialState.ENDED, reason=EndReason.COMPLETED, result=0.1, ended=START + number)
        for number in range(2)
    ]
    early = make_trial(7, fraction=0.04, points=POINTS[:2], ended=None)
    later = make_trial(8, fraction=0.2, points=POINTS)
    view = make_view((*done, early, later))
    assert why_no_decision(view, early) == [
        "BackOff saw no reason to act at any of its 2 marks.",
        "CoolDown acts after 80 % of the schedule; it was at 4 %.",
        "Percentile acts after 10 % of the schedule; it was at 4 %.",
        "Divergence saw no reason to act at any of its 2 marks.",
    ]
    assert "Percentile needs 3 completed trials to compare with; there were 2." in why_no_decision(view, later)
    assert "No decision was made about it." in explain(view, later)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"role": Role.EVALUATION}, "no rule may stop such trials"),
        ({"state": TrialState.PENDING}, "nothing yet"),
    ],
)
def test_trials_that_no_rule_may_judge(changes: dict[str, object], sentence: str) -> None:
    trial = make_trial(1, **changes)
    assert sentence in why_no_decision(make_view((trial,)), trial)[0]


def test_a_job_without_rules_says_so() -> None:
    trial = make_trial(1, points=POINTS)
    view = make_view((trial,), spec=make_spec(stopping=[], control=[]))
    assert why_no_decision(view, trial) == ["The job has no rules: neither spec.stopping nor spec.control names one."]


def test_trials_are_found_by_number_and_name_and_a_wrong_one_lists_what_there_is() -> None:
    view = make_view(tuple(make_trial(number) for number in range(9)))
    for wanted in ("7", "0007", "digits-0007"):
        assert find_trial(view, wanted).number == 7
    assert find_trial(view, "0000").number == 0
    with pytest.raises(RunNotFound, match=r"no trial 9; its trials are 0 to 8"):
        find_trial(view, "9")
    with pytest.raises(RunNotFound, match="no trials yet"):
        find_trial(make_view(), "1")


def test_the_document_says_the_same_for_every_trial() -> None:
    view = simulated_view(12)
    for trial in view.trials:
        document = explain_document(view, trial)
        assert bool(document["decisions"]) != bool(document["whyNone"])
        assert all(one["trial"] == trial.number for one in document["decisions"])
