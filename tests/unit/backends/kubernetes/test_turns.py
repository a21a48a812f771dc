"""Every trial has its turn once an interval, however many there are."""

from __future__ import annotations

from collections import Counter

import pytest

from tuning_operator.backends.kubernetes.turns import Turns


@pytest.mark.parametrize(("trials", "turns"), [(1, 1), (20, 1), (21, 2), (1000, 20), (10_000, 20)])
def test_every_trial_has_one_turn_an_interval(trials: int, turns: int) -> None:
    made = Turns(interval=5.0, trials=trials)
    looked: Counter[int] = Counter()
    moments = []
    for tick in range(500):
        now = 1000.0 + tick * 0.01
        turn = made.take(now)
        if turn is not None:
            moments.append(now)
            looked.update(number for number in range(trials) if turn(number))
    assert len(moments) == turns
    assert set(looked.values()) == {1}
    assert len(looked) == trials


def test_a_late_turn_leaves_nobody_out_and_is_not_made_up_for_by_a_burst() -> None:
    made = Turns(interval=4.0, trials=80)
    looked: list[int] = []
    for now in (0.0, 1.0, 7.5, 7.5, 8.0, 8.5, 9.5):
        turn = made.take(now)
        looked += [] if turn is None else [number for number in range(4) if turn(number)]
    assert looked == [0, 1, 2, 3, 0, 1]
    assert made.due == 10.5


def test_turns_that_are_each_a_little_late_come_as_often_as_they_should() -> None:
    made = Turns(interval=4.0, trials=80)
    now, taken = 100.0, 0
    while now < 140.0:
        taken += made.take(now) is not None
        now = made.due + 0.3
    assert taken == 40
