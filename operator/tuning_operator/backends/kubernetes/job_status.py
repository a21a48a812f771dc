"""The status of a TuningJob: written by one writer, whole, and only when it says something new."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError

from tuning_operator.api.record import MAX_SENTENCE
from tuning_operator.api.status import TuningJobStatus
from tuning_operator.backends.kubernetes.resources import Object
from tuning_operator.backends.kubernetes.times import format_time
from tuning_operator.engine.status import job_status
from tuning_operator.engine.view import JobView

_MOVING: Final = frozenset({"gpuHoursUsed", "gpuHoursSaved"})
"""What changes with the clock alone is not worth a write of its own."""


def render_status(view: JobView, *, time: float, generation: int, before: Object, records: list[Object]) -> Object:
    """Return the whole status of a job that was accepted.

    Args:
        before: The status so far, whose conditions keep their transition times.
        records: ``status.records``.
    """
    status = job_status(view, time=time, generation=generation, before=_parse(before))
    out: dict[str, Any] = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    out["records"] = records
    return out


def render_rejected(reason: str, message: str, *, time: float, generation: int, before: Object) -> Object:
    """Return the status of a job whose manifest cannot be followed: what was there, and Accepted=False."""
    old = {condition["type"]: condition for condition in before.get("conditions") or ()}
    was = old.get("Accepted")
    same = was is not None and was["status"] == "False"
    now = format_time(datetime.fromtimestamp(math.floor(time), tz=UTC))
    accepted = {
        "type": "Accepted",
        "status": "False",
        "reason": reason,
        "message": message[: 8 * MAX_SENTENCE],
        "lastTransitionTime": was["lastTransitionTime"] if was is not None and same else now,
        "observedGeneration": generation,
    }
    others = [condition for name, condition in old.items() if name != "Accepted"]
    return {**before, "observedGeneration": generation, "conditions": [*others, accepted]}


def is_news(status: Object, before: Object) -> bool:
    """Return whether a status says more than the one before it, the clock aside."""
    return any(status.get(name) != before.get(name) for name in {*status, *before} - _MOVING)


def was_finished(status: Object) -> bool:
    """Return whether the job was over when this status was written."""
    return any(
        condition["type"] in ("Complete", "Failed") and condition["status"] == "True"
        for condition in status.get("conditions") or ()
    )


def _parse(status: Object) -> TuningJobStatus | None:
    """Return a status as a model; None where a later version wrote fields that this one does not know."""
    known = {TuningJobStatus.model_fields[name].alias for name in TuningJobStatus.model_fields}
    try:
        return TuningJobStatus.model_validate({name: value for name, value in status.items() if name in known})
    except ValidationError:
        return None
