"""The append-only log of one run: what the engine is rebuilt from.

A line is written, forced to the disk, and only then acted on. A process that is killed in the middle of a line leaves
a line without its end, which has never been acted on; the next writer cuts it off.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tuning_operator.engine.codec import from_lines, to_line
from tuning_operator.engine.events import Event
from tuning_operator.errors import BackendError, LogError


def read_log(path: Path) -> list[Event]:
    """Return every whole record; a last line without its end is left out. No file is an empty log.

    Raises:
        LogError: A line cannot be read; the text names it.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LogError(f"{path} cannot be read: {error.strerror}") from None
    return from_lines(content.split(b"\n")[:-1], source=str(path))


class EventLog:
    """The writer of a log; there is at most one, which the lock of the run directory sees to.

    Attributes:
        torn: What was cut off because an earlier writer was killed in the middle of a line; mostly empty.

    Raises:
        BackendError: The file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path: Final = path
        self.torn = b""
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            self._cut_torn_line()
            sync_directory(path.parent)
        except OSError as error:
            raise BackendError(f"{path} cannot be opened for writing: {error.strerror}") from None

    def append(self, records: Iterable[Event]) -> None:
        """Write records and force them to the disk; all of them are there afterwards, or none.

        Raises:
            BackendError: They could not be written; the log is as it was.
        """
        lines = b"".join(to_line(record).encode() + b"\n" for record in records)
        if not lines:
            return
        try:
            written = 0
            while written < len(lines):
                written += os.write(self._file, lines[written:])
            os.fdatasync(self._file) if hasattr(os, "fdatasync") else os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._size)
            raise BackendError(
                f"{self._path} cannot be written: {error.strerror}; what was recorded before is safe: "
                "make room and continue with --resume"
            ) from None
        self._size += len(lines)

    def close(self) -> None:
        """Close the file; everything is on the disk already."""
        os.close(self._file)

    def _cut_torn_line(self) -> None:
        content = self._path.read_bytes()
        self._size = content.rfind(b"\n") + 1
        self.torn = content[self._size :]
        if self.torn:
            os.ftruncate(self._file, self._size)
            os.fsync(self._file)


def sync_directory(path: Path) -> None:
    """Force the entries of a directory to the disk, so that a new file survives a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace a file in one step; a reader sees the old text or the new one.

    Raises:
        BackendError: It cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise BackendError(
            f"{path} cannot be written: {error.strerror}; make room and continue with --resume"
        ) from None
