"""Plays a job with a virtual clock: hours of tuning in a second, with the engine that runs everywhere else.

A heap holds what happens next. Between two entries nothing happens, so the clock jumps from one to the next; that is
how Syne Tune's simulator works (Salinas et al. 2022, section 4), with the job's own engine in place of a scheduler.
Every record is kept as a backend would write it, and `crash` lets a process die right after any of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tuning_operator.api.trial import Desired
from tuning_operator.api.tuning_job import TuningJob
from tuning_operator.backends.simulation.course import Course, Curves, Exit, Report
from tuning_operator.curves.marks import Observation, Pulse
from tuning_operator.engine.engine import Engine
from tuning_operator.engine.events import AttemptStarted, EndReason, Event, TrialEnded, TrialProposed
from tuning_operator.engine.results import reduce_values
from tuning_operator.engine.view import JobView
from tuning_operator.engine.wanted import WantedControl
from tuning_operator.errors import BackendError
from tuning_operator.search.sampler import derive_seed


@dataclass(frozen=True, kw_only=True)
class Played:
    """A simulated job.

    Attributes:
        view: At its end.
        records: The log, in the order in which it was written.
        engine: As it was at the end.
    """

    view: JobView
    records: list[Event]
    engine: Engine


def simulate(
    job: TuningJob,
    curves: Curves,
    *,
    seed: int,
    start_seconds: float = 10.0,
    gpus: int = 0,
    script: Iterable[tuple[float, type[Event]]] = (),
    crash: Callable[[Event], bool] = lambda _: False,
    records: Iterable[Event] = (),
) -> Played:
    """Play a job to its end, or until nothing happens any more because it is suspended.

    Args:
        job: The job.
        curves: What its trials do.
        seed: Of how long trials take to start.
        start_seconds: Least time between a proposal and the first step; at most twice as long.
        gpus: That each running trial holds.
        script: What the user does and when: `JobSuspended`, `JobResumed`, `JobCancelled`.
        crash: Asked after each recorded event: whether the process dies here, before the engine has seen the event,
            and is restored from the log.
        records: Log of a job that was played before, to go on with; none of its trials may be running.

    Raises:
        BackendError: A trial of `records` was still running.
    """
    simulation = _Simulation(job, curves, seed=seed, start_seconds=start_seconds, gpus=gpus, crash=crash)
    simulation.take_up(list(records))
    for time, kind in script:
        simulation.at(time, lambda kind=kind: simulation.say(kind))  # type: ignore[misc]
    simulation.run()
    return Played(
        view=simulation.engine.view(time=simulation.time), records=simulation.records, engine=simulation.engine
    )


@dataclass(eq=False)
class _Process:
    """One trial, as a process that comes and goes."""

    proposed: TrialProposed
    course: Course | None = None
    attempt: int = 0
    position: float = 0.0
    checkpoint: float = 0.0
    failures: int = 0
    seconds: float = 0.0
    values: list[float] = field(default_factory=list)
    history: list[Observation] = field(default_factory=list)
    """Evaluations of the newest attempt."""
    told: int = 0
    """How many of them the engine's process has seen."""
    control: WantedControl = field(default_factory=WantedControl)
    waiting: object = None
    """What is to happen next; anything older on the heap is void."""


