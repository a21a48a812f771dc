from __future__ import annotations

import math
import random
from collections.abc import Iterable

import pytest
from tests.curves import TOTAL, curve_of, pulse

from tuning_operator.curves.alarm import EXPLOSION, NON_FINITE, Alarm
from tuning_operator.curves.study import StudyCurves
from tuning_operator.stopping.base import Monitor
from tuning_operator.stopping.divergence import Divergence, DivergenceSettings


def monitor(**settings: float) -> Monitor:
    return Divergence(DivergenceSettings.model_validate(settings)).monitor(total=TOTAL)


def watch(losses: Iterable[float], *, begin: float = 100.0, by: Monitor | None = None) -> list[tuple[int, Alarm]]:
    """Look at these mean losses one after the other; return the alarms with the number of the look."""
    by = by or monitor()
    seen = ((index, by.observe(pulse(begin + index, loss))) for index, loss in enumerate(losses))
    return [(index, alarm) for index, alarm in seen if alarm is not None]


def falling(count: int, *, noise: float = 0.05, seed: int = 0) -> list[float]:
    """A sound training loss: a power law with noise."""
    draws = random.Random(seed)
    return [5 * (index + 1) ** -0.5 * math.exp(draws.gauss(0, noise)) for index in range(count)]


def test_a_look_of_broken_losses_only_raises_at_once() -> None:
    alarm = monitor().observe(pulse(1.0, math.nan, count=0, nonfinite=10))
    assert alarm == Alarm(kind=NON_FINITE, position=1.0, numbers={"nonfinite": 10.0, "finite": 0.0})


def test_one_broken_loss_among_sound_ones_is_forgiven_and_two_looks_in_a_row_are_not() -> None:
    watcher = monitor()
    looks = [1, 0, 1, 0, 2, 1]
    alarms = [watcher.observe(pulse(index, 1.0, count=9, nonfinite=bad)) for index, bad in enumerate(looks)]
    assert [alarm is not None for alarm in alarms] == [False] * 5 + [True]


def test_a_gap_does_not_part_two_broken_looks_nor_make_one() -> None:
    watcher = monitor()
    looks = [(9, 1), (0, 0), (0, 0), (9, 1)]
    alarms = [watcher.observe(pulse(1.0, 1.0, count=count, nonfinite=bad)) for count, bad in looks]
    assert [alarm is not None for alarm in alarms] == [False, False, False, True]


def test_broken_losses_count_inside_warm_up() -> None:
    assert monitor(after=0.5).observe(pulse(0.0, math.nan, count=0, nonfinite=1)) is not None


def test_a_loss_that_explodes_raises_after_as_many_looks_as_patience_says() -> None:
    sound = falling(40)
    for patience in (1, 3, 6):
        (raised,) = watch([*sound, *[50.0] * 10], by=monitor(patience=patience))
        assert raised[0] == 40 + patience - 1
        assert raised[1].kind == EXPLOSION
        numbers = raised[1].numbers
        assert numbers["least"] < numbers["allowed"] < numbers["loss"]
        assert numbers["looks"] == patience


def test_a_spike_that_passes_is_no_explosion() -> None:
    sound = falling(80)
    assert watch([*sound[:40], 50.0, *sound[40:]]) == []


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("noise", [0.01, 0.1, 0.3])
def test_a_sound_noisy_loss_raises_nothing(seed: int, noise: float) -> None:
    assert watch(falling(400, noise=noise, seed=seed)) == []


def test_a_slow_divergence_is_seen() -> None:
    rising = [0.5 * 1.05**index for index in range(150)]
    assert [alarm.kind for _, alarm in watch([*falling(100), *rising])] == [EXPLOSION]


def test_a_loss_near_zero_may_triple() -> None:
    """From 2.0 to 0.001 by overfitting, and flat there; at 0.003 almost nothing of what was learned is lost."""
    sound = [*(2.0 * 0.9**index for index in range(72)), *[0.001] * 150]
    assert watch([*sound, *[0.003] * 20]) == []
    assert [alarm.kind for _, alarm in watch([*sound, *[0.5] * 20])] == [EXPLOSION]


def test_noise_of_the_study_itself_widens_what_is_allowed() -> None:
    draws = random.Random(1)
    wild = [math.exp(draws.gauss(0, 0.6)) for _ in range(100)]
    assert watch([*wild, *[2.6] * 10], by=monitor(sigma=6)) == []
    assert watch([*wild, *[2.6] * 10], by=monitor(sigma=0.1)) != []


def test_an_explosion_is_not_looked_for_inside_warm_up() -> None:
    assert watch([1.0] * 5 + [100.0] * 4, begin=0.0, by=monitor(after=0.02)) == []
    assert watch([1.0] * 5 + [100.0] * 4, begin=20.0, by=monitor(after=0.02)) != []


@pytest.mark.parametrize("level", [0.0, -2.0])
def test_a_loss_that_may_reach_zero_or_below_has_no_explosion(level: float) -> None:
    watcher = monitor()
    assert watch([1.0, level, 1e-9, *[5.0] * 10], by=watcher) == []
    watcher.reset()
    assert watch([1e-9, *[5.0] * 10], begin=200.0, by=watcher) == []


def test_it_raises_once_and_again_after_a_reset() -> None:
    watcher = monitor()
    explosion = [*falling(40), *[50.0] * 20]
    assert len(watch(explosion, by=watcher)) == 1
    assert watch([50.0] * 20, by=watcher) == []
    watcher.reset()
    assert watch([50.0] * 20, begin=300.0, by=watcher) == [], "the level before the reset is forgotten"
    assert len(watch([1000.0] * 20, begin=400.0, by=watcher)) == 1


def test_two_broken_marks_in_a_row_stop_a_trial_that_reports_no_training_loss() -> None:
    rule = Divergence(DivergenceSettings())
    assert rule.judge(curve_of([1.0, math.nan]), StudyCurves()) is None
    assert rule.judge(curve_of([math.nan, 1.0]), StudyCurves()) is None
    verdict = rule.judge(curve_of([1.0, math.inf, math.nan]), StudyCurves())
    assert verdict is not None
    assert verdict.reason == "NonFinite"
    assert verdict.tell()[0] == "its objective is nan after 6% and was inf at the mark before"


@pytest.mark.parametrize(("kind", "reason"), [(NON_FINITE, "NonFinite"), (EXPLOSION, "StoppedEarly")])
def test_an_alarm_becomes_a_stop_with_its_numbers(kind: str, reason: str) -> None:
    alarm = Alarm(kind=kind, position=5.0, numbers={"loss": 12.5})
    verdict = Divergence(DivergenceSettings()).judge_alarm(alarm, curve_of([1.0]))
    assert verdict is not None
    assert verdict.reason == reason
    assert verdict.inputs == {"loss": 12.5}
    assert "loss 12.5" in verdict.tell()[0]
