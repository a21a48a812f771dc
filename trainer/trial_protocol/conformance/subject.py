"""The trial under test, and how long to wait for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from trial_protocol.conformance.client import TrialClient
from trial_protocol.control import ControlMessage, sign_control

LIFETIME: Final = 300.0
"""Seconds for which the messages of the checks are valid."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The trial under test.

    Attributes:
        patience: Seconds to wait for a training step or for a control message to come into force.
    """

    client: TrialClient
    trial: str
    private_key: str
    objective: str | None
    patience: float
    clock: Callable[[], float]
    sleep: Callable[[float], None]

    def wait(self, condition: Callable[[], bool]) -> bool:
        """Look until `condition` holds or patience ends."""
        deadline = self.clock() + self.patience
        while not condition():
            if self.clock() >= deadline:
                return False
            self.sleep(0.05)
        return True

    def token(self, message: ControlMessage, *, age: float = 0.0) -> str:
        """Sign `message` as the operator would have `age` seconds ago."""
        return sign_control(message, private_key=self.private_key, now=self.clock() - age, lifetime=LIFETIME)
