"""Operators as processes that start in a moment: each is forked from one that has imported everything already.

Three settings differ from a cluster's: trials answer at a free port, since tests share this machine's network as pods
do not; a Lease lasts a minute, since a machine that runs many tests stands still now and then; and a request may be
given up sooner.

    {"start": {...}}   the options of an operator; answered with its process id
    {"kill": 123}      SIGKILL; answered with the status that the kernel gives, once the process is gone

One order a line on standard input, one answer a line on standard output. All operators die with this process.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tuning_operator.backends.kubernetes import labels
from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.leader import Timing
from tuning_operator.backends.kubernetes.options import Options
from tuning_operator.backends.kubernetes.process import run_operator
from tuning_operator.search.proposer import load_samplers


class Nursery:
    """The other end: starts and kills operators from a test."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator[Nursery]:
        """Start the process that all operators are forked from, and end it with all of them."""
        command = [sys.executable, "-m", __name__]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            yield cls(process)

    def start(self, **options: Any) -> int:
        """Start an operator and return its process id."""
        return self._order({"start": options})

    def kill(self, pid: int) -> int:
        """Kill an operator and return how it ended: 9 if it lived until then."""
        return self._order({"kill": pid})

    def _order(self, order: Any) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def _live(
    *, log: str, kubeconfig: str, key_file: str, namespace: str, port: int, time_out: float | None = None
) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (0, 1, 2):
        os.dup2(output, stream)
    os.environ["KUBECONFIG"] = kubeconfig
    labels.PORT = port  # type: ignore[misc]
    if time_out is not None:
        Client.__init__.__kwdefaults__["timeout"] = time_out
    logging.basicConfig(level="INFO", format=f"{os.getpid()} %(asctime)s %(levelname)s %(name)s: %(message)s")
    chosen = Options(
        kubeconfig=kubeconfig,
        key_file=Path(key_file),
        probes=("127.0.0.1", 0),
        timing=Timing(duration=60.0, renew_within=50.0),
        identity="operator",
        own_namespace=namespace,
        namespaces=(namespace,),
    )
    asyncio.run(run_operator(chosen, stop=asyncio.Event()))


def main() -> None:
    load_samplers()
    gc.freeze()
    living: set[int] = set()
    try:
        for line in sys.stdin:
            order = json.loads(line)
            if "kill" in order:
                pid = order["kill"]
                os.kill(pid, signal.SIGKILL)
                living.discard(pid)
                answer = os.waitpid(pid, 0)[1]
            else:
                answer = os.fork()
                if answer == 0:
                    living.clear()
                    try:
                        _live(**order["start"])
                    except BaseException:
                        traceback.print_exc()
                        sys.stderr.flush()
                    finally:
                        os._exit(1)
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
