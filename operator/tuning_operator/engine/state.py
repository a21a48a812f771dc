"""What the log says: every record folded into one state. No rule is asked here and nothing is decided.

A trial is pending from its proposal, running from its first attempt, ended by `TrialEnded`; it is paused while the job
is suspended. Why the job is over (`Job.over`) follows from the state and the spec each time it is asked for, so a job
whose budget was raised goes on by itself, and a recorded Finish decision is a line for people and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from tuning_operator.api.tuning_job import Direction, Reduce, TuningJobSpec
from tuning_operator.control.base import AppliedControl
from tuning_operator.curves.curve import Curve
from tuning_operator.curves.study import StudyCurves
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
from tuning_operator.engine.identity import check_same_job
from tuning_operator.errors import LogError
from tuning_operator.schema import Scalar

_NONE: Final[Mapping[str, int]] = MappingProxyType({})
_UNSTEERED: Final = AppliedControl(changes=_NONE)


@dataclass(slots=True, kw_only=True, eq=False)
class Trial:
    """One trial as the log knows it.

    Attributes:
        loss: The finite result as a loss, once ended; None if there is none.
        stopped: Why an enforced decision stopped it, and since then no rule judges it.
        observed: Rules whose decision was written down without being carried out; each says it once.
        alarmed: Rules whose monitor raised an alarm in this attempt since the newest change; each does so once.
        quiet_until: Fraction of the schedule before which no stopping rule judges.
        restoring: Newest revision that asked for the last good checkpoint.
    """

    number: int
    parameters: Mapping[str, Scalar]
    seed: int
    role: Role
    audited: bool
    candidate: int | None
    curve: Curve = field(default_factory=Curve)
    attempt: int = 0
    started: float | None = None
    control: AppliedControl = _UNSTEERED
    restoring: int = 0
    quiet_until: float = 0.0
    stopped: Decision | None = None
    observed: tuple[str, ...] = ()
    alarmed: tuple[str, ...] = ()
    ended: TrialEnded | None = None
    loss: float | None = None


class Job:
    """One job as the log knows it; `fold` is the only way to change it."""

    def __init__(self, spec: TuningJobSpec) -> None:
        self.spec: Final = spec
        self.sign: Final = -1.0 if spec.objective.direction is Direction.MAXIMIZE else 1.0
        """Turns a value in the user's direction into a loss, and back."""
        self._target: Final = math.nan if spec.objective.target is None else self.sign * spec.objective.target
        self._judges_last: Final = spec.objective.reduce is Reduce.LAST
        self.trials: dict[int, Trial] = {}
        self.active: dict[int, Trial] = {}
        """Trials that have not ended, which hold a place each."""
        self.study: Final = StudyCurves()
        self.ledger: list[Decision] = []
        self.searched = 0
        """Search trials proposed."""
        self.evaluated: set[tuple[int, int]] = set()
        """Candidate and seed of every evaluation proposed."""
        self.failures = 0
        self.limits: dict[str, float] = {}
        """What was used when the clock or the meter spoke, by field of ``spec.budget``."""
        self.space_exhausted = False
        self.suspended = False
        self.is_cancelled = False
        self.target_trial: int | None = None
        self.announced: str | None = None
        """Why the job is over, as far as the ledger says so."""
        self.is_started = False
        self.over: str | None = None
        """Why the job is to end now: no proposals any more, and running trials are to stop."""
        self.first_time: float | None = None
        self.last_time: float | None = None
        self._active_seconds = 0.0
        self._active_since: float | None = None
        self._folds: Final[Mapping[type[Event], Callable[[Any], None]]] = {
            MarkReached: self._mark,
            AlarmRaised: self._alarm,
            Decision: self._decision,
            JobStarted: self._job_started,
            TrialProposed: self._proposed,
            AttemptStarted: self._attempt,
            TrialEnded: self._ended,
            LimitReached: self._limit,
            SpaceExhausted: self._exhausted,
            JobSuspended: self._suspend,
            JobResumed: self._resume,
            JobCancelled: self._cancel,
        }

    def fold(self, record: Event) -> None:
        """Take in one record, in the order of the log.

        Raises:
            LogError: The record does not belong to this job, or is of a kind that this version does not know.
        """
        fold = self._folds.get(type(record))
        if fold is None:
            raise LogError(f"the record {type(record).__name__} is of a kind that this version does not know")
        time = record.time
        if self.first_time is None:
            self.first_time = self._active_since = time
        fold(record)
        if self.last_time is None or time > self.last_time:
            self.last_time = time

    def trial(self, number: int) -> Trial:
        """Return a trial.

        Raises:
            LogError: It was never proposed.
        """
        try:
            return self.trials[number]
        except KeyError:
            raise LogError(f"trial {number} is not in the log; a trial exists from its TrialProposed on") from None

    @property
    def is_searched(self) -> bool:
        """Whether no search trial will be proposed any more."""
        return self.space_exhausted or self.searched >= self.spec.budget.trials

    def active_seconds(self, time: float) -> float:
        """Return how long the job has been at work, without suspensions."""
        running = 0.0 if self._active_since is None else max(time - self._active_since, 0.0)
        return self._active_seconds + running

    def _job_started(self, event: JobStarted) -> None:
        check_same_job(event.fixed, self.spec)
        self.is_started = True

    def _proposed(self, event: TrialProposed) -> None:
        if event.trial in self.trials:
            raise LogError(f"trial {event.trial} is proposed twice, the second time by record {event.sequence}")
        trial = Trial(
            number=event.trial,
            parameters=event.parameters,
            seed=event.seed,
            role=event.role,
            audited=event.audited,
            candidate=event.candidate,
        )
        self.trials[event.trial] = self.active[event.trial] = trial
        self.announced = None
        if event.role is Role.SEARCH:
            self.searched += 1
        elif event.candidate is not None:
            self.evaluated.add((event.candidate, event.seed))

    def _attempt(self, event: AttemptStarted) -> None:
        trial = self.trial(event.trial)
        if event.attempt <= trial.attempt:
            return
        trial.attempt = event.attempt
        trial.alarmed = ()
        if trial.started is None:
            trial.started = event.time

    def _mark(self, event: MarkReached) -> None:
        trial = self.trials.get(event.trial) or self.trial(event.trial)
        curve = trial.curve
        if trial.ended is not None or trial.stopped is not None or event.attempt < curve.attempt:
            return
        at = event.at
        curve.append(at, attempt=event.attempt)
        if -math.inf < (at.value if self._judges_last else at.best) <= self._target:
            self._reach_target(trial)

    def _alarm(self, event: AlarmRaised) -> None:
        trial = self.trial(event.trial)
        trial.alarmed = (*trial.alarmed, event.rule)

    def _ended(self, event: TrialEnded) -> None:
        trial = self.trial(event.trial)
        if trial.ended is not None:
            return
        trial.ended = event
        # Nobody judges it any more; what it has become stays, how often which rule spoke does not.
        if trial.control.revision:
            trial.control = replace(trial.control, changes=_NONE)
        trial.observed = trial.alarmed = ()
        del self.active[event.trial]
        if event.value is not None and math.isfinite(event.value):
            trial.loss = self.sign * event.value
        if event.reason.is_failure:
            self.failures += 1
        elif trial.role is Role.SEARCH:
            if event.reason is EndReason.COMPLETED:
                self.study.add_completed(trial.curve)
            if trial.loss is not None and trial.loss <= self._target:
                self._reach_target(trial)
        self._settle()

    def _decision(self, decision: Decision) -> None:
        self.ledger.append(decision)
        if decision.action is Action.FINISH:
            self.announced = decision.reason
            return
        if decision.trial is None:
            return
        trial = self.trial(decision.trial)
        if not decision.enforced:
            trial.observed = (*trial.observed, decision.rule)
        elif decision.action is Action.STOP:
            trial.stopped = decision
        elif decision.revision > trial.control.revision:
            changes = dict(trial.control.changes)
            changes[decision.rule] = changes.get(decision.rule, 0) + 1
            trial.control = AppliedControl(
                revision=decision.revision,
                scale=decision.scale,
                begin_decay=decision.begin_decay,
                changes=changes,
            )
            trial.alarmed = ()
            trial.quiet_until = max(trial.quiet_until, decision.fraction + decision.quiet)
            if decision.restore:
                trial.restoring = decision.revision

    def _limit(self, event: LimitReached) -> None:
        self.limits[event.limit] = max(event.used, self.limits.get(event.limit, 0.0))
        self._settle()

    def _exhausted(self, event: SpaceExhausted) -> None:  # noqa: ARG002
        self.space_exhausted = True

    def _suspend(self, event: JobSuspended) -> None:
        self._stop_clock(event.time)
        self.suspended = True

    def _resume(self, event: JobResumed) -> None:
        if self.last_time is not None:
            self._stop_clock(self.last_time)
        self._active_since = event.time
        self.suspended = False
        self.announced = None

    def _cancel(self, event: JobCancelled) -> None:  # noqa: ARG002
        self.is_cancelled = True
        self._settle()

    def _stop_clock(self, time: float) -> None:
        self._active_seconds = self.active_seconds(time)
        self._active_since = None

    def _reach_target(self, trial: Trial) -> None:
        """The first search trial that is good enough ends the job; an evaluation only measures."""
        if self.target_trial is None and trial.role is Role.SEARCH and self.over is None:
            self.target_trial = trial.number
            self._settle()

    def _settle(self) -> None:
        """Find out whether the job is to end; what came first stays the reason."""
        if self.over is not None:
            return
        budget = self.spec.budget
        duration = math.inf if budget.duration is None else budget.duration.total_seconds()
        gpu_hours = math.inf if budget.gpu_hours is None else budget.gpu_hours
        if self.target_trial is not None:
            self.over = "TargetReached"
        elif self.is_cancelled:
            self.over = "Cancelled"
        elif self.failures > budget.failed_trials:
            self.over = "TooManyFailures"
        elif self.limits.get("duration", -1.0) >= duration or self.limits.get("gpuHours", -1.0) >= gpu_hours:
            self.over = "BudgetExhausted"
