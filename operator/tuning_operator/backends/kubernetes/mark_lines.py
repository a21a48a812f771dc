"""A mark of a curve as one line of text, as a Trial's status holds it.

The status of a Trial is written anew with every mark. An API server takes an object apart field by field, several times
for each write, so fifty marks of eight fields would cost it more than all else of that write; fifty texts do not
(`python -m benchmarks.status_write`). A line is columns with a blank between them, for people and for `awk`.

======  ==============================================================================
column  what
======  ==============================================================================
1       number of the mark, 1 to 50
2       the loss there, lower is better
3, 4    least and mean loss up to there
5       learning rate in force, ``-`` where the trial does not say
6       attempt, from 1
7       position in the job's log
8       when it was recorded, in seconds since the epoch
======  ==============================================================================
"""

from __future__ import annotations

from typing import Final

from tuning_operator.backends.kubernetes.record_fields import number_text
from tuning_operator.curves.marks import MarkValue
from tuning_operator.engine.events import MarkReached

_UNKNOWN: Final = "-"


def write_mark(event: MarkReached) -> str:
    """Return a mark as a line that reads back as the very same mark."""
    at = event.at
    rate = _UNKNOWN if at.learning_rate is None else number_text(at.learning_rate)
    losses = " ".join(map(number_text, (at.value, at.best, at.mean)))
    return f"{at.mark} {losses} {rate} {event.attempt} {event.sequence} {number_text(event.time)}"


def read_mark(line: str, *, trial: int) -> MarkReached:
    """Undo `write_mark`.

    Raises:
        ValueError: It is no such line.
    """
    mark, value, best, mean, rate, attempt, sequence, time = line.split(" ")
    return MarkReached(
        sequence=int(sequence),
        time=float(time),
        trial=trial,
        attempt=int(attempt),
        at=MarkValue(
            mark=int(mark),
            value=float(value),
            best=float(best),
            mean=float(mean),
            learning_rate=None if rate == _UNKNOWN else float(rate),
        ),
    )
