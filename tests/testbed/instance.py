"""One running test bed on disk: its folder, its logs, and the record by which a later run cleans up after a crash."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.testbed.cache import cache_folder
from tests.testbed.errors import TestbedError
from tests.testbed.processes import Process, child_of, end, spawn, tail, this_process, wait_until

RECORD = "state.json"
START_TIMEOUT = 20.0
_LOGS_KEPT = 10


class Instance:
    """The folder of one test bed and the processes that belong to it.

    Every process is recorded as soon as it runs. If the owner dies, a guard (a small process that waits for the
    owner's end of a pipe to close) takes the test bed down at once; if the guard died too, the next start does.
    """

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.folder = folder
        self.record = record
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._guard: subprocess.Popen[bytes] | None = None

    @classmethod
    def create(cls, size: str, *, persistent: bool) -> Instance:
        """A new instance; a persistent one outlives this process and is taken down by `down`."""
        runs = runs_folder()
        runs.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{size}-", dir=runs))
        (folder / "logs").mkdir()
        owner = None if persistent else this_process().as_record()
        instance = cls(folder, {"size": size, "boot": boot(), "owner": owner, "processes": [], "cgroups": []})
        instance.save()
        if not persistent:
            instance._start_guard()
        return instance

    @classmethod
    def load(cls, folder: Path) -> Instance | None:
        """The instance recorded in `folder`, if it has not been taken down."""
        try:
            return cls(folder, json.loads((folder / RECORD).read_text()))
        except FileNotFoundError:
            return None

    @property
    def size(self) -> str:
        """`control-plane` or `cluster`."""
        return str(self.record["size"])

    @property
    def logs(self) -> Path:
        """The folder of its log files, kept for a while after it is down."""
        return self.folder / "logs"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / "kubeconfig"

    @property
    def persistent(self) -> bool:
        """Whether it was started by `up` rather than by a test run."""
        return self.record["owner"] is None

    @property
    def orphaned(self) -> bool:
        """Whether the process that was to take it down is gone."""
        return not self.persistent and (self._of_another_boot or not Process(**self.record["owner"]).alive())

    @property
    def healthy(self) -> bool:
        """Whether everything that was started still runs."""
        return not self._of_another_boot and all(process.alive() for process in self.processes)

    @property
    def _of_another_boot(self) -> bool:
        return bool(self.record["boot"] != boot())

    @property
    def processes(self) -> list[Process]:
        """Its processes, in order of their start; none survives a boot of the machine."""
        return [] if self._of_another_boot else [Process(**entry) for entry in self.record["processes"]]

    def save(self) -> None:
        """Write the record in one step, so that a crash leaves the old one or the new one."""
        fresh = self.folder / f"{RECORD}.new"
        fresh.write_text(json.dumps(self.record, indent=1))
        fresh.rename(self.folder / RECORD)

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        environment: Mapping[str, str] | None = None,
        *,
        forks: bool = False,
    ) -> Process:
        """Start a program whose output goes to its own log.

        A command that `forks` is one that enters namespaces: the process recorded is its child, and the command ends
        by itself when the child does. Ending the command first would leave the child's remains to whoever is process
        1 of the machine.
        """
        process, child = spawn(name, command, self.logs / f"{name}.log", environment)
        entries = self.record["processes"]
        entries.append(process.as_record())
        self.save()
        if forks:
            process = child_of(process, START_TIMEOUT)
            entries[-1] = process.as_record()
            self.save()
        self._children[process.pid] = child
        return process

    def wait(self, name: str, ready: Callable[[], bool], timeout: float) -> None:
        """Wait until a component is ready; if it dies or takes too long, say so with the end of its log."""
        process = self.process(name)

        def ready_or_dead() -> bool:
            if not process.alive():
                raise TestbedError(f"{name} ended while it was starting")
            return ready()

        try:
            wait_until(f"{name} is ready", ready_or_dead, timeout)
        except TestbedError as error:
            raise TestbedError(
                f"{error}; the end of {self.logs / name}.log:\n{tail(self.logs / f'{name}.log')}"
            ) from error

    def process(self, name: str) -> Process:
        """The process of a component."""
        for process in reversed(self.processes):
            if process.name == name:
                return process
        raise TestbedError(f"no {name} runs in {self.folder}")

    def stop(self, name: str, grace: float = 10.0) -> None:
        """End one component, as a test of a fault would."""
        process = self.process(name)
        self._end(process, grace)
        self.record["processes"].remove(process.as_record())
        self.save()

    def restart(self, name: str) -> None:
        """Kill one component and start it again as it was started."""
        command = Path(f"/proc/{self.process(name).pid}/cmdline").read_text().split("\0")[:-1]
        self.stop(name, grace=0.0)
        self.start(name, command)

    def take_down(self) -> None:
        """End everything and remove everything but the logs. May be repeated, by any process.

        SIGKILL at once: nothing that these processes hold outlives the test bed, so an orderly end would only take
        time.
        """
        for process in reversed(self.processes):
            process.signal(signal.SIGKILL)
        for process in self.processes:
            self._end(process, 10.0)
        for cgroup in self.record["cgroups"]:
            remove_cgroup(Path(cgroup))
        for entry in self.folder.iterdir():
            if entry.name not in ("logs", RECORD):
                shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)
        (self.folder / RECORD).unlink(missing_ok=True)
        if self._guard and self._guard.stdin:
            self._guard.stdin.close()
            self._guard.wait(timeout=20)
            self._guard = None

    def _end(self, process: Process, grace: float) -> None:
        child = self._children.pop(process.pid, None)
        end(process, grace)
        if child:
            child.wait(timeout=10)

    def _start_guard(self) -> None:
        with (self.logs / "guard.log").open("wb") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-m", "tests.testbed.guard", str(self.folder)],
                cwd=Path(__file__).parents[2],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def boot() -> str:
    """What tells this boot of the machine from another: process ids and start times repeat after one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def runs_folder() -> Path:
    """Where instances lie."""
    return cache_folder() / "run"


def instances() -> Iterator[Instance]:
    """Every instance that has not been taken down."""
    for folder in sorted(runs_folder().glob("*-*")):
        if instance := Instance.load(folder):
            yield instance


def clean_up() -> None:
    """Take down what crashed runs left behind, and drop all but the newest logs."""
    for instance in instances():
        if instance.orphaned:
            instance.take_down()
    finished = [folder for folder in runs_folder().glob("*-*") if not (folder / RECORD).exists()]
    for folder in sorted(finished, key=lambda folder: folder.stat().st_mtime)[:-_LOGS_KEPT]:
        shutil.rmtree(folder, ignore_errors=True)


def remove_cgroup(top: Path) -> None:
    """Kill what still runs in a control group of ours and remove it with its children, deepest first."""
    folders = sorted(
        (top, *(path for path in top.rglob("*") if path.is_dir())), key=lambda path: len(path.parts), reverse=True
    )

    def empty() -> bool:
        for folder in folders:
            try:
                for pid in (folder / "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
                folder.rmdir()
            except (FileNotFoundError, ProcessLookupError):
                continue
            except OSError:
                return False
        return not top.exists()

    wait_until(f"{top} is empty", empty, 10.0)
