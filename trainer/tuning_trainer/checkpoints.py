"""Checkpoints that are whole or not there.

Each is one file: a line with the SHA-256 of the rest, then ``torch.save``'s bytes, written beside its final name,
forced to the disk and renamed. A reader takes the newest whose hash is right, so neither a process killed while
writing nor a damaged file is ever continued from. Without a directory the same bytes stay in memory, so that a running
trial can be restored even where it keeps no files.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trial_protocol.errors import ConfigurationError

_NAME = re.compile(r"(?P<sequence>\d{6})-step-(?P<step>\d+)(?P<good>-good)?\.checkpoint")
_KEPT = 2
"""Newest checkpoints kept beside the last good one: should the newest turn out damaged, there is one more."""


@dataclass(frozen=True, order=True)
class _Entry:
    sequence: int
    step: int
    good: bool

    @property
    def name(self) -> str:
        return f"{self.sequence:06d}-step-{self.step}{'-good' if self.good else ''}.checkpoint"


class Checkpoints:
    """The checkpoints of one trial.

    A number that only rises orders them, not the step: after a restore the steps start over from an earlier one.
    """

    def __init__(self, directory: Path | None, *, writes: bool = True) -> None:
        """Open the store; `writes` is False on ranks that leave the shared files to the first one."""
        self._directory = directory
        self._writes = writes or directory is None
        self._memory: dict[str, bytes] = {}
        if directory is not None and self._writes:
            directory.mkdir(parents=True, exist_ok=True)
            for leftover in directory.glob("*.checkpoint.part"):
                leftover.unlink(missing_ok=True)

    def save(self, state: Mapping[str, Any], *, step: int, good: bool) -> None:
        """Keep `state`, and remove the oldest ones that nothing needs any more."""
        if not self._writes:
            return
        entries = self._entries()
        entry = _Entry(entries[-1].sequence + 1 if entries else 1, step, good)
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        payload = buffer.getbuffer()
        header = hashlib.sha256(payload).hexdigest().encode() + b"\n"
        self._write(entry.name, header, payload)
        entries.append(entry)
        needed = set(entries[-_KEPT:]) | set([one for one in entries if one.good][-1:])
        for old in set(entries) - needed:
            self._remove(old.name)

    def location(self, *, good: bool) -> str:
        """Return the path of the newest (good) checkpoint; empty when there is none or it is in memory."""
        entries = [entry for entry in self._entries() if entry.good or not good]
        return str(self._directory / entries[-1].name) if entries and self._directory is not None else ""

    def latest(self) -> dict[str, Any] | None:
        """Return the newest state that is whole, or None."""
        return self._newest(self._entries())

    def last_good(self) -> dict[str, Any] | None:
        """Return the newest whole state whose loss was finite and not above that of the untrained model, or None."""
        return self._newest([entry for entry in self._entries() if entry.good])

    def _newest(self, entries: list[_Entry]) -> dict[str, Any] | None:
        for entry in reversed(entries):
            header, _, payload = self._read(entry.name).partition(b"\n")
            if hashlib.sha256(payload).hexdigest().encode() == header:
                state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
                return state
            print(f"The checkpoint {entry.name} is damaged; an older one is used.", file=sys.stderr)  # noqa: T201
        return None

    def _entries(self) -> list[_Entry]:
        if self._directory is None:
            names = list(self._memory)
        else:
            names = [path.name for path in self._directory.iterdir()] if self._directory.is_dir() else []
        matches = (_NAME.fullmatch(name) for name in names)
        return sorted(_Entry(int(m["sequence"]), int(m["step"]), m["good"] is not None) for m in matches if m)

    def _read(self, name: str) -> bytes:
        return self._memory[name] if self._directory is None else (self._directory / name).read_bytes()

    def _write(self, name: str, header: bytes, payload: memoryview) -> None:
        if self._directory is None:
            self._memory[name] = header + payload
            return
        final = self._directory / name
        partial = final.with_name(name + ".part")
        with partial.open("wb") as file:
            file.write(header)
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(final)
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _remove(self, name: str) -> None:
        if self._directory is None:
            del self._memory[name]
        else:
            (self._directory / name).unlink(missing_ok=True)


def directory_of(uri: str) -> Path | None:
    """Return the folder that a checkpoint URI names; None for an empty one.

    Raises:
        ConfigurationError: The URI is of a kind that this trainer cannot write.
    """
    if not uri:
        return None
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return Path(uri)
    if scheme == "file":
        return Path(rest)
    raise ConfigurationError(
        f"This trainer writes checkpoints to a folder, not to {scheme}://;"
        " mount the bucket as a volume and name its path."
    )
