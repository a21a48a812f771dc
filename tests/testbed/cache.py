"""What outlives one run: built binaries, unpacked packages, images, and the folders of running test beds."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.testbed.errors import TestbedError

CACHE_VARIABLE = "TUNING_TESTBED_CACHE"
BUILD_TIMEOUT = 45 * 60.0


def cache_folder() -> Path:
    """The cache folder, outside the repository so that a fresh clone starts warm."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named).expanduser().resolve() if named else Path.home() / ".cache/tuning-operator/testbed"


@contextmanager
def locked(name: str, timeout: float = BUILD_TIMEOUT) -> Iterator[None]:
    """Hold the lock `name`, so that parallel workers build each thing once; a crash releases it."""
    folder = cache_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout
    with (folder / name).open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TestbedError(f"another process has held {file.name} for {timeout:.0f} s") from None
                time.sleep(0.1)
        yield
