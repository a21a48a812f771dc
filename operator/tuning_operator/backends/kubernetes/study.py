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
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Any, Final

from trial_protocol.control import ControlMessage
from tuning_operator.api.metadata import API_VERSION
from tuning_operator.api.trial import Desired, StopReason
from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.backends.kubernetes.job_log import JobLog, belongs_to_job
from tuning_operator.backends.kubernetes.job_status import was_finished
from tuning_operator.backends.kubernetes.resources import Object, name_of
from tuning_operator.backends.kubernetes.site import Endpoint, Site
from tuning_operator.backends.kubernetes.study_objects import ObjectsChanged, StudyObjects
from tuning_operator.backends.kubernetes.trial_log import TrialLog
from tuning_operator.backends.kubernetes.watched import Watched
from tuning_operator.engine.decisions import Decision
from tuning_operator.engine.engine import Engine
from tuning_operator.engine.events import (
    AlarmRaised,
    AttemptStarted,
    EndReason,
    Event,
    JobResumed,
    JobSuspended,
    MarkReached,
    TrialEnded,
    TrialProposed,
)
from tuning_operator.engine.wanted import Wanted
from tuning_operator.errors import LogError, ManifestError
from tuning_operator.scrape.look import Look
from tuning_operator.scrape.steering import is_behind
from tuning_operator.search.check import load_job

_RECENT: Final = 60.0
"""Decisions younger than this are announced again when a study is taken up; their Events may not have been written."""
_log = logging.getLogger(__name__)


