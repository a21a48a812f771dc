from __future__ import annotations

import pytest

from tuning_operator.curves.alarm import EXPLOSION, NON_FINITE, Alarm
from tuning_operator.schema import Mode
from tuning_operator.stopping.gate import may_act, may_judge

BROKEN = Alarm(kind=NON_FINITE, position=1.0, numbers={})
EXPLODED = Alarm(kind=EXPLOSION, position=1.0, numbers={})


@pytest.mark.parametrize("alarm", [None, EXPLODED])
def test_nothing_is_judged_in_the_quiet_window(alarm: Alarm | None) -> None:
    def judged(fraction: float) -> bool:
        return may_judge(fraction=fraction, quiet_until=0.1 + 0.06, evaluation=False, alarm=alarm)

    assert [judged(fraction) for fraction in (0.1, 0.14, 0.159, 0.16, 0.2)] == [False, False, False, True, True]


def test_a_loss_that_is_not_finite_is_judged_in_the_quiet_window() -> None:
    assert may_judge(fraction=0.1, quiet_until=0.5, evaluation=False, alarm=BROKEN)


@pytest.mark.parametrize("alarm", [None, EXPLODED, BROKEN])
def test_a_trial_without_a_change_is_judged_and_an_evaluation_never(alarm: Alarm | None) -> None:
    assert may_judge(fraction=0.0, quiet_until=None, evaluation=False, alarm=alarm)
    assert not may_judge(fraction=0.9, quiet_until=None, evaluation=True, alarm=alarm)


def test_only_an_acting_rule_on_a_trial_that_is_not_audited_acts() -> None:
    acts = {(mode, audited): may_act(mode=mode, audited=audited) for mode in Mode for audited in (False, True)}
    assert [key for key, value in acts.items() if value] == [(Mode.ACT, False)]
