"""The objects of one TuningJob: read as a whole, and written part by part, each write acknowledged before it counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from tuning_operator.api.trial import Desired
from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.backends.kubernetes import job_status, labels
from tuning_operator.backends.kubernetes.back_off import BackOff
from tuning_operator.backends.kubernetes.errors import AlreadyExists, Conflict, NotFound
from tuning_operator.backends.kubernetes.events import best_event, decision_event, objects_event, source_event
from tuning_operator.backends.kubernetes.job_log import JobLog, belongs_to_job
from tuning_operator.backends.kubernetes.jobs import identity, owner
from tuning_operator.backends.kubernetes.resources import TRIALS, TUNING_JOBS, Object
from tuning_operator.backends.kubernetes.site import Site
from tuning_operator.backends.kubernetes.times import format_time
from tuning_operator.backends.kubernetes.trial_log import TrialLog
from tuning_operator.backends.kubernetes.watched import Watched
from tuning_operator.engine.decisions import Decision
from tuning_operator.engine.events import Event, JobStarted
from tuning_operator.engine.view import JobView, TrialView
from tuning_operator.engine.wanted import Wanted
from tuning_operator.errors import BackendError

MANAGER: Final = "tuning-operator"
CURVE_MANAGER: Final = "tuning-operator-curve"
_CONFLICTS: Final = 6
"""Conflicts in a row after which a study reads all of its objects again."""
_BACK_OFF: Final = BackOff(first=0.05, longest=1.0)


class ObjectsChanged(BackendError):
    """The objects are not as this study left them: read them again."""


class TrialGone(ObjectsChanged):
    """Somebody deleted a Trial that was to go on."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Trial {name} is gone though it had not ended; the job goes on without it")


