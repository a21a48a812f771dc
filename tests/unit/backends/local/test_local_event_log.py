"""The log: whole lines only, all or nothing, and one writer."""

from __future__ import annotations

import multiprocessing
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuning_operator.backends.local.event_log import EventLog, read_log, write_whole
from tuning_operator.backends.local.lock import locked
from tuning_operator.engine.events import AttemptStarted, Event, JobResumed
from tuning_operator.errors import BackendError, LogError


def events(*sequences: int) -> list[Event]:
    return [AttemptStarted(sequence=one, time=float(one), trial=one, attempt=1) for one in sequences]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    log = EventLog(tmp_path / "events.jsonl")
    yield log
    log.close()


def test_what_is_written_is_read(tmp_path: Path, log: EventLog) -> None:
    assert read_log(tmp_path / "absent") == []
    log.append(events(1, 2))
    log.append([])
    log.append([JobResumed(sequence=3, time=3.0)])
    assert read_log(tmp_path / "events.jsonl") == [*events(1, 2), JobResumed(sequence=3, time=3.0)]


def test_a_line_cut_anywhere_is_cut_off_and_the_rest_stays(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log.append(events(1, 2))
    log.close()
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(first, len(whole)):
        path.write_bytes(whole[:length])
        assert read_log(path) == events(1), "a reader leaves the torn line out"
        again = EventLog(path)
        assert again.torn == whole[first:length]
        again.append(events(7))
        again.close()
        assert read_log(path) == events(1, 7)


def test_a_bad_line_in_the_middle_is_named(tmp_path: Path, log: EventLog) -> None:
    path = tmp_path / "events.jsonl"
    log.append(events(1))
    path.write_bytes(path.read_bytes() + b"nonsense\n")
    log.append(events(2))
    with pytest.raises(LogError, match=r"line 2 of .*events\.jsonl: .*not JSON"):
        read_log(path)


def test_a_full_disk_leaves_the_log_as_it_was(tmp_path: Path, log: EventLog) -> None:
    log.append(events(1))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    earlier = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "events.jsonl").stat().st_size + 30, limits[1]))
        with pytest.raises(BackendError, match=r"cannot be written: .*; what was recorded before is safe"):
            log.append(events(2, 3))
        with pytest.raises(BackendError, match="make room"):
            write_whole(tmp_path / "whole", "x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, earlier)
    assert read_log(tmp_path / "events.jsonl") == events(1)
    assert not (tmp_path / "whole").exists()
    log.append(events(4))
    assert read_log(tmp_path / "events.jsonl") == events(1, 4)


def test_a_log_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").mkdir()
    with pytest.raises(BackendError, match=r"events\.jsonl cannot be opened for writing"):
        EventLog(tmp_path / "events.jsonl")


def _try(path: Path, answers: multiprocessing.Queue[str]) -> None:
    try:
        with locked(path, now=0.0):
            answers.put("held")
    except BackendError as error:
        answers.put(str(error))


def test_two_processes_never_hold_one_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[str] = context.Queue()

    def ask() -> str:
        process = context.Process(target=_try, args=(tmp_path / "lock", answers))
        process.start()
        try:
            return answers.get(timeout=60)
        finally:
            process.join(timeout=60)

    with locked(tmp_path / "lock", now=1_000_000.0):
        said = ask()
    assert "is in use by process" in said
    assert "since 1970-01-12T13:46:40+00:00" in said
    assert ask() == "held"
