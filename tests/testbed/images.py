"""Images without a registry: a static busybox for the node and for tests, and a Debian base for other images."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.testbed.cache import cache_folder, locked
from tests.testbed.errors import TestbedError
from tests.testbed.packages import Runtime

_LOG = logging.getLogger(__name__)
PAUSE = "testbed.local/pause:1"
BUSYBOX = "testbed.local/busybox:1"
DEBIAN = "testbed.local/debian:1"
_DEBOOTSTRAP_TIMEOUT = 900.0


def busybox_archive(
    runtime: Runtime,
    path: Path,
    names: tuple[str, ...] = (PAUSE, BUSYBOX),
    programs: Sequence[Path] = (),
) -> Path:
    """Write an archive of a static busybox, with more static `programs` in /bin if a test wants them.

    The same image serves as the pods' pause container, which only sleeps.
    """
    busybox = Path(runtime.program("busybox"))
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, timeout=20, check=True).stdout.split()
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("root", 0o700)):
            tar.addfile(_entry(folder, tarfile.DIRTYPE, mode))
        add_file(tar, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n", 0o644)
        for program in (busybox, *programs):
            add_file(tar, f"bin/{program.name}", program.read_bytes(), 0o755)
        for applet in applets:
            if applet != "busybox":
                link = _entry(f"bin/{applet}", tarfile.SYMTYPE, 0o777)
                link.linkname = "busybox"
                tar.addfile(link)
    _write_archive(path, names, ("/bin/sleep", "2147483647"), layer.getvalue())
    return path


def debian_root(runtime: Runtime, packages: tuple[str, ...] = ("python3", "python3-venv")) -> Path:
    """The folder of a minimal Debian root file system with `packages`, made once by debootstrap.

    It stands in for the public base image of a Dockerfile where no image registry can be reached.
    """
    release, mirror = _distribution()
    key = hashlib.sha256("\n".join((release, *packages)).encode()).hexdigest()[:12]
    target = cache_folder() / "images" / f"{release}-{key}"
    with locked("debootstrap"):
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            fresh = target.with_suffix(".new")
            shutil.rmtree(fresh, ignore_errors=True)
            _LOG.info("Making a Debian %s root with %s (a minute)", release, ", ".join(packages))
            program = runtime.program("debootstrap")
            environment = dict(runtime.environment)
            scripts = runtime.unpacked / "usr/share/debootstrap"
            if program.startswith(str(runtime.unpacked)):
                environment["DEBOOTSTRAP_DIR"] = str(scripts)
            environment.pop("LD_LIBRARY_PATH", None)
            command = [program, "--variant=minbase", f"--include={','.join(packages)}", release, str(fresh), mirror]
            answer = subprocess.run(
                command, capture_output=True, text=True, timeout=_DEBOOTSTRAP_TIMEOUT, check=False, env=environment
            )
            if answer.returncode:
                raise TestbedError(
                    f"{' '.join(command)} failed with {answer.returncode}:\n{(answer.stdout + answer.stderr)[-2000:]}"
                )
            for downloaded in (fresh / "var/cache/apt/archives").glob("*.deb"):
                downloaded.unlink()
            fresh.rename(target)
    return target


def debian_archive(runtime: Runtime) -> Path:
    """The Debian root as an image archive."""
    root = debian_root(runtime)
    path = root.with_suffix(".tar")
    with locked("debian-archive"):
        if not path.is_file():
            layer = io.BytesIO()
            with tarfile.open(fileobj=layer, mode="w") as tar:
                tar.add(root, arcname=".", recursive=True)
            fresh = path.with_suffix(".new.tar")
            _write_archive(fresh, (DEBIAN,), ("/bin/sh",), layer.getvalue())
            fresh.rename(path)
    return path


def _distribution() -> tuple[str, str]:
    """The release of this machine's Debian, and the mirror that its own package manager uses."""
    release = Path("/etc/os-release").read_text()
    codename = next((line.split("=")[1] for line in release.splitlines() if line.startswith("VERSION_CODENAME=")), "")
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", f"Codename: {codename}"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    mirrors = answer.stdout.split()
    if not codename or not mirrors:
        raise TestbedError(f"no package mirror of this machine's release found: {answer.stderr.strip()}")
    return codename, mirrors[0]


def _write_archive(path: Path, names: Sequence[str], command: Sequence[str], layer: bytes) -> None:
    """An archive as `docker save` writes it: a manifest, a configuration and one layer."""
    digest = hashlib.sha256(layer).hexdigest()
    config: dict[str, Any] = {
        "architecture": _architecture(),
        "os": "linux",
        "config": {
            "Cmd": list(command),
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created_by": "testbed"}],
    }
    content = json.dumps(config).encode()
    name = f"{hashlib.sha256(content).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": list(names), "Layers": [f"{digest}.tar"]}]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        add_file(tar, name, content, 0o644)
        add_file(tar, f"{digest}.tar", layer, 0o644)
        add_file(tar, "manifest.json", json.dumps(manifest).encode(), 0o644)


def _architecture() -> str:
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry


def add_file(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    """Add a file of that content, without an owner or a date."""
    entry = _entry(name, tarfile.REGTYPE, mode)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
