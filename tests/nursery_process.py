"""The process that operators are forked from, at the orders of `nursery`.

    {"start": {...}}               an operator's command line and settings; answered with its process id
    {"end": 123, "signal": 15}     answered with the exit code, once the process is gone

One order a line on standard input, one answer a line on standard output. All operators die with this process.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
import traceback
from contextlib import suppress

from tuning_operator.backends.kubernetes import labels, process
from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.search.proposer import load_samplers

_PATIENCE = 20.0
"""Seconds that an operator gets to end in good order."""


def _live(*, arguments: list[str], log: str, trial_port: int | None, time_out: float | None) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (0, 1, 2):
        os.dup2(output, stream)
    if trial_port is not None:
        labels.PORT = trial_port  # type: ignore[misc]
    if time_out is not None:
        Client.__init__.__kwdefaults__["timeout"] = time_out
    sys.argv = ["tuning-operator", *arguments]
    process.main()


def _start(**options: object) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        _live(**options)  # type: ignore[arg-type]
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _end(pid: int, number: int) -> int:
    os.kill(pid, number)
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    """Obey until standard input ends."""
    load_samplers()
    gc.freeze()
    living: set[int] = set()
    try:
        for line in sys.stdin:
            order = json.loads(line)
            if "end" in order:
                living.discard(order["end"])
                answer = _end(order["end"], order["signal"])
            else:
                answer = _start(**order["start"])
                living.add(answer)
            sys.stdout.write(f"{answer}\n")
            sys.stdout.flush()
    finally:
        for pid in living:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
