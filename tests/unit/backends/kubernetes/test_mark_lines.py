from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tuning_operator.api.record import MarkLine
from tuning_operator.backends.kubernetes.mark_lines import read_mark, write_mark
from tuning_operator.curves.marks import MARKS, MarkValue
from tuning_operator.engine.events import MarkReached

LINES: TypeAdapter[str] = TypeAdapter(MarkLine)
LOSSES = st.floats()


def reached(mark: int = 7, value: float = 0.1 + 0.2, rate: float | None = 0.001) -> MarkReached:
    at = MarkValue(mark=mark, value=value, best=0.25, mean=1.0, learning_rate=rate)
    return MarkReached(sequence=345, time=1763751234.125, trial=3, attempt=2, at=at)


@given(mark=st.integers(1, MARKS), value=LOSSES, best=LOSSES, mean=LOSSES, rate=st.none() | st.floats())
def test_a_line_reads_back_as_the_very_same_mark(
    mark: int, value: float, best: float, mean: float, rate: float | None
) -> None:
    at = MarkValue(mark=mark, value=value, best=best, mean=mean, learning_rate=rate)
    written = MarkReached(sequence=10**12, time=1763751234.123456, trial=3, attempt=9999, at=at)
    line = LINES.validate_python(write_mark(written))
    assert repr(read_mark(line, trial=3)) == repr(written)


def test_columns_are_those_that_are_documented() -> None:
    assert write_mark(reached()) == "7 0.30000000000000004 0.25 1.0 0.001 2 345 1763751234.125"
    assert write_mark(reached(value=math.nan, rate=None)) == "7 NaN 0.25 1.0 - 2 345 1763751234.125"


def test_the_longest_line_has_room() -> None:
    longest = -2.2250738585072014e-308
    at = MarkValue(mark=MARKS, value=longest, best=longest, mean=longest, learning_rate=longest)
    line = write_mark(MarkReached(sequence=10**15, time=longest, trial=0, attempt=10**6, at=at))
    LINES.validate_python(line)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "7 0.3 0.25 1.0 0.001 2 345",
        "7 0.3 0.25 1.0 0.001 2 345 1.0 1.0",
        "0 0.3 0.25 1.0 0.001 2 345 1.0",
        "7  0.3 0.25 1.0 0.001 2 345 1.0",
        "7 - 0.25 1.0 0.001 2 345 1.0",
        "7 0.3 0.25 nil 0.001 2 345 1.0",
        "7 0.3 0.25 1.0 0.001 -2 345 1.0",
        "7 0.3 0.25 1.0 0.001 2 345 1.0\n",
    ],
)
def test_what_is_no_mark_is_refused(line: str) -> None:
    with pytest.raises(ValidationError):
        LINES.validate_python(line)
