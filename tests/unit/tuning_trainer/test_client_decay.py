"""The final decay in a loop that only multiplies by `learning_rate_scale`."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.tuning_trainer.clients import NAME, put, scrape, serving, token

from trial_protocol.control import ControlMessage


def test_a_decay_falls_from_where_it_began_to_nothing_at_the_end(tmp_path: Path) -> None:
    with serving(tmp_path, total=100) as trial:
        trial.record_step(step=60, loss=1.0)
        put(trial, token(1, 0.5, begin_decay=True))
        assert trial.learning_rate_scale == 1.0
        trial.poll(step=60)
        assert trial.learning_rate_scale == 0.5
        trial.record_step(step=80, loss=1.0)
        assert trial.learning_rate_scale == pytest.approx(0.25)
        trial.record_step(step=100, loss=1.0)
        assert trial.learning_rate_scale == 0.0
        trial.record_step(step=120, loss=1.0)
        assert trial.learning_rate_scale == 0.0


def test_the_gauge_shows_what_the_operator_set_and_not_the_decay(tmp_path: Path) -> None:
    with serving(tmp_path, total=100) as trial:
        put(trial, token(1, 0.5, begin_decay=True))
        trial.poll(step=0)
        trial.record_step(step=50, loss=1.0)
        assert scrape(trial)["tuning_learning_rate_scale"] == 0.5


def test_a_later_change_of_the_scale_keeps_the_decay_that_it_repeats(tmp_path: Path) -> None:
    with serving(tmp_path, total=100) as trial:
        put(trial, token(1, 1.0, begin_decay=True))
        trial.poll(step=0)
        trial.record_step(step=50, loss=1.0)
        put(trial, token(2, 0.5, begin_decay=True))
        trial.poll(step=50)
        assert trial.learning_rate_scale == pytest.approx(0.25)
        put(trial, token(3, 0.5))
        trial.poll(step=50)
        assert trial.learning_rate_scale == 0.5


def test_without_a_planned_length_there_is_no_end_to_decay_to(tmp_path: Path) -> None:
    with serving(tmp_path) as trial:
        put(trial, token(1, 0.5, begin_decay=True))
        trial.poll(step=0)
        trial.record_step(step=50, loss=1.0)
        assert trial.learning_rate_scale == 0.5


def test_a_restored_message_begins_its_decay_where_the_training_goes_on(tmp_path: Path) -> None:
    with serving(tmp_path, total=100) as trial:
        trial.record_step(step=90, loss=1.0)
        trial.restore_control(ControlMessage(trial=NAME, revision=1, begin_decay=True))
        assert trial.learning_rate_scale == 1.0
        trial.record_step(step=95, loss=1.0)
        assert trial.learning_rate_scale == pytest.approx(0.5)