class Study:
    """One TuningJob. `run` until the job is gone; whatever it raises, a new Study goes on where this one was."""

    def __init__(self, site: Site, *, namespace: str, name: str) -> None:
        self._site = site
        self._namespace = namespace
        self._name = name
        self._spec: TuningJobSpec | None = None
        self._engine: Engine
        self._objects = StudyObjects(site, namespace=namespace, name=name)
        self._status_due = 0.0
        self._best: int | None = None
        self._watched: dict[int, Watched] = {}
        self._numbers: dict[str, int] = {}
        self._used: dict[int, float] = {}
        self._next_look = 0.0
        self._touched: set[str] = set()
        self._wake = asyncio.Event()

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
            pause = None if self._spec is None else await self._step()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _take_up(self) -> bool:
        """Read all objects and restore the engine from them; return False if the job is gone.

        They are read from the server and not from a cache, which may lack what this process wrote last.
        """
        objects, self._spec = self._objects, None
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
            logs = [TrialLog.read(body, spec) for body in bodies]
            records = objects.log.records() + [record for log in logs for record in log.records()]
            self._engine = Engine.restore(name=self._name, spec=spec, records=records)
        except LogError as error:
            await objects.reject("AnotherJob", str(error))
            return True
        self._spec = spec
        self._watched, self._numbers, self._used = {}, {}, {}
        for body, log in zip(bodies, logs, strict=True):
            self._adopt(body, log)
        self._touched = {name_of(body) for body in bodies}
        self._next_look = self._status_due = 0.0
        for body in bodies:
            self._site.trials.learn(body)
        self._announce_recent()
        await self._record_decisions(self._engine.pending_decisions())
        if was_finished(objects.status) and self._engine.finished is None and not self._engine.suspended:
            await self._tell_job(self._engine.event(JobResumed, time=self._site.clock()))
        return True

    def _adopt(self, body: Object, log: TrialLog) -> None:
        assert self._spec is not None
        number = log.proposed.trial
        self._numbers[name_of(body)] = number
        self._used[number] = self._site.gpu_seconds(body)
        if log.end is None:
            watched = self._watched[number] = Watched(log, self._spec, uid=body["metadata"]["uid"])
            watched.revision = (body.get("status") or {}).get("revision", 0)
            if body["spec"].get("stopReason") == StopReason.METRICS_UNAVAILABLE:
                watched.silent = "it reported no usable metric in time"

    async def _step(self) -> float | None:
        """Do everything that is to be done now; return seconds until the next look, None if there is none."""
        site, engine, spec = self._site, self._engine, self._spec
        assert spec is not None
        now = site.clock()
        if spec.suspend != engine.suspended and engine.finished is None:
            kind = JobSuspended if spec.suspend else JobResumed
            await self._tell_job(engine.event(kind, time=now))
        touched, self._touched = self._touched, set()
        await self._tell(self._lifecycle(touched))
        news: dict[int, deque[Event]] = {}
        is_due = now >= self._next_look
        if is_due:
            self._next_look = now + spec.metrics.interval.total_seconds()
            for number, events in await self._look():
                news.setdefault(number, deque()).extend(events)
        for number, end in self._ends(touched).items():
            news.setdefault(number, deque()).extend(end)
        await self._tell(news)
        for event in engine.check(time=site.clock(), gpu_seconds=sum(self._used.values()) if is_due else 0.0):
            await self._tell_job(event)
        await self._propose()
        await self._agree()
        await self._steer(again=is_due)
        pauses = [await self._write_status(), self._next_look - site.clock() if engine.active() else None]
        return min((max(pause, 0.0) for pause in pauses if pause is not None), default=None)

    # What happened.

    def _lifecycle(self, touched: Iterable[str]) -> dict[int, deque[Event]]:
        """Return the attempts that began."""
        found: dict[int, deque[Event]] = {}
        for number, body in self._bodies(touched):
            attempt = (body.get("status") or {}).get("attempt", 0)
            if attempt > self._engine.trial(number).attempt:
                event = self._engine.event(AttemptStarted, time=self._site.clock(), trial=number, attempt=attempt)
                found[number] = deque([event])
        return found

    def _ends(self, touched: Iterable[str]) -> dict[int, list[Event]]:
        """Return the ends of trials, and before each what its last word adds to its curve."""
        found: dict[int, list[Event]] = {}
        for number, body in self._bodies(touched):
            status = body.get("status") or {}
            if not status.get("reason"):
                continue
            engine, watched, now = self._engine, self._watched[number], self._site.clock()
            attempt = max(status.get("attempt", 0), engine.trial(number).attempt)
            reason, result = EndReason(status["reason"]), self._site.result(body)
            last = watched.last_word(result, attempt=attempt, time=now) if reason is EndReason.COMPLETED else []
            marks = engine.observe(trial=number, observations=last, pulse=None, time=now)
            wanted = self._wanted(number)
            is_ours = wanted.desired is Desired.STOPPED and wanted.reason is reason
            end = engine.event(
                TrialEnded,
                time=now,
                trial=number,
                attempt=attempt,
                reason=reason,
                value=watched.value(engine, result),
                fraction=watched.fraction(engine, reason),
                compute_seconds=float(status.get("computeSeconds") or 0),
                gpu_seconds=float(status.get("gpuSeconds") or 0),
                checkpoint=status.get("checkpoint") or "",
                message=wanted.message if is_ours else status.get("message") or "",
            )
            found[number] = [*marks, end]
        return found

    def _bodies(self, touched: Iterable[str]) -> list[tuple[int, Object]]:
        """Return the Trials that may have changed and have not ended.

        Raises:
            ObjectsChanged: One of them is gone.
        """
        found = []
        for name in touched:
            number = self._numbers.get(name)
            if number is None or number not in self._watched:
                continue
            body = self._site.trials.get(self._namespace, name)
            if body is None or body["metadata"]["uid"] != self._watched[number].uid:
                raise ObjectsChanged(f"Trial {name} is gone though it had not ended; the job goes on without it")
            self._used[number] = self._site.gpu_seconds(body)
            found.append((number, body))
        return sorted(found, key=lambda one: one[0])

    async def _look(self) -> list[tuple[int, list[Event]]]:
        """Look at every running trial at once, and return what is new by trial."""
        engine, site = self._engine, self._site
        targets: list[tuple[int, Watched, Endpoint, int]] = []
        for number, body in self._bodies(list(self._numbers)):
            attempt = engine.trial(number).attempt
            endpoint = site.endpoint(body) if attempt else None
            if endpoint is not None:
                targets.append((number, self._watched[number], endpoint, attempt))
        looks: Sequence[Look] = await asyncio.gather(
            *(watched.look(site.scraper, endpoint, attempt=attempt) for _, watched, endpoint, attempt in targets)
        )
        found = []
        for (number, watched, _, _), look in zip(targets, looks, strict=True):
            events = engine.observe(trial=number, observations=look.observations, pulse=look.pulse, time=site.clock())
            found.append((number, events))
            await self._judge_silence(watched)
        return found

    async def _judge_silence(self, watched: Watched) -> None:
        """Give a trial up that reports nothing that could be judged."""
        assert self._spec is not None
        since = watched.log.attempts[-1].time if watched.log.attempts else None
        patience = self._spec.metrics.first_within.total_seconds()
        if since is None or watched.has_spoken or watched.silent or self._site.clock() - since < patience:
            return
        why = await watched.explain()
        watched.silent = f"no usable metric within {patience:g} s: {why}"

    # What is recorded, and what follows from it.

    async def _tell(self, news: dict[int, deque[Event]]) -> None:
        """Record events and tell the engine, in rounds: one event of every trial, written at once, judged in order."""
        engine = self._engine
        changed: set[int] = set()
        while news:
            batch: list[Event] = []
            for number in sorted(news):
                event = self._next(number, news[number], changed)
                if event is None:
                    del news[number]
                else:
                    batch.append(self._numbered(event))
            for event in batch:
                self._watched[event.trial].log.add(event)  # type: ignore[attr-defined]
            await asyncio.gather(*(self._write_curve(self._watched[event.trial]) for event in batch))  # type: ignore[attr-defined]
            decisions = [decision for event in batch for decision in engine.apply(event)]
            changed |= {one.trial for one in decisions if one.enforced and one.trial is not None}
            await self._record_decisions(decisions)
            for event in batch:
                if isinstance(event, TrialEnded):
                    del self._watched[event.trial]

    def _next(self, number: int, events: deque[Event], changed: set[int]) -> Event | None:
        """Return the next event of a trial that still counts: what it did before a change does not raise alarms."""
        while events:
            event = events.popleft()
            if isinstance(event, AlarmRaised) and number in changed:
                continue
            if isinstance(event, MarkReached | AlarmRaised) and self._wanted(number).desired is Desired.STOPPED:
                continue
            return event
        return None

    def _numbered(self, event: Event) -> Event:
        """Return an event with a new number, so that those of a round rise in the order in which they are judged."""
        values: dict[str, Any] = {one.name: getattr(event, one.name) for one in fields(event)}
        del values["sequence"]
        return self._engine.event(type(event), **values)

    async def _tell_job(self, event: Event) -> None:
        """Record an event about the whole job, and tell the engine."""
        await self._objects.write_records([event])
        await self._record_decisions(self._engine.apply(event))

    async def _record_decisions(self, decisions: Sequence[Decision]) -> None:
        """Write decisions down, together with what follows from them."""
        if not decisions:
            return
        of_job = [one for one in decisions if belongs_to_job(one)]
        if of_job:
            await self._objects.write_records(of_job)
        for decision in decisions:
            if not belongs_to_job(decision) and decision.trial in self._watched:
                self._watched[decision.trial].log.add(decision)
        await self._agree()
        await self._steer(again=False)
        for decision in decisions:
            self._objects.announce(decision)

    async def _propose(self) -> None:
        while events := self._engine.propose(time=self._site.clock()):
            for event in events:
                if isinstance(event, TrialProposed):
                    if not await self._create(event):
                        return
                    await self._record_decisions(self._engine.apply(event))
                else:
                    await self._tell_job(event)

    async def _create(self, proposed: TrialProposed) -> bool:
        """Make the Trial, which is the record of its proposal; return False if its Job cannot be made at all."""
        assert self._spec is not None
        log = TrialLog(proposed)
        body = self._objects.render_trial(log)
        if not self._numbers:
            problem = await self._site.objection(self._spec, body)
            if problem is not None:
                await self._objects.reject("TrialRefused", f"its trials cannot run: {problem}")
                self._spec = None
                return False
        self._adopt(await self._objects.create(body, log, self._spec), log)
        return True

    def _wanted(self, number: int) -> Wanted:
        wanted = self._engine.wanted(number)
        watched = self._watched.get(number)
        if watched is None or not watched.silent or wanted.desired is Desired.STOPPED:
            return wanted
        return Wanted(
            desired=Desired.STOPPED,
            reason=EndReason.METRICS_UNAVAILABLE,
            message=watched.silent,
            control=wanted.control,
        )

    async def _agree(self) -> None:
        """Write the spec of every Trial of which something else is wanted, or about which something was decided."""
        found = []
        for number, watched in self._watched.items():
            wanted = self._wanted(number)
            state = (wanted, len(watched.log.decisions))
            if state != watched.agreed:
                watched.agreed = state
                found.append(self._objects.write_spec(watched, wanted))
        await asyncio.gather(*found)

    async def _steer(self, *, again: bool) -> None:
        """Send control messages to trials that have not reported the wanted revision."""
        found = []
        for number, watched in self._watched.items():
            wanted = self._engine.wanted(number)
            control = wanted.control
            is_new = control.revision > watched.sent
            if wanted.desired is not Desired.RUNNING or watched.url is None or not (again or is_new):
                continue
            if is_behind(wanted=control.revision, reported=watched.revision):
                watched.sent = control.revision
                message = ControlMessage(
                    trial=self._objects.trial_name(number),
                    revision=control.revision,
                    learning_rate_scale=control.scale,
                    begin_decay=control.begin_decay,
                    restore=control.restore,
                )
                found.append(self._site.steering.send(watched.url, message))
        for problem in await asyncio.gather(*found):
            if problem is not None:
                _log.info("job %s/%s: a control message was not taken: %s", self._namespace, self._name, problem)

    # Telling people.

    async def _write_curve(self, watched: Watched) -> None:
        await self._objects.write_curve(watched, watched.shown(self._engine))

    async def _write_status(self) -> float | None:
        """Say how the job is doing; not more often than `Site.status_pause` while it goes on.

        Returns:
            Seconds until it may be said, if that is not now.
        """
        if self._spec is None:
            return None
        now = self._site.clock()
        if now < self._status_due and self._engine.finished is None:
            return self._status_due - now
        view = self._engine.view(time=now)
        if await self._objects.write_status(view, time=now):
            self._status_due = now + self._site.status_pause
        if view.best is not None and view.best.number != self._best:
            self._best = view.best.number
            self._objects.announce_best(view.best)
        return None

    def _announce_recent(self) -> None:
        """Announce again what was decided last: the process may have died before it could."""
        now = self._site.clock()
        view = self._engine.view(time=now)
        self._best = None if view.best is None else view.best.number
        for decision in view.decisions:
            if now - decision.time < _RECENT:
                self._objects.announce(decision)
