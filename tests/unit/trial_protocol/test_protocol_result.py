"""The result always fits into a termination message, and what fits is read back exactly."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trial_protocol.errors import ProtocolError
from trial_protocol.history import HistoryRecord
from trial_protocol.result import MAX_RESULT_BYTES, Outcome, TrialResult

ANY_TEXT = st.text(alphabet=st.characters(), max_size=8)


@given(
    st.builds(
        TrialResult,
        outcome=st.sampled_from(Outcome),
        step=st.integers(0, 2**53),
        attempt=st.integers(1, 100),
        values=st.dictionaries(ANY_TEXT, st.floats(allow_nan=False), max_size=5),
        checkpoint=ANY_TEXT,
        message=ANY_TEXT,
        revision=st.integers(0, 2**53),
    )
)
def test_a_result_that_fits_is_read_back_exactly(result: TrialResult) -> None:
    assert TrialResult.from_json(result.to_json()) == result


@given(piece=st.text(alphabet=st.characters(exclude_categories=()), min_size=1, max_size=5), times=st.integers(1, 4000))
def test_a_message_of_any_characters_is_cut_to_what_fits(piece: str, times: int) -> None:
    message = piece * times
    result = TrialResult(outcome=Outcome.FAILED, step=7, values={"eval_loss": 0.5}, checkpoint="a/b", message=message)
    text = result.to_json()
    assert len(text.encode()) <= MAX_RESULT_BYTES
    read = TrialResult.from_json(text)
    assert (read.outcome, read.step, read.values, read.checkpoint) == (Outcome.FAILED, 7, {"eval_loss": 0.5}, "a/b")
    assert message.startswith(read.message)
    if read.message != message:
        assert len(text) > MAX_RESULT_BYTES - 12, "more was cut than must be"


def evaluation(number: int, **values: float) -> HistoryRecord:
    return HistoryRecord(
        step=10 * number,
        attempt=1,
        time=1_800_000_000.123456 + number,
        values={"train_step": 10.0 * number, "eval_loss": 1 / (number + 1), **values},
        learning_rate=None if number % 2 else 1e-3 / 7,
        revision=number % 3,
    )


def test_a_curve_of_ordinary_length_comes_whole_and_exactly() -> None:
    history = (*map(evaluation, range(50)), evaluation(50, eval_loss=math.inf))
    result = TrialResult(outcome=Outcome.COMPLETED, step=500, values={"eval_loss": 0.5}, history=history)
    assert TrialResult.from_json(result.to_json()) == result


@pytest.mark.parametrize("more", [{}, {"accuracy": 1 / 3}, {"accuracy": 1 / 3, "f1": 2 / 3, "perplexity": 4 / 3}])
def test_of_a_long_curve_the_newest_evaluations_have_room(more: dict[str, float]) -> None:
    history = tuple(evaluation(number, **more) for number in range(1000))
    result = TrialResult(outcome=Outcome.COMPLETED, values={"eval_loss": 0.5}, message="m" * 100, history=history)
    text = result.to_json()
    assert MAX_RESULT_BYTES - 200 < len(text) <= MAX_RESULT_BYTES
    read = TrialResult.from_json(text)
    assert read.history == history[-len(read.history) :]
    assert len(read.history) >= (45 if not more else 20)
    assert (read.message, read.values) == (result.message, result.values)


def test_a_message_comes_before_evaluations() -> None:
    result = TrialResult(outcome=Outcome.FAILED, message="m" * 5000, history=(evaluation(1),))
    read = TrialResult.from_json(result.to_json())
    assert read.history == ()
    assert len(read.message) > 3900


def test_values_give_way_before_the_outcome_is_lost() -> None:
    values = {f"metric_{number:04d}": float(number) for number in range(1000)}
    text = TrialResult(outcome=Outcome.COMPLETED, values=values, checkpoint="a", message="m" * 100).to_json()
    assert len(text) <= MAX_RESULT_BYTES
    read = TrialResult.from_json(text)
    assert read.checkpoint == "a"
    assert list(read.values) == list(values)[: len(read.values)]
    assert len(read.values) > 100


def test_a_checkpoint_that_cannot_fit_is_refused() -> None:
    with pytest.raises(ProtocolError, match="checkpoint"):
        TrialResult(outcome=Outcome.COMPLETED, checkpoint="c" * 5000).to_json()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "killed",
        "[]",
        "{}",
        '{"outcome": "Great"}',
        '{"outcome": "Completed", "step": 1e999}',
        '{"outcome": "Completed", "values": 3}',
        '{"outcome": "Completed", "history": {"columns": ["eval_loss"], "rows": [[1, 1, 2.0, null, 0]]}}',
        '{"outcome": "Completed", "history": {"rows": [[1]]}}',
        "[" * 100_000,
    ],
)
def test_what_is_no_result_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="not a trial result"):
        TrialResult.from_json(text)
