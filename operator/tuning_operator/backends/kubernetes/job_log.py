"""The records of the whole job, as ``status.records`` of the TuningJob holds them; `trial_log` has those of trials."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tuning_operator.api import record as bounds
from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.backends.kubernetes.record_fields import number_text, read_decision, write_decision
from tuning_operator.backends.kubernetes.resources import Object
from tuning_operator.engine.decisions import Action, Decision
from tuning_operator.engine.events import (
    Event,
    JobCancelled,
    JobResumed,
    JobStarted,
    JobSuspended,
    LimitReached,
    SpaceExhausted,
)
from tuning_operator.engine.identity import fixed_parts
from tuning_operator.errors import LogError

_BARE: Final[Mapping[str, type[Event]]] = {
    kind.__name__: kind for kind in (SpaceExhausted, JobSuspended, JobResumed, JobCancelled)
}


class JobLog:
    """The records of the whole job, as ``status.records`` of the TuningJob holds them."""

    def __init__(self, records: Iterable[Event] = ()) -> None:
        self._records = list(records)

    @classmethod
    def read(cls, body: Object, spec: TuningJobSpec) -> JobLog:
        """Return the records in a TuningJob object.

        Raises:
            LogError: A field cannot be read.
        """
        found = (body.get("status") or {}).get("records") or ()
        try:
            return cls(_read_job_record(one, spec) for one in found)
        except (KeyError, TypeError, ValueError) as error:
            name = body.get("metadata", {}).get("name", "?")
            raise LogError(f"the records in TuningJob {name} cannot be read ({error})") from None

    def add(self, record: Event) -> None:
        """Take in a record.

        Beyond their bound the oldest suspensions are forgotten; their time then counts against ``budget.duration``.
        """
        self._records.append(record)
        if len(self._records) > bounds.MAX_JOB_RECORDS:
            pauses = (JobSuspended, JobResumed)
            oldest = next((at for at, one in enumerate(self._records) if isinstance(one, pauses)), 1)
            paired = isinstance(self._records[oldest], JobSuspended) and isinstance(
                self._records[oldest + 1], JobResumed
            )
            del self._records[oldest : oldest + (2 if paired else 1)]

    def records(self) -> list[Event]:
        """Return all records."""
        return list(self._records)

    def status(self) -> list[Object]:
        """Return ``status.records``."""
        return [_write_job_record(one) for one in self._records]


def belongs_to_job(record: Event) -> bool:
    """Return whether a record lies with the TuningJob and not with a Trial."""
    return getattr(record, "trial", None) is None or (isinstance(record, Decision) and record.action is Action.FINISH)


def _write_job_record(record: Event) -> Object:
    out: Object = {
        "kind": type(record).__name__,
        "sequence": record.sequence,
        "time": number_text(record.time),
    }
    match record:
        case JobStarted():
            out["fixed"] = {name: _fingerprint(text) for name, text in record.fixed.items()}
        case LimitReached():
            out |= {"limit": record.limit, "used": number_text(record.used)}
        case Decision():
            out["decision"] = write_decision(record, of_trial=False)
        case _ if type(record).__name__ not in _BARE:
            raise LogError(f"a {type(record).__name__} does not belong to the whole job")
    return out


def _read_job_record(found: Mapping[str, Any], spec: TuningJobSpec) -> Event:
    kind, sequence, time = found["kind"], found["sequence"], float(found["time"])
    match kind:
        case "JobStarted":
            return JobStarted(sequence=sequence, time=time, fixed=_recognise(found.get("fixed") or {}, spec))
        case "LimitReached":
            return LimitReached(sequence=sequence, time=time, limit=found["limit"], used=float(found["used"]))
        case "Decision":
            return read_decision(found["decision"], None)
    return _BARE[kind](sequence=sequence, time=time)


def _fingerprint(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _recognise(fixed: Mapping[str, str], spec: TuningJobSpec) -> dict[str, str]:
    """Return the parts in full where they are as they were; the fingerprint stays where they are not."""
    now = fixed_parts(spec)
    return {name: now[name] if _fingerprint(now.get(name, "")) == print_ else print_ for name, print_ in fixed.items()}
