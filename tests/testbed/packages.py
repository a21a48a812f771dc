"""The container runtime: from the PATH, else unpacked from the distribution's packages into the cache, not installed.

apt resolves which packages are missing, libraries included, but only downloads them, with package lists and archive
of its own inside the cache: neither the system's packages nor its lists change.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.testbed.cache import cache_folder, locked
from tests.testbed.errors import TestbedError, Unavailable

_LOG = logging.getLogger(__name__)
PACKAGE_OF = {
    "containerd": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "busybox": "busybox-static",
    "debootstrap": "debootstrap",
    "buildah": "buildah",
}
NETWORK_PACKAGE = "containernetworking-plugins"
NETWORK_PLUGINS = ("ptp", "host-local", "loopback")
_PLUGIN_FOLDERS = (Path("/opt/cni/bin"), Path("/usr/lib/cni"), Path("/usr/libexec/cni"))
_TIMEOUT = 300.0


@dataclass(frozen=True)
class Runtime:
    """Where the programs of the container runtime are, and the environment in which they find each other."""

    unpacked: Path

    @cached_property
    def path(self) -> str:
        """The PATH of a program of the runtime; the system's own programs win over unpacked ones."""
        unpacked = [str(self.unpacked / folder) for folder in ("usr/bin", "usr/sbin", "bin", "sbin")]
        return ":".join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", *unpacked])

    @cached_property
    def libraries(self) -> tuple[Path, ...]:
        """The folders of unpacked libraries."""
        found = (folder for base in ("usr/lib", "lib") for folder in self.unpacked.glob(f"{base}/*-linux-gnu*"))
        return tuple(found)

    @cached_property
    def environment(self) -> dict[str, str]:
        """The environment of a program of the runtime."""
        libraries = map(str, self.libraries)
        inherited = os.environ.get("LD_LIBRARY_PATH")
        return {
            **os.environ,
            "PATH": self.path,
            "LD_LIBRARY_PATH": ":".join([*([inherited] if inherited else []), *libraries]),
        }

    def find(self, name: str) -> Path | None:
        """The program `name`, or None."""
        found = shutil.which(name, path=self.path)
        return Path(found) if found else None

    def program(self, name: str) -> str:
        """The program `name`, which must be there."""
        found = self.find(name)
        if found is None:
            raise TestbedError(f"{name} is neither on the PATH nor in the packages unpacked under {self.unpacked}")
        return str(found)

    def find_network_plugins(self) -> Path | None:
        """The folder with the CNI plugins, or None."""
        for folder in (*_PLUGIN_FOLDERS, self.unpacked / "usr/lib/cni"):
            if all((folder / name).is_file() for name in NETWORK_PLUGINS):
                return folder
        return None

    def missing_packages(self) -> list[str]:
        """The packages that hold what is not here yet."""
        packages = {package for program, package in PACKAGE_OF.items() if self.find(program) is None}
        if self.find_network_plugins() is None:
            packages.add(NETWORK_PACKAGE)
        return sorted(packages)


def found_runtime() -> Runtime:
    """The runtime as far as it is here, without fetching anything."""
    return Runtime(cache_folder() / "packages" / _release())


def missing_reason() -> str | None:
    """Why this machine has no container runtime and cannot unpack one, or None."""
    missing = found_runtime().missing_packages()
    if missing and not all(shutil.which(tool) for tool in ("apt-get", "dpkg")):
        return f"{', '.join(missing)} not found, and there are no apt-get and dpkg to unpack them with"
    return None


def runtime() -> Runtime:
    """The runtime, complete: what is missing is downloaded and unpacked now."""
    if reason := missing_reason():
        raise Unavailable(reason)
    found = found_runtime()
    if not found.missing_packages():
        return found
    with locked("packages"):
        found = found_runtime()
        if found.missing_packages():
            shutil.rmtree(found.unpacked, ignore_errors=True)
            _unpack(found_runtime().missing_packages(), found.unpacked)
    found = found_runtime()
    if missing := found.missing_packages():
        raise TestbedError(f"unpacked, but still without what {', '.join(missing)} should hold")
    return found


def _release() -> str:
    fields = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return "-".join(fields.get(name, "any").strip('"') for name in ("ID", "VERSION_CODENAME"))


def _unpack(packages: list[str], target: Path) -> None:
    apt = cache_folder() / "apt"
    shutil.rmtree(apt, ignore_errors=True)
    for folder in ("lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    options = {
        "Dir::State::lists": str(apt / "lists"),
        "Dir::Cache": str(apt / "cache"),
        "Debug::NoLocking": "1",
        "APT::Sandbox::User": "",
        "APT::Get::Assume-Yes": "1",
        "APT::Install-Recommends": "0",
    }
    apt_get = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    _LOG.info("Unpacking %s into the cache", ", ".join(packages))
    _checked([*apt_get, "update"])
    _checked([*apt_get, "install", "--download-only", *packages])
    fresh = apt / "unpacked"
    fresh.mkdir()
    for archive in sorted((apt / "cache/archives").glob("*.deb")):
        _checked(["dpkg", "-x", str(archive), str(fresh)])
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh.rename(target)
    shutil.rmtree(apt)


def _checked(command: list[str]) -> None:
    answer = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT, check=False,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )  # fmt: skip
    if answer.returncode:
        raise TestbedError(f"{' '.join(command)} failed with {answer.returncode}:\n{answer.stdout}{answer.stderr}")
