"""The engine: what a backend talks to. It is told what happened and answers what is wanted.

    for event in engine.propose(time=now):       # also observe(...), check(...), event(TrialEnded, ...)
        log.write(event)                         # recorded before anything else
        for decision in engine.apply(event):
            log.write(decision)                  # recorded before it is acted on
    engine.wanted(trial)                         # make the process agree with it, as often as needed

A crash between any two of these lines loses nothing: `restore` folds what was recorded, judges what was recorded and
not yet judged, and hands those decisions out by `pending_decisions`. Events must be applied in the order of their
sequence numbers; one that is never applied leaves a gap and has never happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from tuning_operator.api.trial import Desired
from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.curves.alarm import Alarm
from tuning_operator.curves.marks import Observation, Pulse
from tuning_operator.engine.decisions import Decision
from tuning_operator.engine.events import (
    AlarmRaised,
    AttemptStarted,
    EndReason,
    Event,
    LimitReached,
    MarkReached,
    TrialEnded,
    TrialProposed,
)
from tuning_operator.engine.finish import end_of, finish_decision, finished
from tuning_operator.engine.judge import ROOM, Judge
from tuning_operator.engine.live import Live
from tuning_operator.engine.proposals import Proposals
from tuning_operator.engine.restore import Folded, fold_log
from tuning_operator.engine.state import Job, Trial
from tuning_operator.engine.view import JobView
from tuning_operator.engine.views import view_job
from tuning_operator.engine.wanted import Wanted, WantedControl
from tuning_operator.errors import LogError

E = TypeVar("E", bound=Event)


class Engine:
    """The brain of one job; see the module's text for how it is driven.

    Its answers depend on the spec and the applied events alone. What it sees between them (newest values, monitors) is
    shown in `view` and raises alarms, and an alarm counts only once it is recorded.
    """

    def __init__(self, *, name: str, spec: TuningJobSpec) -> None:
        self._take_up(name, spec, Folded(job=Job(spec), judge=Judge(spec), pending=[], newest=0))

    @classmethod
    def restore(cls, *, name: str, spec: TuningJobSpec, records: Iterable[Event]) -> Engine:
        """Return the engine as it was when the last of `records` (events and decisions, in any order) was written.

        The budget and the rules of `spec` may differ from what they were: a job that was finished by its budget goes
        on when the budget was raised.

        Raises:
            LogError: The records contradict each other, or belong to a job with another objective, axis or search
                space; the text names it.
        """
        engine = cls.__new__(cls)
        engine._take_up(name, spec, fold_log(spec, records))
        return engine

    def _take_up(self, name: str, spec: TuningJobSpec, folded: Folded) -> None:
        self._name = name
        self._spec = spec
        self._job = folded.job
        self._judge = folded.judge
        self._pending = folded.pending
        self._newest = folded.newest
        self._next = (folded.newest // ROOM + 1) * ROOM
        self._proposals = Proposals(spec)
        self._live: dict[int, Live] = {}
        self._gpu_seconds = 0.0

    def pending_decisions(self) -> list[Decision]:
        """Return, once, the decisions about what was recorded but not yet judged; record them before acting."""
        pending, self._pending = self._pending, []
        return pending

    def propose(self, *, time: float) -> list[Event]:
        """Return the next event that the job wants, at most one: `JobStarted`, a proposal, or `SpaceExhausted`.

        A proposal may depend on the one before it, so record and apply it, then ask again until nothing comes. Asking
        changes nothing but the sequence number.
        """
        wanted = self._proposals.next(self._job)
        if wanted is None:
            return []
        kind, fields = wanted
        return [self.event(kind, time=time, **fields)]

    def observe(
        self, *, trial: int, observations: Sequence[Observation], pulse: Pulse | None, time: float
    ) -> list[Event]:
        """Take in what a look at a trial brought: evaluations in the user's direction, and the pulse if there is one.

        Returns:
            `MarkReached` and `AlarmRaised`, none of them recorded. Nothing comes of a trial that is to stop: its
            newest value is shown, and its curve ends where it was stopped.

        Raises:
            LogError: The trial was never proposed.
        """
        job = self._job
        state = job.trials.get(trial) or job.trial(trial)
        if state.ended is not None:
            return []
        live = self._live.get(trial)
        if live is None:
            live = self._live[trial] = Live(
                total=self._spec.axis.total,
                curve=state.curve,
                monitors=self._judge.monitors(),
            )
        is_watched = state.stopped is None and job.over is None
        events: list[Event] = []
        # Alarms come first: a control rule may rescue the trial before its broken values are judged at a mark.
        if pulse is not None and pulse.attempt >= state.attempt:
            live.look(pulse)
            # Until the newest change is applied, the trial shows what the change is to cure.
            if is_watched and pulse.revision >= state.control.revision:
                for rule, alarm in live.watch(pulse):
                    if rule not in state.alarmed:
                        events.append(self._alarm(trial, rule, alarm, pulse.attempt, time))
        for observation in observations:
            loss = observation if job.sign > 0 else replace(observation, value=-observation.value)
            marks = live.evaluate(loss)
            if marks and is_watched:
                attempt = observation.attempt
                events += [
                    MarkReached(sequence=self._take(), time=time, trial=trial, attempt=attempt, at=mark)
                    for mark in marks
                ]
        return events

    def _alarm(self, trial: int, rule: str, alarm: Alarm, attempt: int, time: float) -> AlarmRaised:
        return AlarmRaised(
            sequence=self._take(),
            time=time,
            trial=trial,
            attempt=attempt,
            rule=rule,
            alarm=alarm.kind,
            fraction=min(max(alarm.position / self._spec.axis.total, 0.0), 1.0),
            numbers=alarm.numbers,
        )

    def check(self, *, time: float, gpu_seconds: float = 0.0) -> list[Event]:
        """Return `LimitReached` when the duration or the GPU-hours are used up.

        Args:
            time: Now.
            gpu_seconds: GPU time of the whole job so far, running trials included.
        """
        job, budget = self._job, self._spec.budget
        self._gpu_seconds = max(self._gpu_seconds, gpu_seconds)
        if job.over is not None or job.suspended or self.finished is not None:
            return []
        used = job.active_seconds(time)
        if budget.duration is not None and used >= budget.duration.total_seconds():
            return [self.event(LimitReached, time=time, limit="duration", used=used)]
        hours = self._gpu_seconds / 3600
        if budget.gpu_hours is not None and hours >= budget.gpu_hours:
            return [self.event(LimitReached, time=time, limit="gpuHours", used=hours)]
        return []

    def event(self, kind: type[E], **fields: object) -> E:
        """Return an event of this kind with the next sequence number; `time` is among the fields."""
        return kind(sequence=self._take(), **fields)  # type: ignore[arg-type]

    def apply(self, event: Event) -> list[Decision]:
        """Fold an event that has been recorded; return the decisions about it, to be recorded before they are acted on.

        Raises:
            LogError: The event does not fit the log: applied already or out of order, or about a trial that was never
                proposed.
        """
        if event.sequence <= self._newest or isinstance(event, Decision):
            raise LogError(
                f"record {event.sequence} ({type(event).__name__}) comes after record {self._newest}; "
                "apply events in the order of their sequence, each once"
            )
        job = self._job
        job.fold(event)
        self._newest = event.sequence
        if event.sequence >= self._next:
            self._next = (event.sequence // ROOM + 1) * ROOM
        decisions = self._judge.judge(job, event)
        for decision in decisions:
            job.fold(decision)
            self._newest = decision.sequence
            if decision.revision and decision.trial in self._live:
                self._live[decision.trial].forget()
        if job.over is not None and (last := finish_decision(job, event)) is not None:
            job.fold(last)
            self._newest = last.sequence
            decisions = [*decisions, last]
        if isinstance(event, TrialProposed):
            self._proposals.proposed(event)
        elif isinstance(event, TrialEnded):
            self._live.pop(event.trial, None)
            self._proposals.ended(job.trials[event.trial])
        elif isinstance(event, AttemptStarted) and (live := self._live.get(event.trial)):
            live.forget()
        return decisions

    def wanted(self, trial: int) -> Wanted:
        """Return what is wanted of a trial now; the same answer until something is applied.

        A trial that is to stop before its first attempt began is ended by the backend with the reason given here.

        Raises:
            LogError: The trial was never proposed.
        """
        job = self._job
        state = job.trial(trial)
        control = self._wanted_control(state)
        if state.ended is not None:
            return Wanted(
                desired=Desired.STOPPED, reason=state.ended.reason, message=state.ended.message, control=control
            )
        if state.stopped is not None:
            reason, message = EndReason(state.stopped.reason), state.stopped.sentence
            return Wanted(desired=Desired.STOPPED, reason=reason, message=message, control=control)
        if job.over is not None:
            reason, message = end_of(job, state)
            return Wanted(desired=Desired.STOPPED, reason=reason, message=message, control=control)
        return Wanted(desired=Desired.PAUSED if job.suspended else Desired.RUNNING, control=control)

    def _wanted_control(self, state: Trial) -> WantedControl:
        control = state.control
        if not control.revision:
            return _UNCHANGED
        live = self._live.get(state.number)
        return WantedControl(
            revision=control.revision,
            scale=control.scale,
            begin_decay=control.begin_decay,
            restore=state.restoring > (0 if live is None else live.applied_revision),
        )

    def active(self) -> list[int]:
        """Return the numbers of all trials that have not ended, in the order of their proposal."""
        return list(self._job.active)

    def trial(self, number: int) -> Trial:
        """Return what the log knows of a trial; it is not to be changed.

        Raises:
            LogError: The trial was never proposed.
        """
        return self._job.trial(number)

    @property
    def finished(self) -> str | None:
        """Why the job is over and every trial has ended; None while it goes on."""
        return finished(self._job)

    @property
    def suspended(self) -> bool:
        """Whether the user asked to free everything and continue later."""
        return self._job.suspended

    @property
    def is_cancelled(self) -> bool:
        """Whether the user asked to end the job now and keep what was found."""
        return self._job.is_cancelled

    def active_seconds(self, *, time: float) -> float:
        """Return how long the job has been at work by now, which is what ``budget.duration`` limits."""
        return self._job.active_seconds(time)

    def view(self, *, time: float, points: bool = True) -> JobView:
        """Return a picture of the whole job for people, with the points of all curves or without."""
        return view_job(
            self._job, name=self._name, live=self._live, time=time, gpu_seconds=self._gpu_seconds, points=points
        )

    def _take(self) -> int:
        sequence = self._next
        self._next += ROOM
        return sequence


_UNCHANGED = WantedControl()
