"""The part of a Trial's status that tells how its pods are doing; the curve's part has another writer.

Every write carries the whole part, under a field manager of its own. Sums over pods (attempts, GPU-seconds) are carried
on from what is recorded, so that a restarted operator, and pods that are gone, lose nothing: a pod's time counts from
`accountedUntil` on, a pod counts as an attempt if it is newer than the recorded one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from tuning_operator.backends.kubernetes import pods as look
from tuning_operator.backends.kubernetes.gpus import lifetime, usage
from tuning_operator.backends.kubernetes.resources import Object, name_of
from tuning_operator.backends.kubernetes.sightings import Sight
from tuning_operator.backends.kubernetes.times import format_time, parse_time
from tuning_operator.backends.kubernetes.trial_state import Seen, State, Verdict

MANAGER: Final = "tuning-operator-lifecycle"
LONGEST_MESSAGE: Final = 4096
_LONGEST_CONDITION: Final = 1024
_MOVING: Final = frozenset({"gpuSeconds", "computeSeconds", "accountedUntil"})
"""Fields that change all the time; alone they are not worth a write."""


def render_status(seen: Seen, verdict: Verdict, *, log: str = "") -> Object | None:
    """Return the lifecycle part of the status as it is applied, or None if it says what is recorded already."""
    if verdict.state is None and verdict.end is None:
        return None
    recorded: dict[str, Any] = seen.trial.get("status") or {}
    conditions = _conditions(seen, verdict, recorded.get("conditions") or ())
    attempt, pod = _attempts(recorded, seen.pods)
    fields: dict[str, Any] = {
        "observedGeneration": seen.trial["metadata"].get("generation", 1),
        "conditions": conditions,
        "attempt": attempt,
        "pod": pod,
        "startTime": recorded.get("startTime") or _first_start(seen.pods),
        "checkpoint": _checkpoint(verdict, seen.pods) or recorded.get("checkpoint"),
        **_sums(recorded, seen.pods, seen.now),
    }
    if verdict.end is not None:
        fields["reason"] = verdict.end.reason.value
        fields["message"] = with_log(verdict.end.message, log)
        fields["completionTime"] = format_time(_last_end(seen.pods) or seen.now)
    fields = {name: value for name, value in fields.items() if value not in (None, "")}
    return fields if _differs(fields, recorded) else None


def with_log(message: str, log: str) -> str:
    """Return the message, and as much of the end of the log as there is room for behind it."""
    message = message[:LONGEST_MESSAGE]
    head = f"{message}\n--- last lines of its output ---\n"
    room = LONGEST_MESSAGE - len(head)
    return head + log.strip()[-room:] if log.strip() and room > 0 else message


def _conditions(seen: Seen, verdict: Verdict, recorded: Any) -> list[Object]:
    end, state = verdict.end, verdict.state
    reason = end.reason.value if end is not None else str(state)
    message = (end.message if end is not None else verdict.message)[:_LONGEST_CONDITION]
    wanted = [
        ("Finished", end is not None, reason if end is not None else "NotFinished", message if end is not None else ""),
        ("Running", state is State.RUNNING and end is None, reason, message),
    ]
    known = {condition["type"]: condition for condition in recorded}
    if state is State.QUEUED or "Queued" in known:
        wanted.append(("Queued", state is State.QUEUED, reason, message if state is State.QUEUED else ""))
    out = []
    for kind, truth, why, text in wanted:
        status = "True" if truth else "False"
        before = known.get(kind)
        same = before is not None and before["status"] == status
        out.append(
            {
                "type": kind,
                "status": status,
                "reason": why,
                "message": text,
                "lastTransitionTime": before["lastTransitionTime"] if before and same else format_time(seen.now),
                "observedGeneration": seen.trial["metadata"].get("generation", 1),
            }
        )
    return out


def _attempts(recorded: dict[str, Any], pods: tuple[Sight, ...]) -> tuple[int, str | None]:
    ranked = look.by_age(sight for sight in pods if look.rank(sight.pod) == 0)
    started = [sight.pod for sight in ranked if look.has_started(sight.pod)]
    names = [name_of(pod) for pod in started]
    known = recorded.get("pod")
    if known in names:
        newer = names[names.index(known) + 1 :]
    else:
        since = parse_time(recorded.get("accountedUntil")) if known else None
        newer = [
            name_of(pod)
            for pod in started
            if since is None or (parse_time(pod["metadata"]["creationTimestamp"]) or since) >= since
        ]
    return recorded.get("attempt", 0) + len(newer), newer[-1] if newer else known


def _sums(recorded: dict[str, Any], pods: tuple[Sight, ...], now: datetime) -> dict[str, Any]:
    until = now.replace(microsecond=0)
    used = usage(pods, since=parse_time(recorded.get("accountedUntil")), now=until)
    return {
        "gpuSeconds": f"{float(recorded.get('gpuSeconds', 0)) + used.gpu:.1f}",
        "computeSeconds": f"{float(recorded.get('computeSeconds', 0)) + used.compute:.1f}",
        "accountedUntil": format_time(until),
    }


def _first_start(pods: tuple[Sight, ...]) -> str | None:
    starts = [start for sight in pods if look.has_started(sight.pod) and (start := lifetime(sight)[0]) is not None]
    return format_time(min(starts)) if starts else None


def _last_end(pods: tuple[Sight, ...]) -> datetime | None:
    return max((end for sight in pods if (end := lifetime(sight)[1]) is not None), default=None)


def _checkpoint(verdict: Verdict, pods: tuple[Sight, ...]) -> str:
    if verdict.end is not None and verdict.end.result is not None and verdict.end.result.checkpoint:
        return verdict.end.result.checkpoint[:1024]
    said = [end.result.checkpoint for end in look.ends(pods) if end.result is not None and end.result.checkpoint]
    return said[-1][:1024] if said else ""


def _differs(fields: dict[str, Any], recorded: dict[str, Any]) -> bool:
    for name, value in fields.items():
        if name == "conditions":
            before = {condition["type"]: condition for condition in recorded.get(name) or ()}
            if any(before.get(condition["type"]) != condition for condition in value):
                return True
        elif name not in _MOVING and recorded.get(name) != value:
            return True
    return False
