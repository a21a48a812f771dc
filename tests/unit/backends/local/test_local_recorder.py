"""Recorded before it is acted on, and nothing after a stop."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.local.jobs import manifest

from tuning_operator.api.parse import parse_manifest
from tuning_operator.backends.local.event_log import EventLog, read_log
from tuning_operator.backends.local.recorder import Recorder
from tuning_operator.curves.marks import Observation
from tuning_operator.engine.decisions import Decision
from tuning_operator.engine.engine import Engine
from tuning_operator.engine.events import AttemptStarted, EndReason, LimitReached, MarkReached, TrialEnded

SPEC = parse_manifest(
    manifest(
        ["x"],
        steps=50,
        stopping=[{"rule": "Percentile", "after": 0.2, "minimumTrials": 1}],
        budget={"trials": 2, "parallel": 1, "duration": "1h"},
    )
).spec


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    log = EventLog(tmp_path / "events.jsonl")
    yield log
    log.close()


def curve(*points: tuple[float, float]) -> list[Observation]:
    return [Observation(position=position, value=value, attempt=1, time=0.0) for position, value in points]


def test_what_comes_after_a_stop_is_never_recorded(tmp_path: Path, log: EventLog) -> None:
    ticks = itertools.count(1000)
    seen: list[list[str]] = []
    path = tmp_path / "events.jsonl"
    recorder = Recorder(
        Engine(name="job", spec=SPEC),
        log,
        clock=lambda: float(next(ticks)),
        on_decision=lambda: seen.append([type(record).__name__ for record in read_log(path)]),
    )
    assert recorder.propose()
    assert recorder.propose()
    assert not recorder.propose(), "one at a time"
    recorder.record(AttemptStarted, trial=0, attempt=1)
    recorder.observe(0, curve((1, 0.1), (50, 0.1)), None)
    recorder.record(
        TrialEnded, trial=0, attempt=1, reason=EndReason.COMPLETED, value=0.1, fraction=1.0, compute_seconds=1.0
    )
    assert recorder.propose()
    recorder.record(AttemptStarted, trial=1, attempt=1)
    assert seen == []

    recorder.observe(1, curve((1, 0.9), (40, 0.9), (45, 0.9)), None)
    records = read_log(path)
    assert isinstance(records[-1], Decision), "the stop is the last word"
    assert seen[0][-1] == "Decision", "it was on the disk before anybody was told"
    marks = [record.at.mark for record in records if isinstance(record, MarkReached) and record.trial == 1]
    assert marks == list(range(1, 11))

    restored = Engine.restore(name="job", spec=SPEC, records=records)
    assert restored.pending_decisions() == []
    assert restored.wanted(1) == recorder.engine.wanted(1)

    recorder.check(gpu_seconds=0.0)
    assert read_log(path) == records
    ticks = itertools.count(10_000)
    recorder.check(gpu_seconds=0.0)
    assert any(isinstance(record, LimitReached) for record in read_log(path))