class StudyObjects:
    """One TuningJob and its Trials.

    Attributes:
        job: The TuningJob as it was last read.
        status: Its status as it was last acknowledged.
        log: The records in it.
    """

    def __init__(self, site: Site, *, namespace: str, name: str) -> None:
        self._site = site
        self._namespace = namespace
        self._name = name
        self.job: Object = {}
        self.status: Object = {}
        self.log = JobLog()

    def __str__(self) -> str:
        return f"TuningJob {self._namespace}/{self._name}"

    @property
    def uid(self) -> str:
        """Which TuningJob of this name it is."""
        return str(self.job["metadata"]["uid"])

    @property
    def generation(self) -> int:
        """Which spec it is."""
        return int(self.job["metadata"]["generation"])

    def trial_name(self, number: int) -> str:
        """Return the name of a Trial, which follows from its number."""
        return f"{self._name}-{number:04d}"

    def identity_of(self, watched: Watched) -> str:
        """Return whom control messages for a trial are addressed to."""
        name = self.trial_name(watched.log.proposed.trial)
        return identity(namespace=self._namespace, name=name, uid=watched.uid)

    async def read_job(self) -> bool:
        """Read the TuningJob from the server; return False if it is gone, or going."""
        try:
            body = await self._site.client.get(TUNING_JOBS, namespace=self._namespace, name=self._name)
        except NotFound:
            return False
        self.job, self.status = body, body.get("status") or {}
        return not body["metadata"].get("deletionTimestamp")

    async def is_there(self) -> bool:
        """Ask the server whether it is this very TuningJob that is there: a cache may be behind."""
        try:
            body = await self._site.client.get(TUNING_JOBS, namespace=self._namespace, name=self._name)
        except NotFound:
            return False
        return bool(body["metadata"]["uid"] == self.uid)

    async def read_trials(self) -> list[Object]:
        """Read the Trials of this very TuningJob from the server."""
        selector = f"{labels.LABEL_JOB}={self._name}"
        bodies, _ = await self._site.client.list(TRIALS, namespace=self._namespace, labels=selector)
        return [body for body in bodies if self._is_owned(body)]

    def render_trial(self, log: TrialLog) -> Object:
        """Return the Trial of a proposal as it is created."""
        name = self.trial_name(log.proposed.trial)
        return {
            "apiVersion": TRIALS.api_version,
            "kind": TRIALS.kind,
            "metadata": {
                "name": name,
                "namespace": self._namespace,
                "labels": labels.trial_labels(self._name, name),
                "ownerReferences": [owner(self.job)],
            },
            "spec": log.spec(job=self._name, wanted=Wanted(desired=Desired.RUNNING)),
        }

    async def create(self, body: Object, log: TrialLog, spec: TuningJobSpec) -> Object:
        """Make a Trial, which is the record of its proposal; if it is there already, that is as good.

        Raises:
            ObjectsChanged: A Trial of this number was proposed with other parameters.
            BackendError: One of this name belongs to something else.
        """
        try:
            created = await self._site.client.create(TRIALS, body)
        except AlreadyExists:
            name = body["metadata"]["name"]
            created = await self._site.client.get(TRIALS, namespace=self._namespace, name=name)
            if not self._is_owned(created):
                raise BackendError(
                    f"a Trial {name} is there that belongs to something else; delete it, or wait until it is gone"
                ) from None
            there, new = TrialLog.read(created, spec).proposed, log.proposed
            if (there.sequence, there.parameters, there.seed) != (new.sequence, new.parameters, new.seed):
                raise ObjectsChanged(f"Trial {name} was proposed already, with other parameters") from None
        log.written = created["spec"]
        self._site.trials.learn(created)
        return created

    async def write_spec(self, watched: Watched, wanted: Wanted) -> None:
        """Write what is wanted of a Trial, and the decisions that it follows from, unless that stands there."""
        spec = watched.log.spec(job=self._name, wanted=wanted)
        if spec != watched.log.written:
            written = await self._apply(watched, {"spec": spec}, manager=MANAGER)
            watched.log.written, watched.generation = written["spec"], written["metadata"]["generation"]

    async def restore_spec(self, watched: Watched, wanted: Wanted, *, found: Object) -> None:
        """Make a Trial's spec what it was before somebody else changed it to `found`, and tell of that."""
        before = watched.log.written or {}
        changed = sorted(name for name in {*before, *found} if before.get(name) != found.get(name))
        name = self.trial_name(watched.log.proposed.trial)
        watched.log.written = None
        await self.write_spec(watched, wanted)
        message = f"somebody changed {', '.join(changed)} in the spec of Trial {name}; it is what was recorded again"
        self._site.post(objects_event(self.job, message, time=self._site.clock()))

    async def write_curve(self, watched: Watched, shown: Object) -> None:
        """Write what was recorded of a Trial, and beside it what is only shown."""
        status = {**watched.log.status(), **shown}
        await self._apply(watched, {"status": status}, manager=CURVE_MANAGER, subresource="status")

    async def write_records(self, records: Sequence[Event]) -> None:
        """Write records about the whole job."""
        for record in records:
            self.log.add(record)
        status = {**self.status, "records": self.log.status()}
        if isinstance(records[0], JobStarted):
            status["startTime"] = format_time(datetime.fromtimestamp(records[0].time, tz=UTC))
        await self._apply_status(status)

    async def write_status(self, view: JobView, *, time: float) -> bool:
        """Write how the job is doing, if that is news; return whether it was."""
        status = job_status.render_status(
            view, time=time, generation=self.generation, before=self.status, records=self.log.status()
        )
        is_news = job_status.is_news(status, self.status)
        if is_news:
            await self._apply_status(status)
        return is_news

    async def reject(self, reason: str, message: str) -> None:
        """Say why the job's manifest cannot be followed."""
        status = job_status.render_rejected(
            reason, message, time=self._site.clock(), generation=self.generation, before=self.status
        )
        if status != self.status:
            await self._apply_status(status)

    def announce(self, decision: Decision) -> None:
        """Tell people of a decision."""
        trial = None
        if decision.trial is not None and not belongs_to_job(decision):
            trial = self._site.trials.get(self._namespace, self.trial_name(decision.trial))
        self._site.post(decision_event(self.job, decision, trial=trial))

    def announce_source(self, trouble: str) -> None:
        """Tell people that the trials cannot be read, or can again."""
        self._site.post(source_event(self.job, trouble, time=self._site.clock()))

    def announce_best(self, best: TrialView) -> None:
        """Tell people of a new best trial."""
        self._site.post(best_event(self.job, best, time=self._site.clock()))

    def _is_owned(self, trial: Object) -> bool:
        return any(one["uid"] == self.uid for one in trial["metadata"].get("ownerReferences") or ())

    async def _apply(self, watched: Watched, part: Object, *, manager: str, subresource: str = "") -> Object:
        name = self.trial_name(watched.log.proposed.trial)
        body = {"metadata": {"name": name, "namespace": self._namespace, "uid": watched.uid}, **part}
        async with self._site.writes:
            written = await self._apply_anew(name, body, manager=manager, subresource=subresource)
        self._site.trials.learn(written)
        return written

    async def _apply_anew(self, name: str, body: Object, *, manager: str, subresource: str) -> Object:
        """Apply; again after a conflict, unless it is another Trial of this name that is there."""
        client, failures = self._site.client, 0
        while True:
            try:
                return await client.apply(TRIALS, body, subresource=subresource, manager=manager)
            except NotFound:
                raise TrialGone(name) from None
            except Conflict:
                failures += 1
                if not await self._is_still_there(name, body["metadata"]["uid"]):
                    raise TrialGone(name) from None
                if failures == _CONFLICTS:
                    raise
                await asyncio.sleep(_BACK_OFF.pause(failures))

    async def _is_still_there(self, name: str, uid: str) -> bool:
        try:
            body = await self._site.client.get(TRIALS, namespace=self._namespace, name=name)
        except NotFound:
            return False
        return bool(body["metadata"]["uid"] == uid)

    async def _apply_status(self, status: Object) -> None:
        metadata = {"name": self._name, "namespace": self._namespace, "uid": self.uid}
        body = {"metadata": metadata, "status": status}
        written = await self._site.client.apply(TUNING_JOBS, body, subresource="status", manager=MANAGER)
        self.status = written["status"]
        self._site.tuning_jobs.learn(written)
