"""The log of a job, spread over its objects, and put together again.

=========================================  =====================================================================
record                                     where
=========================================  =====================================================================
``TrialProposed``                          the Trial's spec: it exists because it was proposed
a decision about a trial                   ``spec.decisions``, written together with what follows from it
``AttemptStarted``, ``MarkReached``,       the Trial's status
``AlarmRaised``, ``TrialEnded``
everything about the whole job             ``status.records`` of the TuningJob
=========================================  =====================================================================

Objects are bounded, so not every record is kept for ever: a mark that a later attempt has reached again, attempts
between the first and the newest ones, old alarms. None of them changes what follows: the fold ignores them already.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tuning_operator.api import record as bounds
from tuning_operator.api.parameters import Parameter, ParameterType
from tuning_operator.api.trial import StopReason
from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.backends.kubernetes.resources import Object
from tuning_operator.curves.marks import MarkValue
from tuning_operator.engine.decisions import Action, Decision
from tuning_operator.engine.events import (
    AlarmRaised,
    AttemptStarted,
    EndReason,
    Event,
    JobCancelled,
    JobResumed,
    JobStarted,
    JobSuspended,
    LimitReached,
    MarkReached,
    Role,
    SpaceExhausted,
    TrialEnded,
    TrialProposed,
)
from tuning_operator.engine.identity import fixed_parts
from tuning_operator.engine.wanted import Wanted
from tuning_operator.errors import LogError
from tuning_operator.schema import Mode, Scalar

_BARE: Final[Mapping[str, type[Event]]] = {
    kind.__name__: kind for kind in (SpaceExhausted, JobSuspended, JobResumed, JobCancelled)
}

_STOPS: Final = frozenset(reason.value for reason in StopReason)


class TrialLog:
    """The records of one trial, as its object holds them.

    Attributes:
        written: The spec as it was last acknowledged by the API server; None before that.
    """

    __slots__ = ("alarms", "attempts", "decisions", "end", "marks", "proposed", "written")

    def __init__(self, proposed: TrialProposed) -> None:
        self.proposed = proposed
        self.decisions: list[Decision] = []
        self.attempts: list[AttemptStarted] = []
        self.marks: list[MarkReached] = []
        self.alarms: list[AlarmRaised] = []
        self.end: TrialEnded | None = None
        self.written: Object | None = None

    @classmethod
    def read(cls, body: Object, spec: TuningJobSpec) -> TrialLog:
        """Return the records in a Trial object.

        Raises:
            LogError: A field cannot be read; the text names the object.
        """
        try:
            return cls._read(body, {parameter.name: parameter for parameter in spec.parameters})
        except (KeyError, TypeError, ValueError) as error:
            name = body.get("metadata", {}).get("name", "?")
            raise LogError(f"the records in trial {name} cannot be read ({type(error).__name__}: {error})") from None

    @classmethod
    def _read(cls, body: Object, parameters: Mapping[str, Parameter]) -> TrialLog:
        spec, status = body["spec"], body.get("status") or {}
        number = spec["number"]
        log = cls(
            TrialProposed(
                sequence=spec.get("sequence", 0),
                time=_float(spec.get("proposedAt", "0.0")),
                trial=number,
                parameters={name: _typed(value, parameters.get(name)) for name, value in spec["parameters"].items()},
                seed=spec["seed"],
                role=Role(spec.get("role", Role.SEARCH)),
                audited=spec.get("audited", False),
                candidate=spec.get("candidate"),
            )
        )
        log.decisions = [_read_decision(one, number) for one in spec.get("decisions") or ()]
        log.attempts = [
            AttemptStarted(sequence=one["sequence"], time=_float(one["time"]), trial=number, attempt=one["attempt"])
            for one in status.get("attempts") or ()
        ]
        log.marks = [_read_mark(one, number) for one in status.get("marks") or ()]
        log.alarms = [
            AlarmRaised(
                sequence=one["sequence"],
                time=_float(one["time"]),
                trial=number,
                attempt=one["attempt"],
                rule=one["rule"],
                alarm=one["alarm"],
                fraction=_float(one["fraction"]),
                numbers=_read_numbers(one.get("numbers")),
            )
            for one in status.get("alarms") or ()
        ]
        if end := status.get("end"):
            log.end = _read_end(end, number)
        log.written = spec
        return log

    def add(self, record: Event) -> None:
        """Take in a record about this trial; what it makes superfluous is dropped."""
        match record:
            case Decision():
                self.decisions = [*self.decisions, record][-bounds.MAX_DECISIONS :]
            case AttemptStarted():
                self.attempts.append(record)
                if len(self.attempts) > bounds.MAX_ATTEMPTS:
                    del self.attempts[1]
            case MarkReached():
                kept = [one for one in self.marks if one.at.mark < record.at.mark]
                self.marks = [*kept, record]
            case AlarmRaised():
                self.alarms = [*self.alarms, record][-bounds.MAX_ALARMS :]
            case TrialEnded():
                self.end = record
            case _:
                raise LogError(f"a {type(record).__name__} does not belong to a trial")

    def records(self) -> list[Event]:
        """Return all records, in no particular order."""
        end = [] if self.end is None else [self.end]
        return [self.proposed, *self.decisions, *self.attempts, *self.marks, *self.alarms, *end]

    def spec(self, *, job: str, wanted: Wanted) -> Object:
        """Return the spec of the Trial: the proposal, the decisions, and what follows from them."""
        proposed = self.proposed
        out: Object = {
            "job": job,
            "number": proposed.trial,
            "parameters": dict(proposed.parameters),
            "seed": proposed.seed,
            "role": str(proposed.role),
            "audited": proposed.audited,
            "sequence": proposed.sequence,
            "proposedAt": number_text(proposed.time),
            "desired": str(wanted.desired),
            "control": {
                "revision": wanted.control.revision,
                "learningRateScale": float(wanted.control.scale),
                "beginDecay": wanted.control.begin_decay,
                "restore": wanted.control.restore,
            },
        }
        if proposed.candidate is not None:
            out["candidate"] = proposed.candidate
        if wanted.reason is not None and wanted.reason.value in _STOPS:
            out["stopReason"] = str(wanted.reason)
        if self.decisions:
            out["decisions"] = [_write_decision(one, of_trial=True) for one in self.decisions]
        return out

    def status(self) -> Object:
        """Return the recorded part of the Trial's status."""
        out: Object = {"marks": [_write_mark(one) for one in self.marks]}
        if self.attempts:
            out["attempts"] = [
                {"attempt": one.attempt, "sequence": one.sequence, "time": number_text(one.time)}
                for one in self.attempts
            ]
        if self.alarms:
            out["alarms"] = [
                {
                    "sequence": one.sequence,
                    "time": number_text(one.time),
                    "attempt": one.attempt,
                    "rule": one.rule,
                    "alarm": one.alarm,
                    "fraction": number_text(one.fraction),
                    "numbers": _write_numbers(one.numbers),
                }
                for one in self.alarms
            ]
        if self.end is not None:
            out["end"] = _write_end(self.end)
        return out


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


