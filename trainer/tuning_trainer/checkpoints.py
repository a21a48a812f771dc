"""Checkpoints that are whole or not there.

Each is a line with the SHA-256 of the rest, then ``torch.save``'s bytes. A reader takes the newest whose hash is right,
so neither a process killed while writing nor a damaged file is ever continued from.
"""

from __future__ import annotations

import hashlib
import io
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from tuning_trainer.checkpoint_stores import MemoryStore, Store

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

    def __init__(self, store: Store, *, writes: bool = True) -> None:
        """Keep them in `store`; `writes` is False on ranks that leave a shared one to the first."""
        self._store = store
        self._writes = writes or isinstance(store, MemoryStore)

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
        self._store.write(entry.name, header, payload)
        entries.append(entry)
        needed = set(entries[-_KEPT:]) | set([one for one in entries if one.good][-1:])
        for old in set(entries) - needed:
            self._store.remove(old.name)

    def location(self, *, good: bool) -> str:
        """Return where the newest (good) checkpoint is; empty when there is none or it is in memory."""
        entries = [entry for entry in self._entries() if entry.good or not good]
        return self._store.location(entries[-1].name) if entries else ""

    def latest(self) -> dict[str, Any] | None:
        """Return the newest state that is whole, or None."""
        return self._newest(self._entries())

    def last_good(self) -> dict[str, Any] | None:
        """Return the newest whole state whose loss was finite and not above that of the untrained model, or None."""
        return self._newest([entry for entry in self._entries() if entry.good])

    def _newest(self, entries: list[_Entry]) -> dict[str, Any] | None:
        for entry in reversed(entries):
            header, _, payload = self._store.read(entry.name).partition(b"\n")
            if hashlib.sha256(payload).hexdigest().encode() == header:
                state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
                return state
            print(f"The checkpoint {entry.name} is damaged; an older one is used.", file=sys.stderr)  # noqa: T201
        return None

    def _entries(self) -> list[_Entry]:
        matches = (_NAME.fullmatch(name) for name in self._store.names())
        return sorted(_Entry(int(m["sequence"]), int(m["step"]), m["good"] is not None) for m in matches if m)
