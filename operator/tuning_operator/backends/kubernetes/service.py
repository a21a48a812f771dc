"""Everything that a leading operator does, put together: caches, the trial controller, the studies, the Events.

It knows nothing of kopf, signals or leadership; `process` is the shell around it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from trial_protocol.control import KeyPair
from trial_protocol.result import TrialResult
from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.backends.kubernetes import gpus, labels, pods
from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.dry_run import dry_run_job
from tuning_operator.backends.kubernetes.errors import Forbidden, NotFound
from tuning_operator.backends.kubernetes.events import EventPoster, trial_event
from tuning_operator.backends.kubernetes.meters import WorkMeters
from tuning_operator.backends.kubernetes.reflector import Reflector
from tuning_operator.backends.kubernetes.resources import (
    JOBS,
    PODS,
    SERVICES,
    TRIALS,
    TUNING_JOBS,
    Object,
    key_of,
    name_of,
)
from tuning_operator.backends.kubernetes.sightings import trim_pod, trim_service
from tuning_operator.backends.kubernetes.site import Endpoint, Site
from tuning_operator.backends.kubernetes.snapshot import CacheState, Snapshot
from tuning_operator.backends.kubernetes.studies import Studies
from tuning_operator.backends.kubernetes.times import parse_time
from tuning_operator.backends.kubernetes.trial_controller import TrialController
from tuning_operator.scrape.prometheus import Access
from tuning_operator.scrape.scraper import Scraper
from tuning_operator.scrape.steering import Steering

_PATIENCE: Final = 1.0
_log = logging.getLogger(__name__)
OURS: Final = f"app.kubernetes.io/managed-by={labels.MANAGED_BY}"
_ANY_UID: Final = "00000000-0000-0000-0000-000000000000"


class Service:
    """One operator at work.

    Args:
        namespace: The only one that is served; None for all.
        instance: Name of this process in Events.
        meters: Where it is counted what is done; shared with the other services of this process.
        access: The Prometheus server that the operator was set up with.
    """

    def __init__(
        self,
        client: Client,
        *,
        keys: KeyPair,
        instance: str,
        namespace: str | None = None,
        meters: WorkMeters | None = None,
        access: Access | None = None,
    ) -> None:
        self._client = client
        self._keys = keys
        self.namespace: Final = namespace
        meters = meters or WorkMeters()
        told = meters.watch_restarted
        self.tuning_jobs: Final = Reflector(client, TUNING_JOBS, namespace=namespace, on_restart=told)
        self.trials: Final = Reflector(client, TRIALS, namespace=namespace, on_restart=told)
        self.jobs: Final = Reflector(client, JOBS, namespace=namespace, labels=OURS, on_restart=told)
        self.pods: Final = Reflector(client, PODS, namespace=namespace, labels=OURS, trim=trim_pod, on_restart=told)
        self.services: Final = Reflector(
            client, SERVICES, namespace=namespace, labels=OURS, trim=trim_service, on_restart=told
        )
        self.reflectors: Final = (self.tuning_jobs, self.trials, self.jobs, self.pods, self.services)
        self.events: Final = EventPoster(client, instance=instance)
        self.controller: Final = TrialController(
            client,
            trials=self.trials,
            jobs=self.jobs,
            pods=self.pods,
            services=self.services,
            tuning_jobs=self.tuning_jobs,
            public_key=keys.public_pem,
            notify=self._notify,
            observe=meters.trial_reconciled,
        )
        self.scraper: Final = Scraper(observe=meters.scraped, access=access)
        self.studies: Final = Studies(
            Site(
                client=client,
                tuning_jobs=self.tuning_jobs,
                trials=self.trials,
                scraper=self.scraper,
                steering=Steering(self.scraper.fetcher, private_key=keys.private_pem, observe=meters.control_sent),
                endpoint=self.endpoint,
                result=self.result,
                gpu_seconds=self.gpu_seconds,
                objection=self._objection,
                post=self.events.post,
                stepped=meters.job_reconciled,
            )
        )
        self._ready = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        """Whether all caches are complete, and work goes on."""
        return self._ready.is_set()

    @property
    def refusal(self) -> str:
        """Why the API server does not let this be served; empty if it does, or has not said so."""
        if self.is_ready:
            return ""
        for reflector in self.reflectors:
            if isinstance(reflector.trouble, NotFound):
                return f"{reflector.trouble}; are the CRDs (crds/) installed?"
            if isinstance(reflector.trouble, Forbidden):
                if self.namespace is None:
                    return f"{reflector.trouble}; bind the operator's ClusterRole, or serve single namespaces"
                return (
                    f"namespace {self.namespace} cannot be served: {reflector.trouble}; is it there, and does the "
                    "operator have its Role in it? This is tried again"
                )
        return ""

    async def wait_ready(self) -> None:
        """Wait until all caches are complete."""
        await self._ready.wait()

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with self.scraper, asyncio.TaskGroup() as group:
                for part in (*self.reflectors, self.controller, self.studies, self.events):
                    group.create_task(part.run())
                for reflector in self.reflectors:
                    await self._wait_synced(reflector)
                self._ready.set()
        finally:
            self._ready.clear()

    async def _wait_synced(self, reflector: Reflector) -> None:
        """Wait for a cache, and say what is in the way."""
        said = ""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    return await reflector.wait_synced()
            if self.refusal != said:
                said = self.refusal
                _log.error("%s", said)

    def endpoint(self, trial: Object) -> Endpoint | None:
        """Return where a Trial answers; None unless the pod that runs is the one that its status counts."""
        pod = pods.scraped_pod(self.controller.sightings.of(key_of(trial)))
        if pod is None or name_of(pod) != (trial.get("status") or {}).get("pod"):
            return None
        address = str(pod["status"]["podIP"])
        host = f"[{address}]" if ":" in address else address
        began = parse_time(pod["status"].get("startTime"))
        since = None if began is None else began.timestamp()
        return Endpoint(url=f"http://{host}:{labels.PORT}", since=since, pod=name_of(pod))

    def result(self, trial: Object) -> TrialResult | None:
        """Return the last word of the newest pod of rank 0 that has ended and said something."""
        leading = (sight for sight in self.controller.sightings.of(key_of(trial)) if pods.rank(sight.pod) == 0)
        said = [end.result for end in pods.ends(leading) if end.result is not None]
        return said[-1] if said else None

    def gpu_seconds(self, trial: Object) -> float:
        """Return what a Trial has used: what is recorded, and what its pods have used since."""
        status = trial.get("status") or {}
        recorded = float(status.get("gpuSeconds") or 0)
        if status.get("reason"):
            return recorded
        since = parse_time(status.get("accountedUntil"))
        sights = self.controller.sightings.of(key_of(trial))
        return recorded + gpus.usage(sights, since=since, now=datetime.now(UTC)).gpu

    async def _objection(self, spec: TuningJobSpec, trial: Object) -> str | None:
        body = {**trial, "metadata": {**trial["metadata"], "uid": _ANY_UID}}
        queue = self.controller.specs.labels_for(trial)
        return await dry_run_job(self._client, spec, trial=body, public_key=self._keys.public_pem, queue=queue)

    def _notify(self, trial: Object, kind: str, reason: str, message: str) -> None:
        self.events.post(trial_event(trial, kind, reason, message, time=time.time()))


def take_snapshot(services: Sequence[Service]) -> Snapshot:
    """Return what all services of a process know now."""
    trials = [body for service in services for body in service.trials.objects.values()]
    sights = {
        key: service.controller.sightings.of(key)
        for service in services
        for key, body in service.trials.objects.items()
        if not (body.get("status") or {}).get("reason")
    }
    caches: dict[str, CacheState] = {}
    for reflectors in zip(*(service.reflectors for service in services), strict=True):
        ages = [reflector.age for reflector in reflectors if reflector.age is not None]
        size = sum(len(reflector.objects) for reflector in reflectors)
        caches[reflectors[0].resource.plural] = CacheState(size=size, age=max(ages, default=None))
    return Snapshot(
        now=time.time(),
        jobs=[body for service in services for body in service.tuning_jobs.objects.values()],
        trials=trials,
        glimpses={key: glimpse for service in services for key, glimpse in service.studies.glimpses().items()},
        sights=sights,
        queues={
            "trials": sum(service.controller.queue.depth for service in services),
            "events": sum(service.events.depth for service in services),
        },
        oldest={"trials": max(service.controller.queue.oldest_age for service in services)},
        caches=caches,
    )
