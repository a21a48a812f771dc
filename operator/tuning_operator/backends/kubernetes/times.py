"""Times as Kubernetes writes them: RFC 3339, in UTC, to the second."""

from __future__ import annotations

from datetime import UTC, datetime


def parse_time(text: str | None) -> datetime | None:
    """Return a time that the API server wrote; None where there is none."""
    return datetime.fromisoformat(text) if text else None


def format_time(time: datetime) -> str:
    """Return a time, cut to the second."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