def number_text(value: float) -> str:
    """Return a number as text that reads back as the very same number."""
    value = float(value)
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _float(text: str) -> float:
    return float(text)  # It knows NaN and Infinity by these names.


def _typed(value: Scalar, parameter: Parameter | None) -> Scalar:
    """Undo what JSON does to numbers: an API server gives 1.0 back as 1."""
    if parameter is None or isinstance(value, bool | str):
        return value
    if parameter.type is ParameterType.FLOAT:
        return float(value)
    for choice in parameter.choices or ():
        if not isinstance(choice, bool) and choice == value:
            return choice
    return value


def _write_numbers(numbers: Mapping[str, float]) -> dict[str, str]:
    return {name: number_text(value) for name, value in list(numbers.items())[: bounds.MAX_NUMBERS]}


def _read_numbers(numbers: Mapping[str, str] | None) -> dict[str, float]:
    return {name: _float(value) for name, value in (numbers or {}).items()}


def _write_mark(event: MarkReached) -> Object:
    at = event.at
    out: Object = {
        "mark": at.mark,
        "value": number_text(at.value),
        "best": number_text(at.best),
        "mean": number_text(at.mean),
        "attempt": event.attempt,
        "sequence": event.sequence,
        "time": number_text(event.time),
    }
    if at.learning_rate is not None:
        out["learningRate"] = number_text(at.learning_rate)
    return out


def _read_mark(mark: Mapping[str, Any], trial: int) -> MarkReached:
    rate = mark.get("learningRate")
    return MarkReached(
        sequence=mark["sequence"],
        time=float(mark["time"]),
        trial=trial,
        attempt=mark["attempt"],
        at=MarkValue(
            mark=mark["mark"],
            value=float(mark["value"]),
            best=float(mark["best"]),
            mean=float(mark["mean"]),
            learning_rate=None if rate is None else float(rate),
        ),
    )


