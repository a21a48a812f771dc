"""The node's own process, mount and network namespaces, its link to the machine, and its control groups.

Each node takes a slot: a block of addresses out of the range reserved for benchmarking (198.18.0.0/15), and a link
named after it. Making the link is what takes the slot, so two test beds on one machine never share one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.errors import TestbedError
from tests.testbed.instance import Instance, remove_cgroup
from tests.testbed.packages import Runtime, found_runtime
from tests.testbed.processes import Process

SLOTS = 16
_CGROUPS = Path("/sys/fs/cgroup")
_TIMEOUT = 20.0


@dataclass(frozen=True)
class Addresses:
    """The addresses of slot `slot`, sixteen networks of 256 addresses each."""

    slot: int

    def _network(self, offset: int) -> str:
        return f"198.18.{self.slot * 16 + offset}"

    @property
    def host(self) -> str:
        """This machine, as the node and its pods see it."""
        return f"{self._network(0)}.1"

    @property
    def node(self) -> str:
        """The node."""
        return f"{self._network(0)}.2"

    @property
    def services(self) -> str:
        """The network of services."""
        return f"{self._network(1)}.0/24"

    @property
    def first_service(self) -> str:
        """The address of the service `kubernetes`."""
        return f"{self._network(1)}.1"

    @property
    def pods(self) -> str:
        """The network of pods."""
        return f"{self._network(4)}.0/22"

    @property
    def link(self) -> str:
        """The machine's end of the link."""
        return f"testbed{self.slot}"


@dataclass(frozen=True)
class Namespaces:
    """The namespaces of one node, held by its first process."""

    instance: Instance
    runtime: Runtime
    init: Process
    addresses: Addresses

    def enter(self, command: Sequence[str | Path]) -> list[str | Path]:
        """The command line that runs `command` inside."""
        inside = [self.runtime.program("nsenter"), f"--target={self.init.pid}", "--pid", "--mount", "--net"]
        return [*inside, "--", *command]

    def run(self, command: Sequence[str | Path], timeout: float = _TIMEOUT) -> str:
        """Run a command inside and return what it prints."""
        return checked([str(word) for word in self.enter(command)], self.runtime, timeout)

    def start(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        """Start a component inside."""
        self.instance.start(name, self.enter(command), environment, forks=True)


def missing_reason() -> str | None:
    """Why this machine gives us no namespaces, or None."""
    if sys.platform != "linux":
        return "a node needs Linux"
    if os.geteuid() != 0:
        return "a node needs root"
    runtime = found_runtime()
    for name in ("unshare", "nsenter", "ip", "mount"):
        if runtime.find(name) is None:
            return f"a node needs {name}"
    probe = ["unshare", "--pid", "--fork", "--mount", "--net", "ip", "link", "add", "probe", "type", "veth"]
    answer = subprocess.run(probe, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    return f"no new namespaces with a veth link: {answer.stderr.strip()}" if answer.returncode else None


def make(instance: Instance, runtime: Runtime) -> Namespaces:
    """Make the namespaces, their link to this machine and their control groups."""
    for folder in ("/run", "/var/lib", "/var/log"):
        if instance.folder.is_relative_to(folder):
            raise TestbedError(f"the cache folder must not lie under {folder}, which a node covers for itself")
    ready = instance.folder / "node-ready"
    new = [runtime.program("unshare"), "--pid", "--fork", "--kill-child=SIGKILL", "--mount", "--mount-proc", "--net"]
    script = Path(__file__).with_name("node_init.py")
    init = instance.start("node", [*new, sys.executable, "-I", script, ready], runtime.environment, forks=True)
    instance.wait("node", ready.exists, _TIMEOUT)
    namespaces = Namespaces(instance, runtime, init, _connect(init, runtime))
    _make_cgroups(namespaces)
    return namespaces


def checked(command: Sequence[str], runtime: Runtime, timeout: float = _TIMEOUT) -> str:
    """Run a program of the runtime and return what it prints."""
    answer = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=runtime.environment,
    )
    if answer.returncode:
        raise TestbedError(
            f"{' '.join(command)} failed with {answer.returncode}: {answer.stderr.strip() or answer.stdout.strip()}"
        )
    return answer.stdout


def _connect(init: Process, runtime: Runtime) -> Addresses:
    ip = runtime.program("ip")
    for slot in range(SLOTS):
        addresses = Addresses(slot)
        command = [ip, "link", "add", addresses.link, "type", "veth", "peer", "name", "eth0", "netns", str(init.pid)]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
        if answer.returncode == 0:
            break
        if "exists" not in answer.stderr:
            raise TestbedError(f"{' '.join(command)}: {answer.stderr.strip()}")
    else:
        raise TestbedError(f"all {SLOTS} slots for nodes are taken on this machine")
    checked([ip, "address", "add", f"{addresses.host}/24", "dev", addresses.link], runtime)
    checked([ip, "link", "set", addresses.link, "up"], runtime)
    inside = [runtime.program("nsenter"), f"--target={init.pid}", "--mount", "--net", "--", ip]
    checked([*inside, "link", "set", "lo", "up"], runtime)
    checked([*inside, "address", "add", f"{addresses.node}/24", "dev", "eth0"], runtime)
    checked([*inside, "link", "set", "eth0", "up"], runtime)
    checked([*inside, "route", "add", "default", "via", addresses.host], runtime)
    for network in (addresses.services, addresses.pods):
        checked([ip, "route", "add", network, "via", addresses.node], runtime)
    return addresses


def _make_cgroups(namespaces: Namespaces) -> None:
    """A control group of our own in every hierarchy, apart from any other kubelet's on this machine."""
    name = namespaces.addresses.link
    hierarchies = {path.resolve() for path in (_CGROUPS, *_CGROUPS.iterdir()) if (path / "cgroup.procs").is_file()}
    for hierarchy in sorted(hierarchies):
        if hierarchy.parent == _CGROUPS and (_CGROUPS / "cgroup.controllers").is_file():
            continue  # cgroup v2 is one hierarchy: what lies under it are other people's groups
        group = hierarchy / name
        if group.exists():
            remove_cgroup(group)
        group.mkdir()
        namespaces.instance.record["cgroups"].append(str(group))
        namespaces.instance.save()
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if (group / setting).is_file() and (hierarchy / setting).is_file():
                (group / setting).write_text((hierarchy / setting).read_text())
        if (hierarchy / "cgroup.subtree_control").is_file() and (hierarchy / "cgroup.controllers").read_text().strip():
            wanted = " ".join(f"+{each}" for each in (hierarchy / "cgroup.controllers").read_text().split())
            (hierarchy / "cgroup.subtree_control").write_text(wanted)
            (group / "cgroup.subtree_control").write_text(wanted)


def cgroup_root(namespaces: Namespaces) -> str:
    """The kubelet's root among control groups."""
    return f"/{namespaces.addresses.link}"
