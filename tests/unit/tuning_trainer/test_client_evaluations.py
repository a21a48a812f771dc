"""Whoever follows the cursor sees every evaluation, through restarts and steps that go back."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trial_protocol.errors import ProtocolError
from trial_protocol.history import HistoryRecord
from tuning_trainer import evaluations as module
from tuning_trainer.evaluations import Evaluations


def record(step: int, *, attempt: int = 1, time: float | None = None) -> HistoryRecord:
    return HistoryRecord(step=step, attempt=attempt, time=float(step if time is None else time), values={})


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 7), st.integers(-1, 50))
def test_pages_put_together_are_the_whole(steps: list[int], limit: int, after: int) -> None:
    evaluations = Evaluations(life=1)
    for time, step in enumerate(steps):
        evaluations.append(record(step, time=time))
    found: list[HistoryRecord] = []
    cursor = ""
    while True:
        page = evaluations.page(after=after, cursor=cursor, limit=limit)
        found += page.records
        cursor = page.cursor
        if not page.records:
            break
        assert len(page.records) <= limit
    assert [item.step for item in found] == [step for step in steps if step > after]
    assert found == [item for item in evaluations.all() if item.step > after]


def test_a_cursor_sees_the_steps_that_are_trained_again() -> None:
    evaluations = Evaluations(life=1)
    for step in (10, 20, 30):
        evaluations.append(record(step))
    cursor = evaluations.page().cursor
    evaluations.append(record(20, time=99.0))
    assert [item.time for item in evaluations.page(cursor=cursor).records] == [99.0]


def test_the_cursor_of_an_earlier_process_starts_over() -> None:
    first, second = Evaluations(life=1), Evaluations(life=2)
    for step in range(5):
        first.append(record(step))
    second.append(record(2, attempt=2))
    assert [item.attempt for item in second.page(cursor=first.page().cursor).records] == [2]


def test_restored_records_come_first_once_and_restart_cursors() -> None:
    evaluations = Evaluations(life=1)
    evaluations.append(record(3, attempt=2))
    cursor = evaluations.page().cursor
    earlier = [record(1), record(2)]
    evaluations.restore(earlier)
    evaluations.restore(earlier)
    assert [item.step for item in evaluations.all()] == [1, 2, 3]
    assert [item.step for item in evaluations.page(cursor=cursor).records] == [1, 2, 3]


def test_memory_is_bounded_and_cursors_survive_it() -> None:
    evaluations = Evaluations(life=1)
    with patch.object(module, "MAX_RECORDS", 20):
        for step in range(15):
            evaluations.append(record(step))
        cursor = evaluations.page().cursor
        for step in range(15, 30):
            evaluations.append(record(step))
    assert len(evaluations.all()) <= 20
    assert [item.step for item in evaluations.page(cursor=cursor).records] == list(range(15, 30))


@pytest.mark.parametrize("cursor", ["x", "1", "1.", ".1", "1.x", "-1.0", "1.-1", "9" * 100 + ".1", "1." + "9" * 100])
def test_an_invented_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(ProtocolError, match="cursor"):
        Evaluations(life=1).page(cursor=cursor)
