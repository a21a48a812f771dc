"""What all studies of one operator share: the way to the API server, to the trials, and to the time of day."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from trial_protocol.result import TrialResult
from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.events import Post
from tuning_operator.backends.kubernetes.reflector import Reflector
from tuning_operator.backends.kubernetes.resources import Object
from tuning_operator.scrape.scraper import Scraper
from tuning_operator.scrape.steering import Steering


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a running trial answers.

    Attributes:
        since: When the pod began, in seconds since the epoch; what its history tells of earlier belongs to earlier
            attempts. None if it is not known.
        pod: Its name, by which a Prometheus server knows it.
    """

    url: str
    since: float | None = None
    pod: str = ""


async def _no_objection(_spec: TuningJobSpec, _trial: Object) -> str | None:
    return None


@dataclass(frozen=True, kw_only=True)
class Site:
    """Everything outside of a study.

    Attributes:
        tuning_jobs, trials: Caches, for what others wrote; a study's own writes are in its own hands.
        endpoint: Where a Trial answers; None while it does not run.
        result: The last word of a Trial's newest pod that has ended; None if it said nothing or is forgotten.
        gpu_seconds: GPU time that a Trial has used until now.
        objection: What the API server has against a trial's Job; None if it takes it. Asked once, before the first.
        post: Has an Event written.
        clock: Seconds since the epoch.
    """

    client: Client
    tuning_jobs: Reflector
    trials: Reflector
    scraper: Scraper
    steering: Steering
    endpoint: Callable[[Object], Endpoint | None]
    result: Callable[[Object], TrialResult | None] = lambda _: None
    gpu_seconds: Callable[[Object], float] = lambda trial: float((trial.get("status") or {}).get("gpuSeconds") or 0)
    objection: Callable[[TuningJobSpec, Object], Awaitable[str | None]] = _no_objection
    post: Post = lambda _: None
    clock: Callable[[], float] = time.time
    status_pause: float = 1.0
    """Least seconds between two writes of a TuningJob's status that only tell how it goes on."""
    stepped: Callable[[float, bool], None] = lambda _seconds, _failed: None
    """Told of each step of a study how long it took, and whether it failed."""
    writes: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(32))
    """Writes at once, over all studies."""
