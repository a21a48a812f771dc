"""The history that a trial serves is read back exactly, and anything else is refused with a sentence."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trial_protocol.errors import ProtocolError
from trial_protocol.history import HistoryRecord, parse_history, render_history

STEPS = st.integers(min_value=0, max_value=2**53)
RECORDS = st.builds(
    HistoryRecord,
    step=STEPS,
    attempt=st.integers(min_value=1, max_value=1000),
    time=st.floats(min_value=0, max_value=1e12),
    values=st.dictionaries(st.text(max_size=20), st.floats(allow_nan=False), max_size=5),
    learning_rate=st.none() | st.floats(allow_nan=False),
    revision=STEPS,
)


@given(st.lists(RECORDS, max_size=5))
def test_a_history_is_read_back_exactly(records: list[HistoryRecord]) -> None:
    assert parse_history(render_history(records)) == records


def test_nan_survives() -> None:
    record = HistoryRecord(step=1, attempt=1, time=2.0, values={"eval_loss": math.nan}, learning_rate=math.inf)
    (read,) = parse_history(record.to_json())
    assert math.isnan(read.values["eval_loss"])
    assert read.learning_rate == math.inf


def test_line_separators_of_unicode_do_not_end_a_record() -> None:
    line = '{"step": 1, "values": {"loss\u2028\x85": 1.0}}'
    assert parse_history(line + "\n\n")[0].values == {"loss\u2028\x85": 1.0}


@pytest.mark.parametrize(
    "line",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"step": 1}',
        '{"step": "one", "values": {}}',
        '{"step": 1e999, "values": {}}',
        '{"step": 1, "values": []}',
        '{"step": 1, "values": {"loss": "much"}}',
        '{"step": 1, "values": {"loss": true}}',
        '{"step": 1, "values": {"loss": 0.5}',
        b"\xff",
        "[" * 100_000,
    ],
)
def test_what_is_no_record_is_refused(line: str | bytes) -> None:
    with pytest.raises(ProtocolError, match="not a history record"):
        HistoryRecord.from_json(line)


def test_a_cut_off_last_line_is_an_error() -> None:
    body = HistoryRecord(step=1, attempt=1, time=2.0, values={"eval_loss": 0.5}).to_json()
    with pytest.raises(ProtocolError):
        parse_history(body + "\n" + body[:-3])
