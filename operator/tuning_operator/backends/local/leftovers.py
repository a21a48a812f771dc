"""Finds the processes that belong to a trial, wherever they have gone.

Every process that a trial starts inherits its environment, in which `TUNING_TERMINATION_PATH` names a file of this run
and this trial and no other. That mark finds children that left the process group, and whatever an earlier, killed
runner left behind. A process that wiped its environment is not found; its group is ended with the trial all the same.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psutil

from trial_protocol import names

_POLL: Final = 0.05
_ROUNDS: Final = 100
"""Rounds of SIGKILL; what is stuck in the kernel does not die of more."""


def marked_processes(directory: Path) -> list[psutil.Process]:
    """Return the live processes whose termination path lies in `directory`; ourselves left out."""
    below = f"{directory.resolve()}{os.sep}"
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            path = process.environ().get(names.ENV_TERMINATION_PATH, "")
            if path.startswith(below) and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


async def end_marked(directory: Path, *, grace: float) -> int:
    """End every such process: SIGTERM, then SIGKILL after `grace` seconds; return how many there were.

    psutil compares a process's start time before each signal, so a number that was given away since is never hit.
    """
    found = await asyncio.to_thread(marked_processes, directory)
    if not found:
        return 0
    for process in found:
        _signal(process, kill=False)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + grace
    while loop.time() < deadline:
        if not _alive(found):
            break
        await asyncio.sleep(_POLL)
    for _ in range(_ROUNDS):
        # What was started in the meantime has the mark too.
        rest = await asyncio.to_thread(marked_processes, directory)
        if not rest:
            break
        for process in rest:
            _signal(process, kill=True)
        await asyncio.sleep(_POLL)
    return len(found)


def _alive(processes: Sequence[psutil.Process]) -> bool:
    return any(process.is_running() and _status(process) != psutil.STATUS_ZOMBIE for process in processes)


def _status(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.Error:
        return str(psutil.STATUS_ZOMBIE)


def _signal(process: psutil.Process, *, kill: bool) -> None:
    try:
        if kill:
            process.kill()
        else:
            process.terminate()
    except psutil.Error:
        return
