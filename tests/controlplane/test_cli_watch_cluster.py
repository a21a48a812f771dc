"""`tuning watch` against a real API server: at a terminal, in a file, and when somebody ends it or the job."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from tests.controlplane.studies import World, manifest
from tests.testbed.controlplane import ControlPlane

from tuning_operator.backends.kubernetes.resources import TUNING_JOBS, name_of


class Terminal:
    """A process of the command at a terminal whose size can be changed."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self.process = process
        self.text = ""
        self._master = master
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(master, self._read)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size as a terminal does: the kernel tells the process."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def until(self, what: str, holds: Callable[[str], object]) -> None:
        async with asyncio.timeout(30):
            while not holds(self.text):
                self._news.clear()
                await self._news.wait()

    def _read(self) -> None:
        try:
            self.text += os.read(self._master, 65536).decode(errors="replace")
        except OSError:
            asyncio.get_running_loop().remove_reader(self._master)
        self._news.set()


@asynccontextmanager
async def terminal(*arguments: str, columns: int = 100, rows: int = 30) -> AsyncIterator[Terminal]:
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "CI": "", "COLUMNS": "", "LINES": ""}
    environment.pop("NO_COLOR", None)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tuning_operator.cli",
        *arguments,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        asyncio.get_running_loop().remove_reader(master)
        os.close(master)


def frames(text: str) -> list[list[str]]:
    """What was on the screen after each drawing, as lines without colours."""
    drawn = re.split(r"\x1b\[H", text)
    return [[line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", one).splitlines()] for one in drawn[1:]]


async def test_watch_is_the_live_view_and_ends_with_the_job(here: World, crds: ControlPlane) -> None:
    here.players.pace = 0
    await here.client.apply(TUNING_JOBS, manifest(here.namespace, budget={"trials": 3, "parallel": 2}, stopping=[]))
    place = ("-n", here.namespace, "--kubeconfig", str(crds.kubeconfig))
    async with here.operator(), terminal("watch", "digits", *place) as shown:
        await shown.until("the bar of trials", lambda text: "0 of 3" in text and "running" in text)
        here.players.pace = 1
        shown.resize(60, 12)
        before = len(frames(shown.text))
        await shown.until("other frames", lambda text: len(frames(text)) > before + 1)
        small = frames(shown.text)[-2]
        assert len(small) <= 12
        assert max(map(len, small)) <= 60
        here.players.pace = 20
        assert await asyncio.wait_for(shown.process.wait(), 40) == 0
        await here.until("the job is complete", here.is_complete)
        await shown.until("the summary", lambda text: "digits finished after" in text)
    assert "\x1b[?1049h" in shown.text
    assert "\x1b[?1049l" in shown.text
    last = shown.text.rpartition("\x1b[?1049l")[2]
    assert "all trials are done" in last
    assert "Best:       trial 0" in last


async def test_ctrl_c_leaves_the_job_alone(here: World, crds: ControlPlane) -> None:
    here.players.pace = 0
    await here.client.apply(TUNING_JOBS, manifest(here.namespace, budget={"trials": 2, "parallel": 2}, stopping=[]))
    place = ("-n", here.namespace, "--kubeconfig", str(crds.kubeconfig))
    async with here.operator(), terminal("watch", "digits", *place) as shown:
        await shown.until("a trial runs", lambda text: "running" in text)
        shown.process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(shown.process.wait(), 20) == 130
        await shown.until("its last words", lambda text: "digits goes on without this view" in text)
        assert "Traceback" not in shown.text
        generation = here.jobs.get(here.namespace, "digits")["metadata"]["generation"]
        here.players.pace = 20
        await here.until("the job is complete", here.is_complete)
    assert generation == 1


async def test_lines_for_a_place_that_cannot_redraw(here: World, crds: ControlPlane) -> None:
    await here.client.apply(TUNING_JOBS, manifest(here.namespace, budget={"trials": 2, "parallel": 2}))
    command = [sys.executable, "-m", "tuning_operator.cli", "watch", "digits", "-n", here.namespace]
    async with here.operator():
        process = await asyncio.create_subprocess_exec(
            *command, "--kubeconfig", str(crds.kubeconfig), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await asyncio.wait_for(process.communicate(), 40)
    text = out.decode()
    assert process.returncode == 0
    assert "trial 0 started: lr=0.1" in text
    assert "final decay begun by CoolDown" in text
    assert "new best: trial 0 with eval_loss" in text
    assert "digits finished after" in text


async def test_a_job_that_is_deleted_while_it_is_watched_is_told(here: World, crds: ControlPlane) -> None:
    here.players.pace = 0
    await here.client.apply(TUNING_JOBS, manifest(here.namespace))
    place = ("-n", here.namespace, "--kubeconfig", str(crds.kubeconfig))
    async with here.operator(), terminal("watch", "digits", *place) as shown:
        await shown.until("a trial runs", lambda text: "running" in text)
        job = here.jobs.get(here.namespace, "digits")
        await here.client.delete(TUNING_JOBS, namespace=here.namespace, name=name_of(job))
        assert await asyncio.wait_for(shown.process.wait(), 20) == 2
        await shown.until("why", lambda text: "is gone: somebody deleted it" in text)
