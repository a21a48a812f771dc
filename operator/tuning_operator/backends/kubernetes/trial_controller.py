"""Makes Jobs, Services and the lifecycle part of the status agree with what Trials want.

One key is one Trial. Everything that changes near it (the Trial, its Job, its pods, its TuningJob's template) puts the
key into the queue; a worker then looks at all of it anew. Each step may be repeated and the process may die between
any two: names are deterministic, a Job is created and never changed, and what is read back decides the next step.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import aiohttp

from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.errors import AlreadyExists, ApiError, Forbidden, Invalid, NotFound
from tuning_operator.backends.kubernetes.job_specs import JobSpecs
from tuning_operator.backends.kubernetes.jobs import container_name, render_job, render_service
from tuning_operator.backends.kubernetes.lifecycle import judge
from tuning_operator.backends.kubernetes.outcome import PodEnd
from tuning_operator.backends.kubernetes.reflector import Change, Key, Reflector
from tuning_operator.backends.kubernetes.resources import JOBS, SERVICES, TRIALS, Object, key_of, name_of
from tuning_operator.backends.kubernetes.sightings import Sight, Sightings, trial_of
from tuning_operator.backends.kubernetes.trial_state import Seen, State, Verdict, recorded_state
from tuning_operator.backends.kubernetes.trial_status import MANAGER, render_status
from tuning_operator.backends.kubernetes.work_queue import WorkQueue
from tuning_operator.engine.events import EndReason
from tuning_operator.errors import BackendError

_log = logging.getLogger(__name__)
_QUIET: Final = frozenset({State.PENDING, State.STARTING})
"""States that most Trials leave within seconds; the first write of a status waits for what comes next."""
_PATIENCE: Final = 5.0
_WORTH_TELLING: Final = frozenset({State.RESTARTING, State.RECREATING, State.NODE_LOST, State.REJECTED})
_LOG_SECONDS: Final = 5.0

Observe = Callable[[float, bool], None]
"""Told of each look at a Trial how long it took, and whether it failed."""

Notify = Callable[[Object, str, str, str], None]
"""Told of a Trial, an Event's type (Normal or Warning), its reason and its message; must not block."""


