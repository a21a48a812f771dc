"""What `GET /history?after=STEP` answers: every evaluation, so that a slow or restarted operator misses none.

The body is JSON lines in the order of reporting: one `HistoryRecord` a line, only records with ``step > after``. An
answer may be a page of the whole; its header ``Tuning-Next`` is the ``cursor`` that continues it, until a page is
empty. A trial that went back to a checkpoint reports steps again: to miss none, follow the cursor and not the step.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trial_protocol.errors import ProtocolError
from trial_protocol.numbers import decode_number, encode_number


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRecord:
    """One evaluation: everything that one call of `report` said, and what was in force at that step.

    Attributes:
        step: Optimizer steps done.
        attempt: Which start of the trial said it; a restarted trial may report a step again.
        time: Seconds since the epoch by the trial's clock.
        values: Reported metrics and axis counters (``train_step``, ``train_tokens``) by their names; may be non-finite.
        learning_rate: In force at this step, or None.
        revision: Newest control revision applied at this step; 0 before the first.
    """

    step: int
    attempt: int
    time: float
    values: Mapping[str, float]
    learning_rate: float | None = None
    revision: int = 0

    def to_json(self) -> str:
        """Return one line of the history, without its line end."""
        return json.dumps(
            {
                "step": self.step,
                "attempt": self.attempt,
                "time": self.time,
                "values": {name: encode_number(value) for name, value in self.values.items()},
                "learning_rate": None if self.learning_rate is None else encode_number(self.learning_rate),
                "revision": self.revision,
            }
        )

    @classmethod
    def from_json(cls, line: str | bytes) -> HistoryRecord:
        """Parse one line.

        Raises:
            ProtocolError: Not a record; the text says why.
        """
        try:
            parsed = json.loads(line)
            learning_rate = parsed.get("learning_rate")
            return cls(
                step=int(parsed["step"]),
                attempt=int(parsed.get("attempt", 1)),
                time=float(parsed.get("time", 0.0)),
                values={str(name): decode_number(value) for name, value in parsed["values"].items()},
                learning_rate=None if learning_rate is None else decode_number(learning_rate),
                revision=int(parsed.get("revision", 0)),
            )
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ProtocolError(f"not a history record ({error}): {line[:120]!r}") from None


def parse_history(body: str) -> list[HistoryRecord]:
    """Parse a whole answer; a last line that was cut off is an error like any other.

    Raises:
        ProtocolError: A line is not a record.
    """
    return [HistoryRecord.from_json(line) for line in body.split("\n") if line.strip()]


def render_history(records: Iterable[HistoryRecord]) -> str:
    """Return the body of an answer."""
    return "".join(record.to_json() + "\n" for record in records)
