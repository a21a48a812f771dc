"""Kubernetes Events (events.k8s.io/v1): every decision with its numbers, and every new best trial.

An Event's name follows from what it tells of, so that telling it twice, as after a crash, makes one Event. Telling is
never waited for: the records are in the objects, and an Event that is lost loses a line of ``kubectl describe``.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from tuning_operator.api.metadata import GROUP
from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.errors import AlreadyExists, ApiError
from tuning_operator.backends.kubernetes.resources import EVENTS, Object, name_of
from tuning_operator.engine.decisions import Action, Decision
from tuning_operator.engine.view import TrialView

CONTROLLER: Final = f"{GROUP}/operator"
LONGEST_NOTE: Final = 1024
_ROOM: Final = 2048
_log = logging.getLogger(__name__)

Post = Callable[[Object], None]
"""Takes an Event to be written some time soon; never blocks."""


def decision_event(job: Object, decision: Decision, *, trial: Object | None) -> Object:
    """Return the Event of a decision, about its trial or, without one, about the job."""
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in decision.inputs.items())
    told = "" if decision.enforced else " (observed only, nothing is done)"
    change = ""
    if decision.action is Action.CHANGE_LEARNING_RATE:
        change = f"; learning rate scale {decision.scale:g}, revision {decision.revision}"
    return _event(
        name=f"{name_of(job)}.{_short(job)}.{decision.sequence}",
        about=job if trial is None else trial,
        beside=None if trial is None else job,
        time=decision.time,
        kind="Warning" if decision.reason == "TooManyFailures" else "Normal",
        action=str(decision.action),
        reason=decision.reason or str(decision.action),
        note=f"{decision.rule}{told}: {decision.sentence}{change} [{numbers}]",
    )


def best_event(job: Object, best: TrialView, *, time: float) -> Object:
    """Return the Event of a new best trial."""
    parameters = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in best.parameters.items()
    )
    return _event(
        name=f"{name_of(job)}.{_short(job)}.best.{best.number}",
        about=job,
        beside=None,
        time=time,
        kind="Normal",
        action="Compare",
        reason="NewBest",
        note=f"trial {best.name} is the best so far with {best.result:.6g} ({parameters})",
    )


def source_event(job: Object, trouble: str, *, time: float) -> Object:
    """Return the Event of a source of metrics that cannot be read any more, or (without trouble) again."""
    return _event(
        name=f"{name_of(job)}.{_short(job)}.metrics.{round(time * 1000)}",
        about=job,
        beside=None,
        time=time,
        kind="Warning" if trouble else "Normal",
        action="Read",
        reason="MetricsUnreadable" if trouble else "MetricsReadable",
        note=f"{trouble}; until it can be read, nothing is decided and no trial is given up for its silence"
        if trouble
        else "the trials can be read again",
    )


def objects_event(job: Object, message: str, *, time: float) -> Object:
    """Return the Event of objects of a job that somebody else changed or deleted."""
    return _event(
        name=f"{name_of(job)}.{_short(job)}.objects.{round(time * 1000)}",
        about=job,
        beside=None,
        time=time,
        kind="Warning",
        action="Read",
        reason="ObjectsChanged",
        note=message,
    )


def trial_event(trial: Object, kind: str, reason: str, message: str, *, time: float) -> Object:
    """Return the Event of something that the trial controller found."""
    digest = hashlib.sha256(f"{reason} {message}".encode()).hexdigest()[:10]
    return _event(
        name=f"{name_of(trial)}.{_short(trial)}.{digest}",
        about=trial,
        beside=None,
        time=time,
        kind=kind,
        action="Watch",
        reason=reason,
        note=message or reason,
    )


class EventPoster:
    """Writes Events one after the other; `run` it beside everything else.

    Args:
        instance: Name of this process, for people with several.
    """

    def __init__(self, client: Client, *, instance: str) -> None:
        self._client = client
        self._instance = instance[:128]
        self._waiting: asyncio.Queue[Object] = asyncio.Queue(_ROOM)

    @property
    def depth(self) -> int:
        """Events that wait to be written."""
        return self._waiting.qsize()

    def post(self, event: Object) -> None:
        """Have an Event written soon; dropped while thousands are waiting already."""
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            _log.warning("too many Events wait to be written; %s is dropped", name_of(event))

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            event = await self._waiting.get()
            try:
                await self._client.create(EVENTS, {**event, "reportingInstance": self._instance})
            except AlreadyExists:
                pass
            except ApiError as error:
                _log.warning("an Event could not be written: %s", error)
            finally:
                self._waiting.task_done()

    async def drain(self) -> None:
        """Wait until everything that was posted is written."""
        await self._waiting.join()


def _event(
    *, name: str, about: Object, beside: Object | None, time: float, kind: str, action: str, reason: str, note: str
) -> Object:
    out: Object = {
        "metadata": {"name": name, "namespace": about["metadata"]["namespace"]},
        "eventTime": datetime.fromtimestamp(time, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": CONTROLLER,
        "action": action,
        "reason": reason,
        "type": kind,
        "note": note if len(note) <= LONGEST_NOTE else note[: LONGEST_NOTE - 1] + "…",
        "regarding": _reference(about),
    }
    while len(out["note"].encode()) > LONGEST_NOTE:
        out["note"] = out["note"][:-2] + "…"
    if beside is not None:
        out["related"] = _reference(beside)
    return out


def _reference(body: Object) -> Object:
    metadata = body["metadata"]
    return {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }


def _short(body: Object) -> str:
    return str(body["metadata"]["uid"])[:8]
