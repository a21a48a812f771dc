from __future__ import annotations

import math
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.curves import TOTAL, broken_losses, curve_of, losses, marks_of, observation, quickly, record

from tuning_operator.curves.curve import Curve
from tuning_operator.curves.marks import MARKS, Observation
from tuning_operator.curves.recorder import MarkRecorder

STEP = TOTAL / MARKS


@st.composite
def streams(draw: st.DrawFn, values: st.SearchStrategy[float] = broken_losses) -> list[Observation]:
    """Evaluations of one attempt at rising positions: some on marks, some between, some beyond the end."""
    gaps = draw(st.lists(st.floats(0.01, 3 * STEP) | st.sampled_from([STEP, STEP / 2]), max_size=60))
    start = draw(st.sampled_from([0.0, 0.3, STEP]))
    rates = st.none() | st.floats(1e-6, 1.0)
    return [observation(start + position, draw(values), learning_rate=draw(rates)) for position in accumulate(gaps)]


def test_a_value_between_two_evaluations_lies_on_the_straight_line() -> None:
    curve = record([observation(STEP * 0.5, 4.0), observation(STEP * 2.5, 2.0)])
    assert [(mark.mark, mark.value) for mark in curve] == [(1, 3.5), (2, 2.5)]


def test_nothing_is_recorded_before_the_first_evaluation_or_beyond_the_newest() -> None:
    curve = record([observation(STEP * 3.5, 4.0), observation(STEP * 5.9, 2.0)])
    assert curve.marks() == (4, 5)


def test_an_evaluation_on_a_mark_is_the_value_of_the_mark() -> None:
    curve = record([observation(STEP * 2, 4.0, learning_rate=0.1), observation(STEP * 3, 2.0, learning_rate=0.2)])
    assert [(mark.mark, mark.value, mark.learning_rate) for mark in curve] == [(2, 4.0, 0.1), (3, 2.0, 0.2)]


def test_best_counts_evaluations_between_marks_and_mean_counts_marks() -> None:
    curve = record([observation(STEP, 4.0), observation(STEP * 1.5, 1.0), observation(STEP * 2, 3.0)])
    assert [(mark.best, mark.mean) for mark in curve] == [(4.0, 4.0), (1.0, 3.5)]


def test_an_evaluation_after_the_mark_does_not_count_for_it() -> None:
    first, second = record([observation(STEP, 4.0), observation(STEP * 2.5, 1.0)])
    assert first.best == 4.0
    assert second.value == second.best == pytest.approx(2.0)


def test_the_learning_rate_of_a_mark_is_the_one_reported_before_it() -> None:
    curve = record([observation(STEP * 0.5, 1.0, learning_rate=0.1), observation(STEP * 1.5, 1.0, learning_rate=0.2)])
    assert curve.learning_rate == 0.1


@pytest.mark.parametrize("position", [TOTAL, TOTAL + 1, TOTAL * 3])
def test_the_end_of_the_schedule_is_the_last_mark(position: float) -> None:
    alone = record([observation(position, 2.0), observation(position + 1, 9.0)])
    assert [(mark.mark, mark.value) for mark in alone] == [(MARKS, 2.0)]
    after = record([observation(TOTAL - STEP, 3.0), observation(position, 2.0)])
    assert [(mark.mark, mark.value) for mark in after] == [(MARKS - 1, 3.0), (MARKS, 2.0)]


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_broken_value_is_recorded_as_it_is_and_counts_as_infinitely_bad(broken: float) -> None:
    curve = curve_of([3.0, broken, 2.0])
    assert repr(curve.value_at(2)) == repr(broken)
    assert [mark.best for mark in curve] == [3.0, 3.0, 2.0]
    assert [mark.mean for mark in curve] == [3.0, math.inf, math.inf]


def test_a_broken_value_holds_until_a_sound_one() -> None:
    curve = record([observation(STEP * 0.5, 1.0), observation(STEP * 1.5, math.nan), observation(STEP * 3, 2.0)])
    assert curve.value_at(1) == 1.0
    assert math.isnan(curve.value_at(2))
    assert curve.value_at(3) == 2.0


@pytest.mark.parametrize("position", [math.nan, math.inf, -math.inf])
def test_a_position_that_is_no_number_is_ignored(position: float) -> None:
    sound = [observation(STEP, 1.0), observation(STEP * 2, 2.0)]
    assert marks_of(record([sound[0], observation(position, 5.0), sound[1]])) == marks_of(record(sound))


def test_going_back_within_an_attempt_changes_nothing() -> None:
    curve = record([observation(STEP * step, step) for step in (1, 2, 3, 1, 2, 3, 4)])
    assert [(mark.mark, mark.value) for mark in curve] == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]


def test_a_new_attempt_replaces_what_lies_behind_its_first_evaluation() -> None:
    first = [observation(STEP * step, 5.0) for step in range(1, 6)]
    again = [observation(STEP * step, 1.0, attempt=2) for step in (2.5, 3.5)]
    curve = record([*first, *again])
    assert [(mark.mark, mark.value) for mark in curve] == [(1, 5.0), (2, 5.0), (3, 1.0)]
    assert curve.best == 1.0
    assert curve.mean == pytest.approx(11 / 3)
    assert curve.attempt == 2


