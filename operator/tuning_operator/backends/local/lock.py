"""A run directory is driven by one process at a time.

The lock is the kernel's (flock): it is gone the moment its holder dies, however it dies. What the file says is for
people, and for readers who must not take the lock to know.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil

from tuning_operator.errors import BackendError


@contextmanager
def locked(path: Path, *, now: float) -> Iterator[None]:
    """Hold the lock for as long as the block runs.

    Raises:
        BackendError: Another process holds it (the text says which), or the file cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise BackendError(f"{path} cannot be written: {error.strerror}; choose another --directory") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackendError(
                f"{path.parent} is in use by {_holder(path)}; wait until it has ended, or end it, then continue "
                "with --resume"
            ) from None
        since = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
        said = json.dumps({"pid": os.getpid(), "host": platform.node(), "since": since})
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, said.encode(), 0)
        except OSError as error:
            raise BackendError(f"{path} cannot be written: {error.strerror}; make room and try again") from None
        yield
    finally:
        os.close(descriptor)


def _holder(path: Path) -> str:
    try:
        said = json.loads(path.read_text())
        return f"process {int(said['pid'])} on {said['host']} since {said['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def is_driven(path: Path) -> bool:
    """Return whether the process that last took the lock is there; one of another machine counts as there.

    The lock itself is not tried, so that a runner that starts at this moment finds it free.
    """
    try:
        said = json.loads(path.read_text())
        return bool(said["host"] != platform.node() or psutil.pid_exists(int(said["pid"])))
    except (OSError, ValueError, KeyError, TypeError):
        return False
