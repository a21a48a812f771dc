"""Control messages between the moment they arrive and the moment the training loop has them in force."""

from __future__ import annotations

import threading
from dataclasses import replace

from trial_protocol.control import ControlMessage, verify_control


class Controls:
    """Takes messages in from the network, hands them out at a step boundary; thread-safe.

    A message is *pending* from its arrival until the next step boundary, then *in force*. A newer message replaces a
    pending one, but a request to restore is an event and not a state, so the newer message inherits it.
    """

    def __init__(self, *, trial: str, public_key: str) -> None:
        self._trial = trial
        self._public_key = public_key
        self._lock = threading.Lock()
        self._pending: ControlMessage | None = None
        self._undelivered: ControlMessage | None = None
        self._in_force: ControlMessage | None = None

    @property
    def in_force(self) -> ControlMessage | None:
        """What the loop trains with."""
        return self._in_force

    @property
    def received_revision(self) -> int:
        """Newest revision taken in, whether in force yet or not."""
        newest = self._pending or self._in_force
        return newest.revision if newest else 0

    def receive(self, token: str, *, now: float | None) -> int:
        """Check a token and keep its message for the next step boundary; return its revision.

        Raises:
            ControlRefused: It is not to be applied.
        """
        with self._lock:
            message = verify_control(
                token,
                public_key=self._public_key,
                trial=self._trial,
                current_revision=self.received_revision,
                now=now,
            )
            self._pending = _newer(self._pending, message)
            return message.revision

    def apply(self) -> ControlMessage | None:
        """Put the pending message in force; return it if there was one. It stays to be delivered."""
        if self._pending is None:
            return None
        with self._lock:
            applied, self._pending = self._pending, None
            self._in_force = applied
            self._undelivered = _newer(self._undelivered, applied)
            return applied

    def deliver(self) -> ControlMessage | None:
        """Hand out what was put in force and not handed out yet, once."""
        if self._undelivered is None:
            return None
        with self._lock:
            delivered, self._undelivered = self._undelivered, None
            return delivered

    def restore(self, message: ControlMessage) -> None:
        """Put the message of a checkpoint in force, unless a newer one is; drop pending ones that are not newer."""
        with self._lock:
            if self._in_force is None or message.revision > self._in_force.revision:
                self._in_force = message
            if self._pending is not None and self._pending.revision <= self._in_force.revision:
                self._pending = None


def _newer(older: ControlMessage | None, newer: ControlMessage) -> ControlMessage:
    return replace(newer, restore=newer.restore or (older is not None and older.restore))
