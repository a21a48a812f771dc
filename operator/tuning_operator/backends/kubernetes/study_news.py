"""What happened to the trials of a study since it looked last, as events that are not yet recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tuning_operator.api.trial import Desired
from tuning_operator.backends.kubernetes.resources import Object
from tuning_operator.backends.kubernetes.site import Endpoint, Site
from tuning_operator.backends.kubernetes.study_state import StudyState
from tuning_operator.backends.kubernetes.times import parse_time
from tuning_operator.backends.kubernetes.watched import Watched
from tuning_operator.engine.events import AttemptStarted, EndReason, Event, TrialEnded

Events = list[tuple[int, list[Event]]]
"""Events by the number of their trial."""


def lifecycle(site: Site, state: StudyState, touched: Iterable[str]) -> Events:
    """Return the attempts that began."""
    return [(number, _attempt(site, state, number, body)) for number, body in state.bodies(touched)]


def _attempt(site: Site, state: StudyState, number: int, body: Object) -> list[Event]:
    attempt = (body.get("status") or {}).get("attempt", 0)
    if attempt <= state.engine.trial(number).attempt:
        return []
    return [state.engine.event(AttemptStarted, time=site.clock(), trial=number, attempt=attempt)]


def ends(site: Site, state: StudyState, touched: Iterable[str]) -> Events:
    """Return the ends of trials, and before each what its last word adds to its curve.

    An attempt that was over before anybody looked has begun, too.
    """
    engine = state.engine
    found: Events = []
    for number, body in state.bodies(touched):
        status = body.get("status") or {}
        if not status.get("reason"):
            continue
        watched, now = state.watched[number], site.clock()
        attempt = max(status.get("attempt", 0), engine.trial(number).attempt)
        reason, result = EndReason(status["reason"]), site.result(body)
        last = watched.last_words(result, attempt=attempt, time=now) if reason is EndReason.COMPLETED else []
        marks = engine.observe(trial=number, observations=last, pulse=None, time=now)
        wanted = state.wanted(number)
        is_ours = wanted.desired is Desired.STOPPED and wanted.reason is reason
        end = engine.event(
            TrialEnded,
            time=now,
            trial=number,
            attempt=attempt,
            reason=reason,
            value=watched.value(engine, reason, result),
            fraction=watched.fraction(engine, reason),
            compute_seconds=float(status.get("computeSeconds") or 0),
            gpu_seconds=float(status.get("gpuSeconds") or 0),
            checkpoint=status.get("checkpoint") or "",
            message=wanted.message if is_ours else status.get("message") or "",
        )
        found.append((number, [*_attempt(site, state, number, body), *marks, end]))
    return found


async def look(site: Site, state: StudyState, turn: Callable[[int], bool]) -> Events:
    """Look at all running trials at once whose turn it is, and return what is new."""
    targets: list[tuple[int, Watched]] = []
    for number, body in state.bodies(state.names(turn)):
        attempt = state.engine.trial(number).attempt
        endpoint = site.endpoint(body) if attempt else None
        if endpoint is not None:
            state.watched[number].reader_at(state.source, endpoint, attempt=attempt)
            targets.append((number, state.watched[number]))
    found = await _read(site, state, targets)
    for _, watched in targets:
        await _judge_silence(site, state, watched)
    return found


async def look_back(site: Site, state: StudyState, touched: Iterable[str]) -> Events:
    """Return what trials did between the last look and their end, where the source still knows it."""
    if not state.source.remembers:
        return []
    targets: list[tuple[int, Watched]] = []
    for number, body in state.bodies(touched):
        status = body.get("status") or {}
        if not status.get("reason") or not status.get("pod"):
            continue
        watched, began = state.watched[number], parse_time(status.get("startTime"))
        last = Endpoint(url="", since=None if began is None else began.timestamp(), pod=status["pod"])
        if watched.endpoint is not None and watched.endpoint.pod == last.pod:
            last = watched.endpoint
        watched.reader_at(state.source, last, attempt=state.engine.trial(number).attempt)
        targets.append((number, watched))
    return await _read(site, state, targets)


async def _read(site: Site, state: StudyState, targets: Sequence[tuple[int, Watched]]) -> Events:
    engine = state.engine
    found: Events = []
    looks = await state.source.look([watched.reader for _, watched in targets])
    for (number, watched), seen in zip(targets, looks, strict=True):
        for look in map(watched.take, seen):
            events = engine.observe(trial=number, observations=look.observations, pulse=look.pulse, time=site.clock())
            found.append((number, events))
    return found


async def _judge_silence(site: Site, state: StudyState, watched: Watched) -> None:
    """Give a trial up that reports nothing that could be judged."""
    source = state.source
    if not watched.log.attempts or watched.has_spoken or watched.silent or source.trouble:
        return
    since = max(watched.log.attempts[-1].time, source.reads_since)
    patience = state.spec.metrics.first_within.total_seconds()
    if site.clock() - since < patience:
        return
    why = await watched.explain()
    watched.silent = f"no usable metric within {patience:g} s: {why}"
