"""Loss windows: every scraper sees every loss exactly once, however the others look."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_trainer.window import MAX_WINDOWS, LossWindow, LossWindows

ACTIONS = st.lists(st.floats(-1e100, 1e100) | st.sampled_from(["a", "b", "c"]), max_size=60)


@given(ACTIONS)
def test_every_scraper_sees_every_loss_once(actions: list[float | str]) -> None:
    windows = LossWindows()
    waiting: dict[str, list[float]] = {"a": [], "b": [], "c": []}
    for action in actions:
        if isinstance(action, float):
            windows.segment.add(action)
            for losses in waiting.values():
                losses.append(action)
        else:
            window, expected = windows.take(action), waiting[action]
            waiting[action] = []
            assert window.count == len(expected)
            if expected:
                assert (window.minimum, window.maximum) == (min(expected), max(expected))
                assert window.minimum <= window.mean <= window.maximum
                scale = max(map(abs, expected))
                assert window.mean == pytest.approx(math.fsum(expected) / len(expected), abs=1e-9 * scale)
            else:
                assert math.isnan(window.mean)


def test_scrapers_beyond_the_limit_do_not_take_memory_and_the_regular_one_keeps_its_window() -> None:
    windows = LossWindows()
    windows.take("operator")
    for number in range(10 * MAX_WINDOWS):
        windows.segment.add(1.0)
        windows.take(f"stranger-{number}")
        assert windows.take("operator").count == 1
    assert len(windows._windows) == MAX_WINDOWS


def test_step_time_is_the_mean_over_the_window() -> None:
    assert LossWindow().step_seconds is None
    assert LossWindow(steps=4, seconds=2.0).step_seconds == 0.5
