"""What the operator asked of the API server, and when: the server's own audit log, read after the run."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tests.testbed.errors import TestbedError

_COUNTER: Final = "apiserver_audit_event_total"


@dataclass(frozen=True, slots=True)
class Request:
    """One request that was answered.

    Attributes:
        verb: As the API server calls it; ``dry-run`` for what changes nothing.
        resource: Plural, with the subresource behind a slash.
        received, answered: Seconds since the epoch by the API server's clock, which is this machine's.
    """

    verb: str
    resource: str
    namespace: str
    name: str
    code: int
    received: float
    answered: float


@dataclass(frozen=True, slots=True)
class AuditLog:
    """What the log says.

    Attributes:
        requests: All that were answered, in order; watches, which go on for minutes, count when they began.
        lost: Entries that the API server counted and the log has not: what is computed from it would be wrong.
    """

    requests: list[Request]
    lost: int = 0


def read_audit(file: Path, *, counted: int) -> AuditLog:
    """Read the log after the API server counted so many entries."""
    found: dict[str, Request] = {}
    entries = 0
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            found.setdefault(entry["auditID"], _request(entry))
            entries += 1
    return AuditLog(requests=sorted(found.values(), key=lambda one: one.received), lost=max(counted - entries, 0))


def counted_entries(page: str) -> int:
    """Return how many entries an API server has made for its audit log, by its own metrics.

    Raises:
        TestbedError: The page does not say.
    """
    for line in page.splitlines():
        name, _, value = line.partition(" ")
        if name == _COUNTER:
            return int(float(value))
    raise TestbedError(f"the API server does not count the entries of its audit log: {_COUNTER} is not in its metrics")


def calls(requests: list[Request], *, namespaces: set[str], since: float, until: float) -> Counter[tuple[str, str]]:
    """Return how often each verb was used on each resource, in some namespaces and a span of time."""
    return Counter(
        (one.verb, one.resource)
        for one in requests
        if one.namespace in namespaces and since <= one.received <= until and one.verb != "watch"
    )


def _request(entry: dict[str, Any]) -> Request:
    about = entry.get("objectRef") or {}
    resource = about.get("resource", entry["requestURI"].partition("?")[0])
    if about.get("subresource"):
        resource += f"/{about['subresource']}"
    return Request(
        verb="dry-run" if "dryRun=" in entry["requestURI"] else entry["verb"],
        resource=resource,
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        code=(entry.get("responseStatus") or {}).get("code", 0),
        received=_time(entry["requestReceivedTimestamp"]),
        answered=_time(entry["stageTimestamp"]),
    )


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
