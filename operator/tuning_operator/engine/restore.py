"""From a log to the state it describes, as quickly as possible and without judging again.

What was judged is known by its decisions; where no rule said anything there is no trace. But a process records an
event, or the marks that one look brought of a trial, judges that, records the decisions, and only then records what is
next of the same trial. So of every trial only the newest alarm, or the marks with the newest time, can be waiting for
judgement. Judging them again at their place in the log, against the state of that place, gives the decisions that were
lost, and only repeats those that were not: a decision has the number of its event plus its place, so those already in
the log are recognised.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.engine.collector import collector_paused
from tuning_operator.engine.decisions import Decision
from tuning_operator.engine.events import AlarmRaised, Event, MarkReached, TrialEnded
from tuning_operator.engine.finish import finish_decision
from tuning_operator.engine.judge import Judge
from tuning_operator.engine.state import Job
from tuning_operator.errors import LogError


@dataclass(frozen=True, kw_only=True)
class Folded:
    """A log, taken in.

    Attributes:
        pending: Decisions that the log lacks, already folded, in order.
        newest: Greatest sequence number.
    """

    job: Job
    judge: Judge
    pending: list[Decision]
    newest: int


def fold_log(spec: TuningJobSpec, records: Iterable[Event]) -> Folded:
    """Fold all records.

    Raises:
        LogError: The records contradict each other or belong to another job.
    """
    with collector_paused():
        return _fold(spec, records)


def _fold(spec: TuningJobSpec, records: Iterable[Event]) -> Folded:
    ordered = in_order(records)
    job, judge = Job(spec), Judge(spec)
    waiting, written = _waiting(ordered), {one.sequence for one in ordered if type(one) is Decision}
    pending: list[Decision] = []
    fold = job.fold
    newest: Event | None = None
    for record in ordered:
        fold(record)
        if type(record) is Decision:
            continue
        newest = record
        if record.sequence in waiting:
            for decision in judge.judge(job, record):
                if decision.sequence not in written:
                    fold(decision)
                    pending.append(decision)
    if newest is not None:
        last = finish_decision(job, newest)
        if last is not None:
            fold(last)
            pending.append(last)
    if pending:
        job.ledger.sort(key=attrgetter("sequence"))
    last_sequence = ordered[-1].sequence if ordered else 0
    return Folded(
        job=job, judge=judge, pending=pending, newest=max([last_sequence, *(one.sequence for one in pending)])
    )


def in_order(records: Iterable[Event]) -> list[Event]:
    """Return the records by sequence number, each once.

    Raises:
        LogError: Two different records have the same number: two processes wrote the same log.
    """
    ordered = sorted(records, key=attrgetter("sequence"))
    found: list[Event] = []
    newest = -math.inf
    for record in ordered:
        if record.sequence != newest:
            newest = record.sequence
            found.append(record)
        elif repr(record) != repr(found[-1]):
            raise LogError(
                f"two different records have the sequence number {record.sequence} ({type(found[-1]).__name__} and "
                f"{type(record).__name__}); two processes wrote to this log, so it cannot be continued"
            )
    return found


def _waiting(ordered: Sequence[Event]) -> set[int]:
    """Return the newest alarm, or the newest marks of one time, of every trial that has not ended."""
    newest: dict[int, MarkReached | AlarmRaised] = {}
    over: set[int] = set()
    waiting: set[int] = set()
    for record in reversed(ordered):
        if isinstance(record, TrialEnded):
            over.add(record.trial)
        elif isinstance(record, MarkReached | AlarmRaised) and record.trial not in over:
            last = newest.setdefault(record.trial, record)
            if record is last or (type(record) is type(last) is MarkReached and record.time == last.time):
                waiting.add(record.sequence)
            else:
                over.add(record.trial)
    return waiting
