from __future__ import annotations

from typing import Any

from tests.unit.cli.views import make_spec

from tuning_operator.api.metadata import ObjectMeta
from tuning_operator.api.tuning_job import TuningJob
from tuning_operator.cli.plan import acting_marks, plan
from tuning_operator.control.cool_down import CoolDownSettings
from tuning_operator.stopping.percentile import PercentileSettings


def plan_of(**changes: Any) -> list[str]:
    return plan(TuningJob(metadata=ObjectMeta(name="digits"), spec=make_spec(**changes)))


def test_the_plan_tells_space_budget_schedule_and_when_each_rule_may_act() -> None:
    assert plan_of(evaluation={"top": 3, "seeds": [101, 102]}) == [
        "digits: minimize eval_loss",
        "  search    lr, width, optimizer, momentum: continuous; TPE from seed 7",
        "  budget    16 trials, 3 at once; at most 4h; fails after more than 3 failed trials",
        "  schedule  2,000 train_step a trial, judged at 50 marks, one every 40",
        "  audit     5 % of the trials are never stopped: how often is a stop wrong?",
        "  evaluate  the 3 best trials again with 2 new seeds: 6 more trainings",
        "",
        "Rules, in the order in which they are asked; ● marks where one may act, · where it is silent:",
        "",
        "  BackOff      ●●●●●●●●●●●●●●●●●●●●●●●●●  whenever an alarm is raised",
        "               Answer a divergence by a smaller learning rate instead of a stop.",
        "  CoolDown     ···················●●●●●●  train_step 1,600 to 1,960",
        "               Begin the final decay of the learning rate when the rest of the schedule is just long "
        "enough for it.",
        "  Percentile   ··●●●●●●●●●●●●●●●●●●●●●●●  train_step 200 to 1,960, once 3 trials completed",
        "               Stop a trial whose best value so far is worse than a low percentile of the completed trials' "
        "running averages.",
        "  Divergence   ●●●●●●●●●●●●●●●●●●●●●●●●●  at every look (5s), explosions from train_step 40 on",
        "               Stop a trial whose training loss becomes non-finite or explodes, unless a control rule rescues "
        "it first.",
    ]


def test_a_finite_space_is_counted_and_no_rules_are_said() -> None:
    lines = plan_of(
        parameters=[{"name": "layers", "type": "Int", "min": 1, "max": 4}], stopping=[], control=[], search={"seed": 1}
    )
    assert "  search    layers: 4 configurations; TPE from seed 1" in lines
    assert lines[-1] == "No rules: every trial runs to the end of its schedule."


def test_a_rule_that_only_observes_is_said() -> None:
    assert any("only writes down" in line for line in plan_of(stopping=[{"rule": "Percentile", "mode": "Observe"}]))


def test_marks_begin_exactly_where_the_rule_begins() -> None:
    assert acting_marks(PercentileSettings(after=0.1))[0] == 5
    assert acting_marks(PercentileSettings(after=0.11))[0] == 6
    assert acting_marks(CoolDownSettings(fraction=0.2))[0] == 40
    assert acting_marks(PercentileSettings(after=0.995)) == []