def _write_end(end: TrialEnded) -> Object:
    out: Object = {
        "sequence": end.sequence,
        "time": number_text(end.time),
        "attempt": end.attempt,
        "reason": str(end.reason),
        "fraction": number_text(end.fraction),
        "computeSeconds": number_text(end.compute_seconds),
        "gpuSeconds": number_text(end.gpu_seconds),
        "checkpoint": end.checkpoint[: bounds.MAX_CHECKPOINT],
        "message": end.message[: bounds.MAX_MESSAGE],
    }
    if end.value is not None:
        out["value"] = number_text(end.value)
    return out


def _read_end(end: Mapping[str, Any], trial: int) -> TrialEnded:
    return TrialEnded(
        sequence=end["sequence"],
        time=_float(end["time"]),
        trial=trial,
        attempt=end["attempt"],
        reason=EndReason(end["reason"]),
        value=None if end.get("value") is None else _float(end["value"]),
        fraction=_float(end["fraction"]),
        compute_seconds=_float(end["computeSeconds"]),
        gpu_seconds=_float(end.get("gpuSeconds", "0.0")),
        checkpoint=end.get("checkpoint", ""),
        message=end.get("message", ""),
    )


def _write_decision(decision: Decision, *, of_trial: bool) -> Object:
    out: Object = {
        "sequence": decision.sequence,
        "because": decision.because,
        "time": number_text(decision.time),
        "rule": decision.rule,
        "action": str(decision.action),
        "mode": str(decision.mode),
        "enforced": decision.enforced,
        "sentence": decision.sentence[: bounds.MAX_SENTENCE],
        "fraction": number_text(decision.fraction),
        "inputs": _write_numbers(decision.inputs),
        "compared": decision.compared,
    }
    if decision.reason:
        out["reason"] = decision.reason
    if decision.saved:
        out["saved"] = number_text(decision.saved)
    if decision.action in (Action.CHANGE_LEARNING_RATE, Action.BEGIN_DECAY):
        out |= {
            "revision": decision.revision,
            "scale": number_text(decision.scale),
            "beginDecay": decision.begin_decay,
            "restore": decision.restore,
            "quiet": number_text(decision.quiet),
        }
    if not of_trial and decision.trial is not None:
        out["trial"] = decision.trial
    return out


def _read_decision(found: Mapping[str, Any], trial: int | None) -> Decision:
    return Decision(
        sequence=found["sequence"],
        time=_float(found["time"]),
        because=found["because"],
        trial=found.get("trial", trial),
        rule=found["rule"],
        action=Action(found["action"]),
        mode=Mode(found["mode"]),
        enforced=found["enforced"],
        sentence=found["sentence"],
        reason=found.get("reason", ""),
        fraction=_float(found.get("fraction", "0.0")),
        inputs=_read_numbers(found.get("inputs")),
        compared=found.get("compared", 0),
        saved=_float(found.get("saved", "0.0")),
        revision=found.get("revision", 0),
        scale=_float(found.get("scale", "1.0")),
        begin_decay=found.get("beginDecay", False),
        restore=found.get("restore", False),
        quiet=_float(found.get("quiet", "0.0")),
    )


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
            out["decision"] = _write_decision(record, of_trial=False)
        case _ if type(record).__name__ not in _BARE:
            raise LogError(f"a {type(record).__name__} does not belong to the whole job")
    return out


def _read_job_record(found: Mapping[str, Any], spec: TuningJobSpec) -> Event:
    kind, sequence, time = found["kind"], found["sequence"], _float(found["time"])
    match kind:
        case "JobStarted":
            return JobStarted(sequence=sequence, time=time, fixed=_recognise(found.get("fixed") or {}, spec))
        case "LimitReached":
            return LimitReached(sequence=sequence, time=time, limit=found["limit"], used=_float(found["used"]))
        case "Decision":
            return _read_decision(found["decision"], None)
    return _BARE[kind](sequence=sequence, time=time)


def _fingerprint(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _recognise(fixed: Mapping[str, str], spec: TuningJobSpec) -> dict[str, str]:
    """Return the parts in full where they are as they were; the fingerprint stays where they are not."""
    now = fixed_parts(spec)
    return {name: now[name] if _fingerprint(now.get(name, "")) == print_ else print_ for name, print_ in fixed.items()}
