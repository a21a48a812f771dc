"""One started process of a trial: its own session, its output in a file, and an end that leaves nobody behind."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from trial_protocol import names
from tuning_operator.backends.local.leftovers import end_marked
from tuning_operator.errors import BackendError, TrialNotStarted

_LAUNCHER: Final = Path(__file__).with_name("launch.py")
_ANNOUNCED: Final = re.compile(rf"^{re.escape(names.ANNOUNCEMENT)} (\d{{1,5}})\r?$".encode(), re.MULTILINE)
_SAID: Final = "tuning: "
"""Start of the lines that are ours."""
_SEARCHED: Final = 64 << 10
"""Bytes of output in which the port is looked for, and from which the tail is taken."""


class TrialProcess:
    """A running process; made by `start`.

    Attributes:
        was_ended: SIGTERM or SIGKILL was sent from here.
    """

    def __init__(self, process: asyncio.subprocess.Process, *, directory: Path, output: Path, offset: int) -> None:
        self._process = process
        self._directory = directory
        self._output = output
        self._offset = offset
        self._exited = asyncio.create_task(process.wait())
        self.was_ended = False
        self._is_hurried = False

    @classmethod
    async def start(
        cls,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        working_directory: str | None,
        directory: Path,
        output: Path,
        heading: str,
    ) -> TrialProcess:
        """Start a process.

        Args:
            directory: The trial's own, by which its processes are found.
            output: File to which standard output and error are appended, after the heading.

        Raises:
            TrialNotStarted: The process could not be made.
            BackendError: The output file cannot be written.
        """
        wrapped = list(arguments)
        if sys.platform == "linux":
            wrapped = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), *arguments]
        try:
            file = output.open("ab")
        except OSError as error:
            raise BackendError(f"{output} cannot be written: {error.strerror}") from None
        try:
            with file:
                file.write(heading.encode() + b"\n")
                file.flush()
                offset = file.tell()
                process = await asyncio.create_subprocess_exec(
                    *wrapped,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=file,
                    stderr=asyncio.subprocess.STDOUT,
                    env=dict(environment),
                    cwd=working_directory,
                    start_new_session=True,
                )
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise TrialNotStarted(f"{arguments[0]} cannot be started: {why}") from None
        return cls(process, directory=directory, output=output, offset=offset)

    @property
    def pid(self) -> int:
        """The process, which leads its own session and process group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit status; minus the signal's number if one ended it; None while it runs."""
        return self._exited.result() if self._exited.done() else None

    def on_exit(self, call: Callable[[], None]) -> None:
        """Have `call` called once the process has exited."""
        self._exited.add_done_callback(lambda _: call())

    def announced_port(self) -> int | None:
        """Return the port that the process has written to its output, if it has."""
        try:
            with self._output.open("rb") as file:
                file.seek(self._offset)
                found = _ANNOUNCED.search(file.read(_SEARCHED))
        except OSError:
            return None
        return int(found.group(1)) if found else None

    def tail(self, *, lines: int = 6, characters: int = 600) -> str:
        """Return the end of what this process printed; empty if it printed nothing."""
        try:
            with self._output.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(self._offset, end - _SEARCHED))
                text = file.read(_SEARCHED).decode("utf-8", "replace")
        except OSError:
            return ""
        said = [line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith(_SAID)]
        return "\n".join(said[-lines:])[-characters:]

    async def end(self, *, grace: float) -> None:
        """End the process with all that it started: SIGTERM, then SIGKILL after `grace` seconds."""
        deadline = asyncio.get_running_loop().time() + grace
        if not self._exited.done():
            self._signal_group(signal.SIGTERM)
            await asyncio.wait({self._exited}, timeout=grace)
        self.kill()
        await self._exited
        await self.clean(grace=max(0.0, deadline - asyncio.get_running_loop().time()))

    async def clean(self, *, grace: float) -> None:
        """After the process itself has exited, end whatever it left running."""
        await end_marked(self._directory, grace=0.0 if self._is_hurried else grace)

    def kill(self) -> None:
        """Send SIGKILL to the whole group at once, if the process still runs."""
        if not self._exited.done():
            self._is_hurried = True
            self._signal_group(signal.SIGKILL)

    def _signal_group(self, number: signal.Signals) -> None:
        self.was_ended = True
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return
