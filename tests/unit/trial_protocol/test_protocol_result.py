"""The result always fits into a termination message, and what fits is read back exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trial_protocol.errors import ProtocolError
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
        "[" * 100_000,
    ],
)
def test_what_is_no_result_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="not a trial result"):
        TrialResult.from_json(text)