def test_a_new_attempt_from_the_beginning_forgets_everything() -> None:
    first = [observation(STEP * step, 1.0) for step in range(1, 6)]
    again = [observation(STEP * step, 7.0, attempt=2) for step in (0.5, 1)]
    curve = record([*first, *again])
    assert [(mark.mark, mark.value, mark.best, mark.mean) for mark in curve] == [(1, 7.0, 7.0, 7.0)]


def test_a_new_attempt_that_goes_on_later_goes_on() -> None:
    curve = record([observation(STEP, 4.0), observation(STEP * 3, 2.0, attempt=2)])
    assert [(mark.mark, mark.value) for mark in curve] == [(1, 4.0), (2, 3.0), (3, 2.0)]


def test_a_late_word_of_an_older_attempt_is_ignored() -> None:
    curve = record(
        [observation(STEP, 4.0, attempt=2), observation(STEP * 2, 0.0), observation(STEP * 2, 3.0, attempt=2)]
    )
    assert [(mark.mark, mark.value) for mark in curve] == [(1, 4.0), (2, 3.0)]


@quickly
@given(stream=streams())
def test_marks_rise_without_a_gap_and_best_never_rises(stream: list[Observation]) -> None:
    curve = record(stream)
    marks = curve.marks()
    assert list(marks) == list(range(marks[0], marks[-1] + 1)) if marks else True
    bests = [mark.best for mark in curve]
    assert bests == sorted(bests, reverse=True)
    assert all((mark.best <= mark.mean and not mark.value < mark.best) or mark.value == -math.inf for mark in curve)
    if stream:
        assert curve.fraction <= min(stream[-1].position / TOTAL + 1e-9, 1)


@quickly
@given(stream=streams(losses))
def test_a_mean_is_the_mean_of_the_values(stream: list[Observation]) -> None:
    curve = record(stream)
    values = [mark.value for mark in curve]
    for index, mark in enumerate(curve):
        assert mark.mean == pytest.approx(math.fsum(values[: index + 1]) / (index + 1), abs=1e-6)


@quickly
@given(stream=streams(), data=st.data())
def test_hearing_something_again_changes_nothing(stream: list[Observation], data: st.DataObject) -> None:
    """Each look may bring any part of the history once more."""
    looks = [stream[data.draw(st.integers(0, index)) : index + 1] for index in range(len(stream))]
    heard = [seen for look in looks for seen in (*look, look[-1])]
    assert marks_of(record(heard)) == marks_of(record(stream))


@quickly
@given(stream=streams(), data=st.data())
def test_a_recorder_made_anew_says_what_an_undisturbed_one_says(stream: list[Observation], data: st.DataObject) -> None:
    """Killed after any recorded mark, even between two marks of one evaluation, and given the whole history again."""
    whole = record(stream)
    kept = data.draw(st.integers(0, len(whole)))
    begun = Curve()
    for mark in list(whole)[:kept]:
        begun.append(mark, attempt=1)
    assert marks_of(record(stream, curve=begun)) == marks_of(whole)


@quickly
@given(stream=streams(losses), data=st.data())
def test_a_recorder_made_anew_without_the_history_joins_its_newest_mark_to_the_next_evaluation(
    stream: list[Observation], data: st.DataObject
) -> None:
    whole = record(stream)
    cut = data.draw(st.integers(0, len(stream)))
    resumed = record(stream[cut:], curve=record(stream[:cut]))
    if cut and len(record(stream[:cut])):
        assert resumed.marks() == whole.marks()
    settled = [seen.position / STEP for seen in stream[cut:]]
    for mark in resumed:
        if settled and mark.mark > settled[0]:
            assert mark.value == pytest.approx(whole.value_at(mark.mark), abs=1e-6)


def test_rounding_at_a_mark_does_not_set_a_recorder_back() -> None:
    """An evaluation a hair before a mark counts as the mark, for a recorder made anew as for an undisturbed one."""
    near = observation(STEP * 3 * (1 - 1e-12), 4.0)
    assert near.position < STEP * 3
    after = observation(STEP * 3 + 7.3, 1.7)
    undisturbed = record([observation(STEP, 5.0), near, after, observation(STEP * 5, 0.1)])
    anew = record([near, after, observation(STEP * 5, 0.1)], curve=record([observation(STEP, 5.0), near]))
    assert undisturbed.value_at(3) == 4.0
    assert marks_of(anew) == marks_of(undisturbed)
    again = observation(STEP * 3, 9.0)
    assert marks_of(record([near, again])) == marks_of(record([near]))
    assert record([near, again, observation(STEP * 4, 2.0)]).best == 2.0
    assert record([near, observation(STEP * 3, 0.5), observation(STEP * 4, 2.0)]).best == 2.0


def test_a_recorder_says_each_mark_once() -> None:
    curve = Curve()
    recorder = MarkRecorder(total=TOTAL, curve=curve)
    said = []
    for step in range(1, 201):
        for mark in recorder.add(observation(step * 5.0, 1.0)):
            said.append(mark.mark)
            curve.append(mark, attempt=1)
    assert said == list(range(1, MARKS + 1))
