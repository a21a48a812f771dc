import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import scalars

from tuning_operator.curves.marks import MarkValue
from tuning_operator.engine import events
from tuning_operator.engine.codec import decode, encode, from_line, from_lines, to_line
from tuning_operator.engine.decisions import Action, Decision
from tuning_operator.engine.events import EndReason, Event, MarkReached, Role, TrialEnded, TrialProposed
from tuning_operator.errors import LogError
from tuning_operator.schema import Mode

numbers = st.floats(allow_nan=True, allow_infinity=True)
counts = st.integers(0, 2**40)
texts = st.text(max_size=20)
number_maps = st.dictionaries(texts, numbers, max_size=3)
by_field: dict[str, st.SearchStrategy[Any]] = {
    "sequence": counts,
    "because": counts,
    "trial": counts,
    "attempt": counts,
    "candidate": st.none() | counts,
    "seed": counts,
    "compared": counts,
    "revision": counts,
    "role": st.sampled_from(Role),
    "mode": st.sampled_from(Mode),
    "action": st.sampled_from(Action),
    "audited": st.booleans(),
    "enforced": st.booleans(),
    "begin_decay": st.booleans(),
    "restore": st.booleans(),
    "parameters": st.dictionaries(
        texts, scalars | st.sampled_from(["NaN", "Infinity", math.nan, math.inf]), max_size=3
    ),
    "fixed": st.dictionaries(texts, texts, max_size=3),
    "numbers": number_maps,
    "inputs": number_maps,
    "at": st.builds(
        MarkValue,
        mark=st.integers(1, 50),
        value=numbers,
        best=numbers,
        mean=numbers,
        learning_rate=st.none() | numbers,
    ),
}
for name in ("rule", "alarm", "checkpoint", "message", "limit", "sentence"):
    by_field[name] = texts
kinds = [
    kind
    for kind in (*vars(events).values(), Decision)
    if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
]


@st.composite
def records(draw: st.DrawFn) -> Event:
    kind = draw(st.sampled_from(kinds))
    fields: dict[str, Any] = {}
    for name in kind.__dataclass_fields__:
        if name == "reason":
            fields[name] = draw(st.sampled_from(EndReason) if kind is TrialEnded else texts)
        elif name == "trial" and kind is Decision:
            fields[name] = draw(st.none() | counts)
        elif name == "value":
            fields[name] = draw(st.none() | numbers)
        else:
            fields[name] = draw(by_field.get(name, numbers))
    return kind(**fields)


@given(records())
def test_what_is_written_reads_back_as_it_was(record):
    line = to_line(record)
    again = from_line(line)
    assert type(again) is type(record)
    assert repr(again) == repr(record)
    assert to_line(again) == line


@given(records())
def test_fields_of_a_later_version_are_ignored(record):
    assert repr(decode({**encode(record), "added_later": {"deep": [1]}})) == repr(record)


def test_every_kind_of_record_is_covered():
    assert {kind.__name__ for kind in kinds} >= {"TrialProposed", "MarkReached", "Decision", "JobStarted"}


def test_numbers_that_json_cannot_say_are_words():
    at = MarkValue(mark=3, value=math.nan, best=math.inf, mean=-math.inf)
    line = to_line(MarkReached(sequence=40, time=1.5, trial=2, attempt=1, at=at))
    assert json.loads(line)["at"] == {
        "mark": 3,
        "value": "NaN",
        "best": "Infinity",
        "mean": "-Infinity",
        "learning_rate": None,
    }


def test_a_parameter_that_is_the_word_nan_stays_a_word():
    record = TrialProposed(sequence=40, time=0.0, trial=0, parameters={"mode": "NaN", "lr": math.nan}, seed=1)
    again = from_line(to_line(record))
    assert again.parameters["mode"] == "NaN"
    assert math.isnan(again.parameters["lr"])


MARK = encode(
    MarkReached(sequence=40, time=1.5, trial=2, attempt=1, at=MarkValue(mark=3, value=1.0, best=1.0, mean=1.0))
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "TrialPromoted"}, "'TrialPromoted'.*does not know"),
        ({"kind": None}, "None.*does not know"),
        ({"trial": "two"}, "record 40.*MarkReached.*trial.*whole number.*'two'"),
        ({"trial": True}, "trial.*whole number"),
        ({"time": "soon"}, "time.*expected a number.*'soon'"),
        ({"at": {"mark": 3}}, "at cannot be read"),
        ({"at": [3]}, "at cannot be read"),
    ],
)
def test_mistakes_name_record_and_field(change, words):
    with pytest.raises(LogError, match=words):
        decode({**MARK, **change})


def test_a_missing_field_is_named():
    with pytest.raises(LogError, match=r"record 40 .*the field attempt is missing"):
        decode({name: value for name, value in MARK.items() if name != "attempt"})


@pytest.mark.parametrize("line", ["", "{", "[1]", '"text"', b"\xff"])
def test_lines_that_are_no_records(line):
    with pytest.raises(LogError, match="line of the log"):
        from_line(line)


@given(st.lists(records(), max_size=5))
def test_many_lines_read_as_one_by_one(found):
    lines = [to_line(record).encode() for record in found] * 400
    again = from_lines(lines, source="log")
    assert [repr(record) for record in again] == [repr(record) for record in found] * 400


@pytest.mark.parametrize("line", [b"", b"{", b"[1]", b'"text"', b"\xff", b'{"kind":"Nobody"}', b"{},{}"])
@pytest.mark.parametrize("place", [0, 999, 1000, 1500])
def test_a_line_among_many_that_is_no_record_is_named(line, place):
    lines = [json.dumps(MARK).encode()] * 2000
    lines[place] = line
    with pytest.raises(LogError, match=rf"line {place + 1} of log: "):
        from_lines(lines, source="log")


def test_a_zero_keeps_its_sign():
    record = TrialEnded(
        sequence=40,
        time=0.0,
        trial=0,
        attempt=1,
        reason=EndReason.COMPLETED,
        value=-0.0,
        fraction=1.0,
        compute_seconds=0.0,
        gpu_seconds=-0.0,
    )
    assert repr(from_line(to_line(record))) == repr(record)
