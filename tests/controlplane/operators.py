"""The operator as it is shipped: a process of its own, started by its command line."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from tests.testbed.controlplane import free_ports

from tuning_operator.backends.kubernetes import labels


class Operator:
    """A running process."""

    def __init__(self, process: asyncio.subprocess.Process, *, identity: str, port: int, log: Path) -> None:
        self.identity = identity
        self.log = log
        self._process = process
        self._url = f"http://127.0.0.1:{port}"

    async def ask(self, path: str) -> tuple[int, str]:
        """Return code and text of an answer; code 0 if there is none."""
        try:
            timeout = aiohttp.ClientTimeout(total=5)
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(self._url + path) as answer:
                return answer.status, await answer.text()
        except (aiohttp.ClientError, TimeoutError):
            return 0, ""

    async def until(self, path: str, text: str, seconds: float = 20.0) -> None:
        """Wait until an answer begins with a text."""

        async def holds() -> bool:
            return (await self.ask(path))[1].startswith(text)

        await self._until(f"{path} says {text}", holds, seconds)

    async def until_lacks(self, path: str, text: str, seconds: float = 20.0) -> None:
        """Wait until an answer does not hold a text."""

        async def holds() -> bool:
            code, said = await self.ask(path)
            return code == 200 and text not in said

        await self._until(f"{path} is without {text}", holds, seconds)

    async def until_logged(self, text: str, seconds: float = 20.0) -> None:
        """Wait until its log holds a text."""

        async def holds() -> bool:
            return text in self.log.read_text()

        await self._until(f"its log says {text}", holds, seconds)

    async def _until(self, what: str, holds: Callable[[], Awaitable[bool]], seconds: float) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while not await holds():
            if self._process.returncode is not None or asyncio.get_running_loop().time() > deadline:
                raise AssertionError(
                    f"never: {what}; exit code {self._process.returncode}; {self.log.read_text()[-3000:]}"
                )
            await asyncio.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def end(self, seconds: float = 10.0) -> int:
        """Wait until it has ended, and return its exit code."""
        try:
            async with asyncio.timeout(seconds):
                return await self._process.wait()
        except TimeoutError:
            raise AssertionError(f"{self.identity} does not end; {self.log.read_text()[-2000:]}") from None

    async def destroy(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


def arguments(
    folder: Path,
    *,
    kubeconfig: Path,
    own_namespace: str,
    namespaces: Sequence[str] = (),
    identity: str = "one",
    lease: int = 3,
    port: int = 0,
) -> list[str]:
    """Return the command line of an operator with its key in a folder; it serves its own namespace by default."""
    return [
        f"--kubeconfig={kubeconfig}",
        f"--own-namespace={own_namespace}",
        *(f"--namespace={name}" for name in namespaces or (own_namespace,)),
        f"--identity={identity}",
        f"--key-file={folder / 'key.pem'}",
        f"--probe-port={port}",
        f"--lease-duration={lease}",
    ]


@asynccontextmanager
async def operator(
    folder: Path,
    *,
    kubeconfig: Path,
    own_namespace: str,
    identity: str = "one",
    namespaces: tuple[str, ...],
    lease: int = 3,
    trial_port: int = labels.PORT,
) -> AsyncIterator[Operator]:
    """Run an operator, and kill it at the end if it still runs.

    Tests share this machine's network as pods do not, so that trials may have to answer at a port of their own.
    """
    start = f"import {labels.__name__} as labels; labels.PORT = {trial_port}; "
    start += "from tuning_operator.backends.kubernetes.process import main; main()"
    (port,) = free_ports(1)
    command = arguments(
        folder,
        kubeconfig=kubeconfig,
        own_namespace=own_namespace,
        namespaces=namespaces,
        identity=identity,
        lease=lease,
        port=port,
    )
    log = folder / f"{identity}.log"
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            start,
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    found = Operator(process, identity=identity, port=port, log=log)
    try:
        yield found
    finally:
        await found.destroy()
