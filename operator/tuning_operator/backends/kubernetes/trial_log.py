"""The records of one trial, as its object holds them; `job_log` has the rest of the log.

=========================================  =====================================================================
record                                     where
=========================================  =====================================================================
``TrialProposed``                          the Trial's spec: it exists because it was proposed
a decision about a trial                   ``spec.decisions``, written together with what follows from it
``AttemptStarted``, ``MarkReached``,       the Trial's status
``AlarmRaised``, ``TrialEnded``
=========================================  =====================================================================

The first start is told by the lifecycle part of the status as well, and gets no write of its own.

Objects are bounded, so not every record is kept for ever: a mark that a later attempt has reached again, attempts
between the first and the newest ones, old alarms. None of them changes what follows: the fold ignores them already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tuning_operator.api import record as bounds
from tuning_operator.api.parameters import Parameter, ParameterType
from tuning_operator.api.trial import StopReason
from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.backends.kubernetes.mark_lines import read_mark, write_mark
from tuning_operator.backends.kubernetes.record_fields import (
    number_text,
    read_decision,
    read_numbers,
    write_decision,
    write_numbers,
)
from tuning_operator.backends.kubernetes.resources import Object
from tuning_operator.backends.kubernetes.times import parse_time
from tuning_operator.engine.decisions import Action, Decision
from tuning_operator.engine.events import (
    AlarmRaised,
    AttemptStarted,
    EndReason,
    Event,
    MarkReached,
    Role,
    TrialEnded,
    TrialProposed,
)
from tuning_operator.engine.wanted import Wanted
from tuning_operator.errors import LogError
from tuning_operator.schema import Scalar

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
                time=float(spec.get("proposedAt", "0.0")),
                trial=number,
                parameters=_in_order(spec["parameters"], parameters),
                seed=spec["seed"],
                role=Role(spec.get("role", Role.SEARCH)),
                audited=spec.get("audited", False),
                candidate=spec.get("candidate"),
            )
        )
        log.decisions = [read_decision(one, number) for one in spec.get("decisions") or ()]
        log.attempts = [
            AttemptStarted(sequence=one["sequence"], time=float(one["time"]), trial=number, attempt=one["attempt"])
            for one in status.get("attempts") or ()
        ] or _first_attempt(log.proposed, status)
        log.marks = [read_mark(one, trial=number) for one in status.get("marks") or ()]
        log.alarms = [
            AlarmRaised(
                sequence=one["sequence"],
                time=float(one["time"]),
                trial=number,
                attempt=one["attempt"],
                rule=one["rule"],
                alarm=one["alarm"],
                fraction=float(one["fraction"]),
                numbers=read_numbers(one.get("numbers")),
            )
            for one in status.get("alarms") or ()
        ]
        if end := status.get("end"):
            log.end = _read_end(end, number)
        log._forget_what_came_after_its_stop()
        log.written = spec
        return log

    def add(self, record: Event) -> None:
        """Take in a record about this trial; what it makes superfluous is dropped."""
        match record:
            case Decision():
                self.decisions = [*self.decisions, record][-bounds.MAX_DECISIONS :]
                self._forget_what_came_after_its_stop()
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

    def _forget_what_came_after_its_stop(self) -> None:
        """Drop marks that were recorded in one write with the one that a rule stopped the trial for."""
        for decision in self.decisions:
            if decision.action is Action.STOP and decision.enforced:
                self.marks = [mark for mark in self.marks if mark.sequence <= decision.because]

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
            out["decisions"] = [write_decision(one, of_trial=True) for one in self.decisions]
        return out

    def status(self) -> Object:
        """Return the recorded part of the Trial's status."""
        out: Object = {"marks": [write_mark(one) for one in self.marks]}
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
                    "numbers": write_numbers(one.numbers),
                }
                for one in self.alarms
            ]
        if self.end is not None:
            out["end"] = _write_end(self.end)
        return out


def is_told_by_lifecycle(event: Event) -> bool:
    """Whether a record can be read from what the trial controller writes, and may be written with the next one.

    That is the first start, one write in four of a trial that starts. When later ones were is told nowhere else.
    """
    return isinstance(event, AttemptStarted) and event.attempt == 1


def _first_attempt(proposed: TrialProposed, status: Object) -> list[AttemptStarted]:
    """Return the first start as the lifecycle part of the status tells it, where the curve's part does not yet.

    It follows its proposal at once: the numbers up to the next record are for decisions, and none follows a proposal.
    """
    began = parse_time(status.get("startTime"))
    if began is None or not status.get("attempt"):
        return []
    return [AttemptStarted(sequence=proposed.sequence + 1, time=began.timestamp(), trial=proposed.trial, attempt=1)]


def _in_order(values: Mapping[str, Scalar], parameters: Mapping[str, Parameter]) -> dict[str, Scalar]:
    """Return a configuration in the order of the search space: an API server keeps a map by its keys' order."""
    known = [name for name in parameters if name in values]
    others = [name for name in values if name not in parameters]
    return {name: _typed(values[name], parameters.get(name)) for name in (*known, *others)}


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
        time=float(end["time"]),
        trial=trial,
        attempt=end["attempt"],
        reason=EndReason(end["reason"]),
        value=None if end.get("value") is None else float(end["value"]),
        fraction=float(end["fraction"]),
        compute_seconds=float(end["computeSeconds"]),
        gpu_seconds=float(end.get("gpuSeconds", "0.0")),
        checkpoint=end.get("checkpoint", ""),
        message=end.get("message", ""),
    )