class _Simulation:
    def __init__(
        self,
        job: TuningJob,
        curves: Curves,
        *,
        seed: int,
        start_seconds: float,
        gpus: int,
        crash: Callable[[Event], bool],
    ) -> None:
        self._job = job
        self._curves = curves
        self._seed = seed
        self._start_seconds = start_seconds
        self._gpus = gpus
        self._crash = crash
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._processes: dict[int, _Process] = {}
        self.time = 0.0
        self.records: list[Event] = []
        self.engine = Engine(name=job.metadata.name, spec=job.spec)

    def take_up(self, records: list[Event]) -> None:
        if not records:
            return
        self.records = records
        self.time = max(record.time for record in records)
        self._restore()
        if self.engine.active():
            raise BackendError(
                f"trials {self.engine.active()} of the log are running; a simulation cannot take them up"
            )

    def at(self, time: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (time, self._count, action))

    def say(self, kind: type[Event]) -> None:
        self._feed(self.engine.event(kind, time=self.time))
        self._expect_limit()

    def run(self) -> None:
        self._expect_limit()
        self._settle()
        while self._heap and self.engine.finished is None:
            time, _, action = heapq.heappop(self._heap)
            self.time = max(self.time, time)
            action()
            self._settle()

    def _expect_limit(self) -> None:
        """Look again when the clock of the job runs out."""
        duration = self._job.spec.budget.duration
        if duration is not None:
            left = duration.total_seconds() - self.engine.active_seconds(time=self.time)
            self.at(self.time + max(left, 0.0), lambda: None)

    def _settle(self) -> None:
        """Do what is wanted until nothing changes any more."""
        used = sum(process.seconds for process in self._processes.values()) * self._gpus
        for event in self.engine.check(time=self.time, gpu_seconds=used):
            self._feed(event)
        while True:
            for number in self.engine.active():
                self._agree(number)
            events = self.engine.propose(time=self.time)
            if not events:
                return
            for event in events:
                self._feed(event)

    def _feed(self, event: Event) -> None:
        self.records.append(event)
        if isinstance(event, TrialProposed):
            self._processes[event.trial] = _Process(event)
        if self._crash(event):
            self._restore()
        else:
            self.records.extend(self.engine.apply(event))

    def _restore(self) -> None:
        self.engine = Engine.restore(name=self._job.metadata.name, spec=self._job.spec, records=self.records)
        self.records.extend(self.engine.pending_decisions())
        for process in self._processes.values():
            process.told = 0

    def _agree(self, number: int) -> None:
        """Make one process agree with what is wanted of it."""
        process, wanted = self._processes[number], self.engine.wanted(number)
        if wanted.desired is Desired.STOPPED:
            self._end(process, wanted.reason or EndReason.CANCELLED, wanted.message)
        elif wanted.desired is Desired.PAUSED:
            process.course, process.waiting = None, None
            process.checkpoint = process.position
        elif process.waiting is None:
            delay = self._start_seconds * (1 + derive_seed(self._seed, number, process.attempt) / 2.0**31)
            self._wait(process, delay, lambda: self._start(process))
        elif wanted.control.revision != process.control.revision:
            process.control = wanted.control

    def _wait(self, process: _Process, seconds: float, action: Callable[[], None]) -> None:
        token = process.waiting = object()
        self.at(self.time + seconds, lambda: action() if process.waiting is token else None)

    def _start(self, process: _Process) -> None:
        process.attempt += 1
        process.position = process.checkpoint
        process.history.clear()
        process.told = 0
        process.course = self._curves.start(process.proposed, attempt=process.attempt, position=process.checkpoint)
        process.control = self.engine.wanted(process.proposed.trial).control
        trial = process.proposed.trial
        self._feed(self.engine.event(AttemptStarted, time=self.time, trial=trial, attempt=process.attempt))
        self._plan(process)

    def _plan(self, process: _Process) -> None:
        assert process.course is not None
        match process.course.next(process.control):
            case None:
                self._end(process, EndReason.COMPLETED, "")
            case Exit() as gone:
                self._wait(process, gone.seconds, lambda: self._exit(process, gone))
            case Report() as report:
                revision = process.control.revision
                self._wait(process, report.seconds, lambda: self._report(process, report, revision))

    def _report(self, process: _Process, report: Report, revision: int) -> None:
        trial, attempt = process.proposed.trial, process.attempt
        process.position = process.checkpoint = report.position
        process.seconds += report.seconds
        if report.value is not None:
            process.values.append(report.value)
            process.history.append(
                Observation(
                    position=report.position,
                    value=report.value,
                    attempt=attempt,
                    time=self.time,
                    learning_rate=report.learning_rate,
                )
            )
        pulse = Pulse(
            position=report.position,
            attempt=attempt,
            time=self.time,
            count=report.steps,
            mean=report.loss,
            minimum=report.loss,
            maximum=report.loss,
            nonfinite=report.nonfinite,
            learning_rate=report.learning_rate,
            revision=revision,
        )
        fresh = process.history[process.told :]
        events = self.engine.observe(trial=trial, observations=fresh, pulse=pulse, time=self.time)
        process.told = len(process.history)
        for event in events:
            if self.engine.wanted(trial).desired is Desired.STOPPED:
                break
            self._feed(event)
        if self.engine.wanted(trial).desired is Desired.RUNNING:
            process.control = self.engine.wanted(trial).control
            self._plan(process)

    def _exit(self, process: _Process, gone: Exit) -> None:
        process.seconds += gone.seconds
        if gone.reason.is_failure and process.failures < self._job.spec.trial.retries:
            process.failures += 1
            process.checkpoint = gone.checkpoint
            process.course = process.waiting = None
        else:
            self._end(process, gone.reason, f"attempt {process.attempt} ended as {gone.reason}")

    def _end(self, process: _Process, reason: EndReason, message: str) -> None:
        process.course, process.waiting = None, object()
        total = self._job.spec.axis.total
        self._feed(
            self.engine.event(
                TrialEnded,
                time=self.time,
                trial=process.proposed.trial,
                attempt=process.attempt,
                reason=reason,
                value=reduce_values(process.values, self._job.spec.objective),
                fraction=min(process.position / total, 1.0),
                compute_seconds=process.seconds,
                gpu_seconds=process.seconds * self._gpus,
                message=message,
            )
        )