class TrialController:
    """Reconciles Trials; `run` needs the reflectors to run beside it.

    Args:
        jobs, pods, services: Caches of what carries the label ``app.kubernetes.io/managed-by=tuning-operator``.
        public_key: PEM of the key that control messages are signed with; goes into the pods.
        clock: The time of day.
        queue: Of keys (namespace, name); its depth and age are worth watching.

    Attributes:
        specs: What TuningJobs ask of their trials' Jobs.
    """

    def __init__(
        self,
        client: Client,
        *,
        trials: Reflector,
        jobs: Reflector,
        pods: Reflector,
        services: Reflector,
        tuning_jobs: Reflector,
        public_key: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        queue: WorkQueue[Key] | None = None,
        notify: Notify = lambda _trial, _type, _reason, _message: None,
        observe: Observe = lambda _seconds, _failed: None,
        workers: int = 16,
    ) -> None:
        self.queue: WorkQueue[Key] = queue or WorkQueue()
        self.sightings = Sightings(clock)
        self._client = client
        self._trials = trials
        self._jobs = jobs
        self._pods = pods
        self._services = services
        self._tuning_jobs = tuning_jobs
        self._public_key = public_key
        self._clock = clock
        self._notify = notify
        self._observe = observe
        self._workers = workers
        self.specs: Final = JobSpecs(tuning_jobs)
        for reflector in (trials, jobs, pods, services, tuning_jobs):
            for body in reflector.objects.values():
                self._hear(reflector, Change.ADDED, body)
        trials.listen(lambda change, body: self._hear(trials, change, body))
        jobs.listen(lambda change, body: self._hear(jobs, change, body))
        pods.listen(lambda change, body: self._hear(pods, change, body))
        services.listen(lambda change, body: self._hear(services, change, body))
        tuning_jobs.listen(lambda change, body: self._hear(tuning_jobs, change, body))

    async def run(self) -> None:
        """Reconcile until cancelled, from the moment that all caches are complete."""
        for reflector in (self._tuning_jobs, self._trials, self._jobs, self._pods, self._services):
            await reflector.wait_synced()
        await self.queue.run(self._observed, workers=self._workers, on_error=self._failed)

    async def _observed(self, key: Key) -> None:
        began, failed = time.perf_counter(), True
        try:
            await self.reconcile(key)
            failed = False
        finally:
            self._observe(time.perf_counter() - began, failed)

    def used_by(self, namespace: str, name: str) -> tuple[Sight, ...]:
        """Return the pods of a Trial, those that are gone too: what to scrape, and what was used (`gpus.usage`)."""
        return self.sightings.of((namespace, name))

    async def reconcile(self, key: Key) -> None:
        """Bring one Trial a step nearer to what it wants.

        Raises:
            ApiError: Try again later.
        """
        trial = self._trials.get(*key)
        if trial is None:
            self.sightings.forget(key)
            return
        seen = self._look(trial)
        verdict = judge(seen)
        await self._say(seen, verdict)
        if verdict.create:
            await self._create(seen)
        if verdict.serve:
            await self._serve(trial)
            message = "its Service was deleted, and not by this operator; it is made again"
            self._notify(trial, "Warning", str(State.RECREATING), message)
        if verdict.delete and seen.job is not None:
            await self._delete(seen.job)
        if verdict.again is not None:
            self.queue.add_after(key, verdict.again)

    def _look(self, trial: Object) -> Seen:
        """Return what is this Trial's; what an earlier Trial of its name left behind is not."""
        key = key_of(trial)
        job, service = self._jobs.get(*key), self._services.get(*key)
        born = trial["metadata"]["creationTimestamp"]
        return Seen(
            trial=trial,
            spec=self.specs.of(trial),
            job=job if job is not None and _owned_by(job, trial) else None,
            pods=tuple(sight for sight in self.sightings.of(key) if sight.pod["metadata"]["creationTimestamp"] >= born),
            now=self._clock(),
            has_service=service is not None and _owned_by(service, trial),
        )

    async def _say(self, seen: Seen, verdict: Verdict) -> None:
        """Write the status if it says something new, and tell of what a person should know."""
        log = await self._last_lines(seen, verdict.log_of) if verdict.log_of else ""
        status = render_status(seen, verdict, log=log)
        if status is None:
            return
        trial = seen.trial
        before = recorded_state(trial)
        if before is None and verdict.end is None and verdict.state in _QUIET and not verdict.message:
            age = (seen.now - datetime.fromisoformat(trial["metadata"]["creationTimestamp"])).total_seconds()
            if age < _PATIENCE:
                self.queue.add_after(key_of(trial), _PATIENCE - age)
                return
        metadata = {
            "name": name_of(trial),
            "namespace": trial["metadata"]["namespace"],
            "uid": trial["metadata"]["uid"],
        }
        try:
            written = await self._client.apply(
                TRIALS, {"metadata": metadata, "status": status}, subresource="status", manager=MANAGER
            )
        except NotFound:
            return  # It was deleted meanwhile. A conflict may be a race between writes, and is tried again.
        if verdict.end is not None:
            failed = verdict.end.reason.is_failure
            self._notify(trial, "Warning" if failed else "Normal", verdict.end.reason.value, verdict.end.message)
        elif verdict.state in _WORTH_TELLING and before != verdict.state:
            self._notify(trial, "Warning", str(verdict.state), verdict.message)
        self._trials.learn(written)

    async def _create(self, seen: Seen) -> None:
        trial, spec = seen.trial, seen.spec
        assert spec is not None
        namespace, name = key_of(trial)
        try:
            job = render_job(trial, spec=spec, public_key=self._public_key, queue=self.specs.labels_for(trial))
            if spec.trial.nodes > 1:
                await self._serve(trial)
            self._jobs.learn(await self._client.create(JOBS, job))
        except AlreadyExists:
            found = await self._client.get(JOBS, namespace=namespace, name=name)
            if _owned_by(found, trial):
                self._jobs.learn(found)  # The answer to an earlier request was lost.
                return
            message = f"a Job {name} is there that does not belong to this Trial; delete it, or it goes by itself"
            await self._say(seen, Verdict(state=State.REJECTED, message=message))
            raise
        except Forbidden as error:
            # A quota or an admission rule: it may be lifted without any change to the Trial.
            await self._say(seen, Verdict(state=State.REJECTED, message=str(error)))
            raise
        except BackendError as error:
            if isinstance(error, ApiError) and not isinstance(error, Invalid):
                raise
            end = PodEnd(reason=EndReason.CONFIGURATION_ERROR, message=f"its Job is not valid: {error}")
            await self._say(seen, Verdict(end=end))

    async def _serve(self, trial: Object) -> None:
        self._services.learn(await self._client.apply(SERVICES, render_service(trial)))

    async def _delete(self, job: Object) -> None:
        metadata = job["metadata"]
        try:
            going = await self._client.delete(
                JOBS,
                namespace=metadata["namespace"],
                name=metadata["name"],
                uid=metadata["uid"],
                foreground=True,
            )
        except NotFound:
            return  # It is gone; the watch tells.
        if going["kind"] == JOBS.kind:
            self._jobs.learn(going)  # Else it would be deleted again until the watch has told of it.

    async def _last_lines(self, seen: Seen, name: str) -> str:
        """Return the last lines that the failed pod wrote; nothing, if they cannot be had at once."""
        pod = next((sight.pod for sight in seen.pods if name_of(sight.pod) == name), None)
        if pod is None:
            return ""
        try:
            async with asyncio.timeout(_LOG_SECONDS):
                return await self._client.read_log(
                    namespace=pod["metadata"]["namespace"], pod=name, container=container_name(pod)
                )
        except (BackendError, aiohttp.ClientError, TimeoutError, OSError) as error:
            _log.info("no log of pod %s: %s", name, error)
            return ""

    def _failed(self, key: Key, error: Exception, pause: float) -> None:
        if isinstance(error, BackendError):
            _log.warning("trial %s/%s: %s; again in %.1f s", *key, error, pause)
        else:
            _log.error("trial %s/%s: again in %.1f s", *key, pause, exc_info=error)

    def _hear(self, reflector: Reflector, change: Change, body: Object) -> None:
        if reflector is self._trials:
            self.queue.add(key_of(body))
        elif reflector is self._tuning_jobs:
            if self.specs.hear(change, body):
                namespace, name = key_of(body)
                for trial, found in self._trials.objects.items():
                    if trial[0] == namespace and found["spec"]["job"] == name:
                        self.queue.add(trial)
        else:
            key = self.sightings.see(change, body) if reflector is self._pods else trial_of(body)
            if key is not None:
                self.queue.add(key)


def _owned_by(body: Object, owner: Object) -> bool:
    uid = owner["metadata"]["uid"]
    return any(one.get("uid") == uid for one in body["metadata"].get("ownerReferences") or ())
