"""Processes that are started here and ended here: known by id *and* start time, since ids are used again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.testbed.errors import TestbedError

POLL = 0.05


@dataclass(frozen=True)
class Process:
    """One running program of the test bed."""

    name: str
    pid: int
    started: int

    def alive(self) -> bool:
        """Whether this very process still runs; a zombie, or another process under the same id, does not count."""
        return start_time(self.pid) == self.started

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process and to no other."""
        if self.alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def as_record(self) -> dict[str, Any]:
        """What a later run needs to find the process again."""
        return asdict(self)


def start_time(pid: int) -> int | None:
    """When process `pid` was started, in clock ticks since boot; None if it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, started = fields[0], int(fields[19])
    return None if state in "ZX" else started


def this_process() -> Process:
    """The process that runs this code."""
    return Process("owner", os.getpid(), start_time(os.getpid()) or 0)


def spawn(
    name: str, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None
) -> tuple[Process, subprocess.Popen[bytes]]:
    """Start a program in a session of its own, so that Ctrl-C reaches the tests only, and they end it in good order."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment) if environment is not None else None,
            start_new_session=True,
        )
    return Process(name, child.pid, start_time(child.pid) or 0), child


def child_of(parent: Process, timeout: float) -> Process:
    """The child of a process that forks once."""
    found: list[Process] = []

    def forked() -> bool:
        if not parent.alive():
            raise TestbedError(f"{parent.name} ended at once")
        children = map(int, Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split())
        found.extend(Process(parent.name, pid, started) for pid in children if (started := start_time(pid)))
        return bool(found)

    wait_until(f"{parent.name} has a child", forked, timeout)
    return found[0]


def end(process: Process, grace: float = 10.0) -> None:
    """SIGTERM, a while to comply, then SIGKILL."""
    process.signal(signal.SIGTERM)
    if not _gone(process, grace):
        process.signal(signal.SIGKILL)
        if not _gone(process, 10.0):
            raise TestbedError(f"{process.name} (process {process.pid}) survives SIGKILL")


def _gone(process: Process, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while process.alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True


def wait_until(what: str, ready: Callable[[], bool], timeout: float, poll: float = POLL) -> None:
    """Wait until `ready` says so."""
    deadline = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > deadline:
            raise TestbedError(f"{what}: not within {timeout:.0f} s")
        time.sleep(poll)


def tail(log: Path, lines: int = 25) -> str:
    """The end of a log, for a message."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(no log)"
