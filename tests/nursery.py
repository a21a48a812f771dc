"""Operators as processes that start in a moment: each is forked from one that has imported everything already.

What runs is `tuning-operator` with its options; without this, every start would cost two seconds of a core for imports.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Nursery:
    """Starts operators and ends them; all that are left die with it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator[Nursery]:
        """Start the process that all operators are forked from, and end it with all of them."""
        command = [sys.executable, "-m", "tests.nursery_process"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            yield cls(process)

    def start(
        self, arguments: Sequence[str], *, log: Path, trial_port: int | None = None, time_out: float | None = None
    ) -> int:
        """Start an operator and return its process id.

        Args:
            arguments: Its command line.
            log: The file that its output is appended to.
            trial_port: Where trials answer, if they share this machine's network as pods do not.
            time_out: Seconds after which a request is given up, if sooner than usually.
        """
        options = {"log": str(log), "trial_port": trial_port, "time_out": time_out}
        return self._order({"start": {"arguments": list(arguments), **options}})

    def end(self, pid: int, number: signal.Signals = signal.SIGTERM) -> int:
        """Send an operator a signal and return its exit code once it is gone: -9 if that had to be SIGKILL."""
        return self._order({"end": pid, "signal": number})

    def _order(self, order: Any) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())
