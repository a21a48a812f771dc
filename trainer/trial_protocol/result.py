"""The final word of a trial: a small JSON in its termination message.

Scraping can miss the last value and a finished process answers no more; this channel loses nothing. Kubernetes cuts
a termination message at 4,096 bytes, so the result is bounded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from trial_protocol.errors import ProtocolError
from trial_protocol.numbers import decode_number, encode_number

MAX_RESULT_BYTES = 4096


class Outcome(StrEnum):
    """How the trial itself saw its end."""

    COMPLETED = "Completed"
    """Trained to the end of its schedule."""
    INTERRUPTED = "Interrupted"
    """Asked to stop (SIGTERM) and wrote a checkpoint."""
    NON_FINITE = "NonFinite"
    """The loss or the weights became NaN or infinite and could not be restored."""
    CONFIGURATION_ERROR = "ConfigurationError"
    """The parameters cannot work."""
    OUT_OF_MEMORY = "OutOfMemory"
    FAILED = "Failed"


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """What was reached, and where the weights are."""

    outcome: Outcome
    step: int = 0
    attempt: int = 1
    values: Mapping[str, float] = field(default_factory=dict)
    checkpoint: str = ""
    message: str = ""
    revision: int = 0

    def to_json(self) -> str:
        """Return at most `MAX_RESULT_BYTES` of ASCII JSON: a long message is cut, then the last values are left out.

        Raises:
            ProtocolError: It is too long without any message or values; the checkpoint is to blame.
        """
        message, values = self.message, {name: encode_number(value) for name, value in self.values.items()}
        while len(text := self._render(message, values)) > MAX_RESULT_BYTES:
            if message:
                # A character takes at most 12 bytes, so this never cuts more than it must.
                message = message[: -math.ceil((len(text) - MAX_RESULT_BYTES) / 12)]
            elif values:
                values.popitem()
            else:
                raise ProtocolError(f"a result has at most {MAX_RESULT_BYTES} bytes; shorten its checkpoint")
        return text

    def _render(self, message: str, values: Mapping[str, float | str]) -> str:
        return json.dumps(
            {
                "outcome": self.outcome.value,
                "step": self.step,
                "attempt": self.attempt,
                "values": values,
                "checkpoint": self.checkpoint,
                "message": message,
                "revision": self.revision,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> TrialResult:
        """Parse a termination message.

        Raises:
            ProtocolError: Not a result (a program of someone else may write anything there).
        """
        try:
            parsed = json.loads(text)
            return cls(
                outcome=Outcome(parsed["outcome"]),
                step=int(parsed.get("step", 0)),
                attempt=int(parsed.get("attempt", 1)),
                values={str(name): decode_number(value) for name, value in parsed.get("values", {}).items()},
                checkpoint=str(parsed.get("checkpoint", "")),
                message=str(parsed.get("message", "")),
                revision=int(parsed.get("revision", 0)),
            )
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ProtocolError(f"not a trial result ({error}): {text[:120]!r}") from None
