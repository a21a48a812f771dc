"""One TuningJob's driver: what the engine is told, what it answers, and the objects in which both are written down.

The order of writing is that of docs/adr/0001. What happened to a trial is written into its Trial's status, and told to
the engine once the API server has acknowledged it; a decision is written into the Trial's spec in the same write as
what follows from it, so the trial controller can only act on what is recorded. Several trials are written at once; of
one trial, one record at a time is under way.

Nothing is repaired here: a write that fails, a Trial that is gone, a spec that changed makes the study read all of its
objects again and restore its engine from them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Any, Final

from tuning_operator.api.metadata import API_VERSION
from tuning_operator.api.trial import Desired
from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.backends.kubernetes import study_news as news
from tuning_operator.backends.kubernetes import study_orders as orders
from tuning_operator.backends.kubernetes.job_log import JobLog, belongs_to_job
from tuning_operator.backends.kubernetes.job_status import was_finished
from tuning_operator.backends.kubernetes.resources import Object, name_of
from tuning_operator.backends.kubernetes.site import Site
from tuning_operator.backends.kubernetes.snapshot import Glimpse
from tuning_operator.backends.kubernetes.study_objects import StudyObjects
from tuning_operator.backends.kubernetes.study_state import StudyState
from tuning_operator.backends.kubernetes.trial_log import TrialLog, is_told_by_lifecycle
from tuning_operator.backends.kubernetes.watched import Watched
from tuning_operator.engine.collector import collector_paused
from tuning_operator.engine.decisions import Decision
from tuning_operator.engine.engine import Engine
from tuning_operator.engine.events import (
    AlarmRaised,
    Event,
    JobCancelled,
    JobResumed,
    JobSuspended,
    MarkReached,
    TrialEnded,
    TrialProposed,
)
from tuning_operator.errors import BackendError, LogError, ManifestError
from tuning_operator.search.check import load_job

_RECENT: Final = 60.0
"""Decisions younger than this are announced again when a study is taken up; their Events may not have been written."""

_BLOCK: Final = 200
_PROPOSING: Final = 4.0
"""How much longer than all else in a step new trials may take while many are still to be made."""


class Study:
    """One TuningJob. `run` until the job is gone; whatever it raises, a new Study goes on where this one was."""

    def __init__(self, site: Site, *, namespace: str, name: str) -> None:
        self._site = site
        self._namespace = namespace
        self._name = name
        self._state: StudyState | None = None
        self._objects = StudyObjects(site, namespace=namespace, name=name)
        self._status_due = 0.0
        self._best: int | None = None
        self._touched: set[str] = set()
        self._wake = asyncio.Event()

    def glimpses(self) -> Mapping[str, Glimpse]:
        """Return what was seen last of the trials that run, by name."""
        if self._state is None:
            return {}
        name = self._objects.trial_name
        return {name(number): glimpse for number, one in self._state.watched.items() if (glimpse := one.glimpse())}

    def hear(self, trial: str | None = None) -> None:
        """Look again soon: at a Trial that has changed, or at the job."""
        if trial is not None:
            self._touched.add(trial)
        self._wake.set()

    async def run(self) -> None:
        """Drive the job until it is deleted.

        Raises:
            BackendError: Something failed; a new Study goes on.
            LogError: The same, because objects were changed by somebody else.
        """
        if not await self._take_up():
            return
        while True:
            self._wake.clear()
            body = self._site.tuning_jobs.get(self._namespace, self._name)
            if body is None or body["metadata"]["uid"] != self._objects.uid:
                is_there = await self._objects.is_there()
            elif body["metadata"]["generation"] > self._objects.generation:
                is_there = await self._take_up()
            else:
                is_there = not body["metadata"].get("deletionTimestamp")
            if not is_there:
                return
            pause = None if self._state is None else await self._observed_step(self._state)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _take_up(self) -> bool:
        """Read all objects and restore the engine from them; return False if the job is gone.

        They are read from the server and not from a cache, which may lack what this process wrote last.
        """
        objects, self._state = self._objects, None
        if not await objects.read_job():
            return False
        manifest = {"apiVersion": API_VERSION, "kind": "TuningJob", "metadata": {"name": self._name}}
        try:
            spec = load_job({**manifest, "spec": objects.job["spec"]}, source=self._name).spec
        except ManifestError as error:
            await objects.reject("Invalid", "; ".join(map(str, error.problems)))
            return True
        bodies = await objects.read_trials()
        try:
            objects.log = JobLog.read(objects.job, spec)
            logs = await _read_logs(bodies, spec)
            records = objects.log.records() + [record for log in logs for record in log.records()]
            engine = Engine.restore(name=self._name, spec=spec, records=records)
        except LogError as error:
            await objects.reject("AnotherJob", str(error))
            return True
        state = self._state = StudyState(self._site, namespace=self._namespace, spec=spec, engine=engine)
        for body, log in zip(bodies, logs, strict=True):
            state.adopt(body, log)
        self._touched = {name_of(body) for body in bodies}
        self._status_due = 0.0
        for body in bodies:
            self._site.trials.learn(body)
        self._announce_recent(state)
        await self._record_decisions(state, engine.pending_decisions())
        if was_finished(objects.status) and engine.finished is None and not engine.suspended:
            await self._tell_job(state, engine.event(JobResumed, time=self._site.clock()))
        return True

    async def _observed_step(self, state: StudyState) -> float | None:
        began, failed = time.perf_counter(), True
        try:
            pause = await self._step(state)
            failed = False
            return pause
        finally:
            self._site.stepped(time.perf_counter() - began, failed)

    async def _step(self, state: StudyState) -> float | None:
        """Do everything that is to be done now; return seconds until the next look, None if there is none."""
        site, engine, spec = self._site, state.engine, state.spec
        if state.is_empty and (trouble := await state.source.check()):
            await self._objects.reject("MetricsUnreadable", trouble)
            raise BackendError(trouble)
        now = site.clock()
        if spec.suspend != engine.suspended and engine.finished is None:
            kind = JobSuspended if spec.suspend else JobResumed
            await self._tell_job(state, engine.event(kind, time=now))
        if spec.cancel and not engine.is_cancelled and engine.finished is None:
            await self._tell_job(state, engine.event(JobCancelled, time=now))
        touched, self._touched = self._touched, set()
        await orders.undo(self._objects, state, touched)
        await self._tell(state, news.lifecycle(site, state, touched))
        found: news.Events = []
        turn = state.turns.take(now)
        if turn is not None:
            found += await news.look(site, state, turn)
        found += await news.look_back(site, state, touched)
        if bool(state.source.trouble) is state.is_readable:
            state.is_readable = not state.is_readable
            self._objects.announce_source(state.source.trouble)
        found += news.ends(site, state, touched)
        await self._tell(state, found)
        for event in engine.check(time=site.clock(), gpu_seconds=state.gpu_seconds if turn else 0.0):
            await self._tell_job(state, event)
        # A machine that is free costs more than a decision that waits, but neither keeps the other from its turn.
        spent = site.clock() - now
        await self._propose(state, until=max(state.turns.due, now + (1 + _PROPOSING) * spent))
        if self._state is None:
            return None
        await orders.agree(self._objects, state)
        await orders.steer(site, self._objects, state, again=turn)
        pauses = [await self._write_status(state), state.turns.due - site.clock() if engine.active() else None]
        return min((max(pause, 0.0) for pause in pauses if pause is not None), default=None)

    # What is recorded, and what follows from it.

    async def _tell(self, state: StudyState, found: news.Events) -> None:
        """Record events and tell the engine, in rounds: one write for every trial, all at once, judged in order.

        A round takes all marks that a look brought of a trial, so that a study which comes to look less often than its
        trials report writes no more often for that.
        """
        engine, watched = state.engine, state.watched
        waiting: dict[int, deque[Event]] = {}
        for number, events in found:
            waiting.setdefault(number, deque()).extend(events)
        changed: set[int] = set()
        while waiting:
            batch: list[tuple[Watched, Event]] = []
            for number in sorted(waiting):
                batch += [
                    (watched[number], _numbered(engine, event)) for event in _next(state, waiting[number], changed)
                ]
                if not waiting[number]:
                    del waiting[number]
            for one, event in batch:
                one.log.add(event)
            written = dict.fromkeys(one for one, event in batch if not is_told_by_lifecycle(event))
            await asyncio.gather(*(self._objects.write_curve(one, one.shown(engine)) for one in written))
            decisions = [decision for _, event in batch for decision in engine.apply(event)]
            changed |= {one.trial for one in decisions if one.enforced and one.trial is not None}
            await self._record_decisions(state, decisions)
            for _, event in batch:
                if isinstance(event, TrialEnded):
                    del watched[event.trial]

    async def _tell_job(self, state: StudyState, event: Event) -> None:
        """Record an event about the whole job, and tell the engine."""
        await self._objects.write_records([event])
        await self._record_decisions(state, state.engine.apply(event))

    async def _record_decisions(self, state: StudyState, decisions: Sequence[Decision]) -> None:
        """Write decisions down, together with what follows from them."""
        if not decisions:
            return
        of_job = [one for one in decisions if belongs_to_job(one)]
        if of_job:
            await self._objects.write_records(of_job)
        for decision in decisions:
            if not belongs_to_job(decision) and decision.trial in state.watched:
                state.watched[decision.trial].log.add(decision)
        await orders.agree(self._objects, state)
        await orders.steer(self._site, self._objects, state)
        for decision in decisions:
            self._objects.announce(decision)

    async def _propose(self, state: StudyState, *, until: float) -> None:
        """Make trials until there are enough; leave off, and go on soon, when it is time to look at those that run."""
        while events := state.engine.propose(time=self._site.clock()):
            for event in events:
                if isinstance(event, TrialProposed):
                    if not await self._create(state, event):
                        return
                    await self._record_decisions(state, state.engine.apply(event))
                else:
                    await self._tell_job(state, event)
            if self._site.clock() >= until:
                self._wake.set()
                return

    async def _create(self, state: StudyState, proposed: TrialProposed) -> bool:
        """Make the Trial, which is the record of its proposal; return False if its Job cannot be made at all."""
        log = TrialLog(proposed)
        body = self._objects.render_trial(log)
        if state.is_empty:
            problem = await self._site.objection(state.spec, body)
            if problem is not None:
                await self._objects.reject("TrialRefused", f"its trials cannot run: {problem}")
                self._state = None
                return False
        state.adopt(await self._objects.create(body, log, state.spec), log)
        return True

    # Telling people.

    async def _write_status(self, state: StudyState) -> float | None:
        """Say how the job is doing; not more often than `Site.status_pause` while it goes on.

        Returns:
            Seconds until it may be said, if that is not now.
        """
        now = self._site.clock()
        if now < self._status_due and state.engine.finished is None:
            return self._status_due - now
        view = state.engine.view(time=now, points=False)
        self._status_due = now + self._site.status_pause
        await self._objects.write_status(view, time=now)
        if view.best is not None and view.best.number != self._best:
            self._best = view.best.number
            self._objects.announce_best(view.best)
        return None

    def _announce_recent(self, state: StudyState) -> None:
        """Announce again what was decided last: the process may have died before it could."""
        now = self._site.clock()
        view = state.engine.view(time=now, points=False)
        self._best = None if view.best is None else view.best.number
        for decision in view.decisions:
            if now - decision.time < _RECENT:
                self._objects.announce(decision)


async def _read_logs(bodies: Sequence[Object], spec: TuningJobSpec) -> list[TrialLog]:
    """Read the records of all trials; other studies get a turn after every few hundred."""
    logs: list[TrialLog] = []
    for first in range(0, len(bodies), _BLOCK):
        with collector_paused():
            logs += [TrialLog.read(body, spec) for body in bodies[first : first + _BLOCK]]
        await asyncio.sleep(0)
    return logs


def _next(state: StudyState, events: deque[Event], changed: set[int]) -> list[Event]:
    """Take the next of a trial's events that still count, or all marks up to the next event that is none.

    What it did before a change raises no alarms, and nobody judges what is to stop.
    """
    taken: list[Event] = []
    while events and (not taken or (type(taken[-1]) is type(events[0]) is MarkReached)):
        event = events.popleft()
        if isinstance(event, AlarmRaised) and event.trial in changed:
            continue
        if isinstance(event, MarkReached | AlarmRaised) and state.wanted(event.trial).desired is Desired.STOPPED:
            continue
        taken.append(event)
    return taken


def _numbered(engine: Engine, event: Event) -> Event:
    """Return an event with a new number, so that those of a round rise in the order in which they are judged."""
    values: dict[str, Any] = {one.name: getattr(event, one.name) for one in fields(event)}
    del values["sequence"]
    return engine.event(type(event), **values)
