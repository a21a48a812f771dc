"""The final word of a trial: a small JSON in its termination message.

Scraping can miss the last values and a finished process answers no more; this channel loses nothing. Kubernetes cuts
a termination message at 4,096 bytes, so the result is bounded: the newest evaluations come with it as far as there is
room, some sixty of one metric.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from trial_protocol.errors import ProtocolError
from trial_protocol.history import HistoryRecord
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
    history: tuple[HistoryRecord, ...] = ()
    """The newest evaluations of this process, oldest first: nobody may have read them before it ended."""

    def to_json(self) -> str:
        """Return at most `MAX_RESULT_BYTES` of ASCII JSON: a long message is cut, then the last values are left out.

        What room is left the newest evaluations get that have the same metrics as the very newest.

        Raises:
            ProtocolError: It is too long without any message or values; the checkpoint is to blame.
        """
        message, values = self.message, {name: encode_number(value) for name, value in self.values.items()}
        while len(text := self._render(message, values, {})) > MAX_RESULT_BYTES:
            if message:
                # A character takes at most 12 bytes, so this never cuts more than it must.
                message = message[: -math.ceil((len(text) - MAX_RESULT_BYTES) / 12)]
            elif values:
                values.popitem()
            else:
                raise ProtocolError(f"a result has at most {MAX_RESULT_BYTES} bytes; shorten its checkpoint")
        history = self._newest(MAX_RESULT_BYTES - len(text))
        return self._render(message, values, history) if history else text

    def _newest(self, room: int) -> dict[str, Any]:
        """Return as many of the newest evaluations as have room, as a table."""
        if not self.history:
            return {}
        columns = list(self.history[-1].values)
        table: dict[str, Any] = {"columns": columns, "rows": []}
        room -= len(json.dumps({"history": table}))
        for record in reversed(self.history):
            if list(record.values) != columns:
                break
            rate = None if record.learning_rate is None else encode_number(record.learning_rate)
            values = [encode_number(value) for value in record.values.values()]
            row = [record.step, record.attempt, record.time, rate, record.revision, *values]
            room -= len(json.dumps(row)) + 2
            if room < 0:
                break
            table["rows"].insert(0, row)
        return {"history": table} if table["rows"] else {}

    def _render(self, message: str, values: Mapping[str, float | str], more: Mapping[str, Any]) -> str:
        return json.dumps(
            {
                "outcome": self.outcome.value,
                "step": self.step,
                "attempt": self.attempt,
                "values": values,
                "checkpoint": self.checkpoint,
                "message": message,
                "revision": self.revision,
                **more,
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
                history=_history(parsed.get("history") or {}),
            )
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ProtocolError(f"not a trial result ({error}): {text[:120]!r}") from None


def _history(table: Mapping[str, Any]) -> tuple[HistoryRecord, ...]:
    columns = [str(name) for name in table.get("columns", ())]
    return tuple(
        HistoryRecord(
            step=int(step),
            attempt=int(attempt),
            time=float(time),
            values=dict(zip(columns, map(decode_number, values), strict=True)),
            learning_rate=None if rate is None else decode_number(rate),
            revision=int(revision),
        )
        for step, attempt, time, rate, revision, *values in table.get("rows", ())
    )
