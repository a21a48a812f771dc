"""A Study for every TuningJob: started when the job appears, and started anew, after a pause, when it fails."""

from __future__ import annotations

import asyncio
import logging

from tuning_operator.backends.kubernetes import labels
from tuning_operator.backends.kubernetes.back_off import BackOff
from tuning_operator.backends.kubernetes.events import objects_event
from tuning_operator.backends.kubernetes.reflector import Change, Key
from tuning_operator.backends.kubernetes.resources import Object, key_of, name_of
from tuning_operator.backends.kubernetes.site import Site
from tuning_operator.backends.kubernetes.snapshot import Glimpse
from tuning_operator.backends.kubernetes.study import Study
from tuning_operator.backends.kubernetes.study_objects import ObjectsChanged
from tuning_operator.errors import TuningError
from tuning_operator.search.proposer import load_samplers

_log = logging.getLogger(__name__)
_HEALTHY = 60.0
"""Seconds after which earlier failures of a study are forgotten."""


class Studies:
    """All studies of one operator; `run` needs the site's reflectors to run beside it."""

    def __init__(self, site: Site, *, back_off: BackOff | None = None) -> None:
        self._site = site
        self._back_off = back_off or BackOff()
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._studies: dict[Key, Study] = {}
        self._group: asyncio.TaskGroup | None = None
        site.tuning_jobs.listen(lambda change, body: self.hear_job(change, body))
        site.trials.listen(lambda _, body: self._hear_trial(body))

    @property
    def keys(self) -> list[Key]:
        """Return the jobs that have a study now."""
        return list(self._tasks)

    def glimpses(self) -> dict[Key, Glimpse]:
        """Return what was seen last of all trials that run."""
        return {
            (key[0], name): glimpse
            for key, study in self._studies.items()
            for name, glimpse in study.glimpses().items()
        }

    async def run(self) -> None:
        """Drive all jobs until cancelled, from the moment that the caches are complete."""
        await asyncio.to_thread(load_samplers)
        await self._site.tuning_jobs.wait_synced()
        await self._site.trials.wait_synced()
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                for body in list(self._site.tuning_jobs.objects.values()):
                    self.hear_job(Change.ADDED, body)
                await asyncio.get_running_loop().create_future()
            finally:
                self._group = None  # While the last ones end, no new ones begin.

    def hear_job(self, change: Change, body: Object) -> None:
        """Take in that a TuningJob is there, has changed or is gone; saying so twice does no harm."""
        key = key_of(body)
        if key in self._studies:
            self._studies[key].hear()
        elif self._group is not None and change is not Change.DELETED and key not in self._tasks:
            self._tasks[key] = self._group.create_task(self._drive(key))

    def _hear_trial(self, body: Object) -> None:
        job = (body["metadata"].get("labels") or {}).get(labels.LABEL_JOB)
        study = self._studies.get((body["metadata"]["namespace"], job)) if job else None
        if study is not None:
            study.hear(name_of(body))

    async def _drive(self, key: Key) -> None:
        failures = 0
        try:
            while True:
                study = self._studies[key] = Study(self._site, namespace=key[0], name=key[1])
                began = asyncio.get_running_loop().time()
                try:
                    await study.run()
                    body = self._site.tuning_jobs.get(*key)
                    if body is None or body["metadata"].get("deletionTimestamp"):
                        return
                except ObjectsChanged as error:
                    _log.info("job %s/%s: %s", *key, error)
                    body = self._site.tuning_jobs.get(*key)
                    if body is not None and not body["metadata"].get("deletionTimestamp"):
                        self._site.post(objects_event(body, str(error), time=self._site.clock()))
                except TuningError as error:
                    _log.warning("job %s/%s: %s", *key, error)
                except Exception:
                    _log.exception("job %s/%s", *key)
                failures = failures + 1 if asyncio.get_running_loop().time() - began < _HEALTHY else 1
                await asyncio.sleep(self._back_off.pause(failures))
        finally:
            del self._studies[key], self._tasks[key]
