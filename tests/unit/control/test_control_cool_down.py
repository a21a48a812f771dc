from __future__ import annotations

import pytest
from tests.curves import curve_of, mark_value

from tuning_operator.control.base import AppliedControl
from tuning_operator.control.cool_down import CoolDown, CoolDownSettings
from tuning_operator.curves.curve import Curve
from tuning_operator.curves.marks import MARKS

FRESH = AppliedControl(changes={})


@pytest.mark.parametrize(("fraction", "first"), [(0.2, 40), (0.1, 45), (0.3, 35), (0.01, None), (0.99, 1), (0.25, 38)])
def test_the_decay_begins_at_the_first_mark_that_leaves_no_more_than_the_fraction(
    fraction: float, first: int | None
) -> None:
    rule = CoolDown(CoolDownSettings(fraction=fraction))
    begun = [mark for mark in range(1, MARKS + 1) if rule.judge(curve_of([1.0] * mark), FRESH) is not None]
    assert begun == ([] if first is None else list(range(first, MARKS)))


def test_it_begins_once() -> None:
    verdict = CoolDown(CoolDownSettings()).judge(curve_of([1.0] * 40), FRESH)
    assert verdict is not None
    assert (verdict.begin_decay, verdict.scale, verdict.restore) == (True, None, False)
    decaying = AppliedControl(changes={}, begin_decay=True)
    assert CoolDown(CoolDownSettings()).judge(curve_of([1.0] * 41), decaying) is None


def test_a_trial_whose_mark_was_not_seen_begins_at_the_next() -> None:
    curve = Curve()
    curve.append(mark_value(39), attempt=1)
    assert CoolDown(CoolDownSettings()).judge(curve, FRESH) is None
    curve.append(mark_value(43), attempt=1)
    verdict = CoolDown(CoolDownSettings()).judge(curve, FRESH)
    assert verdict is not None
    assert "86%" in verdict.sentence
