from __future__ import annotations

import pytest
from tests.curves import curve_of

from tuning_operator.control.back_off import BackOff, BackOffSettings
from tuning_operator.control.base import AppliedControl, ControlVerdict
from tuning_operator.curves.alarm import EXPLOSION, NON_FINITE, Alarm


def answer(
    kind: str = EXPLOSION, *, scale: float = 1.0, changes: int = 0, settings: BackOffSettings | None = None
) -> ControlVerdict | None:
    alarm = Alarm(kind=kind, position=5.0, numbers={"loss": 12.5})
    applied = AppliedControl(scale=scale, changes={"BackOff": changes, "Other": 9})
    return BackOff(settings or BackOffSettings()).judge_alarm(alarm, curve_of([1.0]), applied)


def test_an_explosion_halves_the_learning_rate_and_is_quiet_for_a_while() -> None:
    verdict = answer()
    assert verdict is not None
    assert (verdict.scale, verdict.restore, verdict.begin_decay, verdict.quiet) == (0.5, True, False, 0.06)
    assert verdict.sentence == (
        "its training loss exploded (loss 12.5): the learning rate is scaled from 1 to 0.5, "
        "from the last good checkpoint (change 1 of at most 3)"
    )


def test_weights_that_are_lost_are_restored() -> None:
    verdict = answer(NON_FINITE, scale=0.5, changes=1)
    assert verdict is not None
    assert (verdict.scale, verdict.restore) == (0.25, True)
    assert "from the last good checkpoint" in verdict.sentence


def test_it_stops_at_the_floor() -> None:
    verdict = answer(scale=0.125)
    assert verdict is not None
    assert verdict.scale == 0.1
    assert answer(scale=0.1) is None
    assert answer(scale=0.05) is None


@pytest.mark.parametrize("times", [1, 3, 10])
def test_a_trial_has_its_chances_and_no_more(times: int) -> None:
    settings = BackOffSettings(times=times, floor=1e-9)
    assert answer(changes=times - 1, settings=settings) is not None
    assert answer(changes=times, settings=settings) is None


def test_a_sentence_is_the_same_whatever_order_a_stored_alarm_comes_back_in() -> None:
    def sentence(numbers: dict[str, float]) -> str:
        alarm = Alarm(kind="NonFinite", position=5.0, numbers=numbers)
        verdict = BackOff(BackOffSettings()).judge_alarm(alarm, curve_of([1.0]), AppliedControl(scale=1.0, changes={}))
        assert verdict is not None
        return verdict.sentence

    assert sentence({"nonfinite": 21.0, "finite": 0.0}) == sentence({"finite": 0.0, "nonfinite": 21.0})
