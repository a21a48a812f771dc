"""One picture is consistent, whatever is written meanwhile."""

from __future__ import annotations

import math
import sys
import threading

from trial_protocol.history import HistoryRecord
from tuning_trainer.state import Evaluated, TrialState


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def step(state: TrialState, number: int, loss: float) -> None:
    state.record_step(number, loss, None, None, None, None)


def test_a_value_never_comes_with_the_step_of_another() -> None:
    state = TrialState(monotonic=Clock())
    stop = threading.Event()

    def train() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            state.record_step(number, float(number), float(number), float(number), float(number), float(number))
            values = {"a": float(number), "b": float(-number)}
            state.report(step=number, time=-number, counters={}, values=values, learning_rate=None)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=train)]
    try:
        for thread in threads:
            thread.start()
        for look in range(3000):
            picture = state.snapshot(scraper=str(look % 3))
            if "a" not in picture.values:
                continue
            newest, at = picture.values["a"], picture.values["a"].step
            assert newest.value == at == -picture.values["b"].value
            assert (newest.time, newest.learning_rate, newest.beside["train_step"]) == (-at, at, at)
            now = picture.counters["train_step"]
            assert now in (at, at + 1)
            assert picture.gradient_norm == picture.learning_rate == picture.counters["train_tokens"] == now
            assert picture.window is not None
            if picture.window.count:
                assert picture.window.maximum == now
                assert picture.window.mean == (picture.window.minimum + picture.window.maximum) / 2
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        for thread in threads:
            thread.join()


def test_no_nan_is_lost_and_none_spoils_the_mean() -> None:
    state = TrialState(monotonic=Clock())
    for number, loss in enumerate([1.0, math.nan, 3.0, math.inf, -math.inf]):
        step(state, number, loss)
        state.snapshot(scraper="another")
    picture = state.snapshot(scraper="operator")
    assert picture.nonfinite == 3
    assert picture.window is not None
    assert (picture.window.count, picture.window.mean) == (2, 2.0)
    assert state.snapshot(scraper="operator").nonfinite == 3


def test_evaluations_are_not_counted_as_step_time() -> None:
    clock = Clock()
    state = TrialState(monotonic=clock)
    for number in (1, 2, 3):
        step(state, number, 0.5)
        clock.now += 0.25
    clock.now += 100.0
    state.report(step=3, time=0.0, counters={}, values={"eval_loss": 0.5}, learning_rate=None)
    for number in (4, 6):
        step(state, number, 0.5)
        clock.now += 0.5
    picture = state.snapshot(scraper="operator")
    assert picture.window is not None
    assert picture.window.step_seconds == (0.25 + 0.25 + 0.5) / 4


def test_going_back_to_a_checkpoint_is_no_negative_step_time() -> None:
    clock = Clock()
    state = TrialState(monotonic=clock)
    for number in (10, 5, 6):
        step(state, number, 0.5)
        clock.now += 1.0
    picture = state.snapshot(scraper="operator")
    assert picture.counters["train_step"] == 6
    assert picture.window is not None
    assert picture.window.step_seconds == 1.0


def test_a_restarted_trial_continues_its_clock_and_shows_its_last_evaluation() -> None:
    clock = Clock()
    state = TrialState(monotonic=clock)
    values = {"train_step": 40.0, "train_seconds": 60.0, "train_tokens": 4000.0, "eval_loss": 0.5}
    last = HistoryRecord(step=40, attempt=1, time=1.0, values=values, learning_rate=0.1)
    state.restore(last)
    picture = state.snapshot(scraper=None)
    assert picture.counters == {"train_step": 40, "train_seconds": 60.0, "train_tokens": 4000.0}
    assert picture.values == {"eval_loss": Evaluated(value=0.5, step=40, time=1.0, beside=values, learning_rate=0.1)}
    clock.now += 5.0
    step(state, 41, 0.4)
    assert state.snapshot(scraper=None).counters["train_seconds"] == 65.0


def test_a_look_without_a_scraper_ends_no_window() -> None:
    state = TrialState(monotonic=Clock())
    step(state, 1, 0.5)
    assert state.snapshot(scraper=None).window is None
    window = state.snapshot(scraper="operator").window
    assert window is not None
    assert window.count == 1
