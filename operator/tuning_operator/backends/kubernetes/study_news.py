"""What happened to the trials of a study since it looked last, as events that are not yet recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from tuning_operator.api.trial import Desired
from tuning_operator.backends.kubernetes.site import Endpoint, Site
from tuning_operator.backends.kubernetes.study_state import StudyState
from tuning_operator.backends.kubernetes.watched import Watched
from tuning_operator.engine.events import AttemptStarted, EndReason, Event, TrialEnded
from tuning_operator.scrape.look import Look

Events = list[tuple[int, list[Event]]]
"""Events by the number of their trial."""


def lifecycle(site: Site, state: StudyState, touched: Iterable[str]) -> Events:
    """Return the attempts that began."""
    found: Events = []
    for number, body in state.bodies(touched):
        attempt = (body.get("status") or {}).get("attempt", 0)
        if attempt > state.engine.trial(number).attempt:
            event = state.engine.event(AttemptStarted, time=site.clock(), trial=number, attempt=attempt)
            found.append((number, [event]))
    return found


def ends(site: Site, state: StudyState, touched: Iterable[str]) -> Events:
    """Return the ends of trials, and before each what its last word adds to its curve."""
    engine = state.engine
    found: Events = []
    for number, body in state.bodies(touched):
        status = body.get("status") or {}
        if not status.get("reason"):
            continue
        watched, now = state.watched[number], site.clock()
        attempt = max(status.get("attempt", 0), engine.trial(number).attempt)
        reason, result = EndReason(status["reason"]), site.result(body)
        last = watched.last_word(result, attempt=attempt, time=now) if reason is EndReason.COMPLETED else []
        marks = engine.observe(trial=number, observations=last, pulse=None, time=now)
        wanted = state.wanted(number)
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
        found.append((number, [*marks, end]))
    return found


async def look(site: Site, state: StudyState) -> Events:
    """Look at every running trial at once, and return what is new."""
    engine = state.engine
    targets: list[tuple[int, Watched, Endpoint, int]] = []
    for number, body in state.bodies():
        attempt = engine.trial(number).attempt
        endpoint = site.endpoint(body) if attempt else None
        if endpoint is not None:
            targets.append((number, state.watched[number], endpoint, attempt))
    looks: Sequence[Look] = await asyncio.gather(
        *(watched.look(site.scraper, endpoint, attempt=attempt) for _, watched, endpoint, attempt in targets)
    )
    found: Events = []
    for (number, watched, _, _), seen in zip(targets, looks, strict=True):
        events = engine.observe(trial=number, observations=seen.observations, pulse=seen.pulse, time=site.clock())
        found.append((number, events))
        await _judge_silence(site, state, watched)
    return found


async def _judge_silence(site: Site, state: StudyState, watched: Watched) -> None:
    """Give a trial up that reports nothing that could be judged."""
    since = watched.log.attempts[-1].time if watched.log.attempts else None
    patience = state.spec.metrics.first_within.total_seconds()
    if since is None or watched.has_spoken or watched.silent or site.clock() - since < patience:
        return
    why = await watched.explain()
    watched.silent = f"no usable metric within {patience:g} s: {why}"
