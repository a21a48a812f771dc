"""Runners as processes of their own, to be killed.

A runner's libraries take a second to import, so one process imports them once and forks a runner for each line
``{"manifest": ..., "directory": ..., "resume": ...}`` on its standard input. It answers with the runner's process id,
and once more with its exit status. Each runner is a real process with a real log; only the import is shared.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any


class Runner:
    """One forked runner."""

    def __init__(self, pid: int, answers: Any) -> None:
        self.pid = pid
        self._answers = answers

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; the process is ours until `wait` has returned."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self) -> int:
        """Return the exit status, minus the signal's number if one ended it."""
        return int(self._answers.readline())


class Runners:
    """The process that forks runners; use it as a context manager."""

    def __enter__(self) -> Runners:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.local.runners"],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        return self

    def __exit__(self, *ending: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def start(self, manifest: dict[str, Any], directory: Path) -> Runner:
        """Start a runner; it goes on with the run in `directory` if there is one."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"manifest": manifest, "directory": str(directory)}) + "\n")
        return Runner(int(self._process.stdout.readline()), self._process.stdout)


def _run(order: dict[str, Any]) -> int:
    from tuning_operator.api.parse import parse_manifest
    from tuning_operator.backends.local.run_directory import RunDirectory
    from tuning_operator.backends.local.runner import run

    directory = Path(order["directory"])
    view = asyncio.run(
        run(
            parse_manifest(order["manifest"]),
            directory=directory,
            resume=RunDirectory(directory).holds_a_run,
            gpus=(),
        )
    )
    return 130 if view.suspended else 0


def main() -> None:
    """Fork a runner for each line until the input ends."""
    import tuning_operator.backends.local.runner  # noqa: F401

    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            status = 70
            try:
                status = _run(json.loads(line))
            except BaseException as error:
                sys.stderr.write(f"{type(error).__name__}: {error}\n")
            finally:
                os._exit(status)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        _, ended = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(ended)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
