"""The first process of the node: arranges its view of the file system, then reaps what its containers leave.

Runs alone, as process 1 of new process, mount and network namespaces, so that ending this one process ends every
container, mount and address of the node. What the kubelet and the container runtime insist on writing to fixed places
of the system, and the kernel settings that the kubelet changes, are covered by throw-away copies here.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

COVERED = ("/run", "/var/lib", "/var/log")
# What the kubelet wants of the kernel; a file with that value is put over each, so that the machine keeps its own.
SETTINGS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}


def mount(*arguments: str) -> None:
    """Run the program `mount`."""
    subprocess.run(["mount", *arguments], check=True, timeout=20)


def main() -> None:
    """Prepare, say so by making the file named in the first argument, and reap forever."""
    ready = Path(sys.argv[1])
    for folder in COVERED:
        mount("-t", "tmpfs", "-o", "mode=755", "testbed", folder)
    Path("/run/settings").mkdir()
    for name, value in SETTINGS.items():
        cover, setting = Path("/run/settings", name.replace("/", ".")), Path("/proc/sys", name)
        if setting.exists():
            cover.write_text(f"{value}\n")
            mount("--bind", str(cover), str(setting))
    mount("--make-rshared", "/")
    ready.touch()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            signal.sigwait({signal.SIGCHLD})


if __name__ == "__main__":
    main()
