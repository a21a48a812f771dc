"""Whether a log belongs to a job: what it searches, how it judges and on which axis must stay as they were.

Everything else may change between two runs of a process; a raised budget is how a finished job goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.errors import LogError

FIXED = ("objective", "axis", "parameters")


def fixed_parts(spec: TuningJobSpec) -> dict[str, str]:
    """Return the parts that must not change, each as canonical JSON without what is at its default."""
    rendered = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, include=set(FIXED))
    return {name: json.dumps(rendered[name], sort_keys=True, separators=(",", ":")) for name in FIXED}


def check_same_job(recorded: Mapping[str, str], spec: TuningJobSpec) -> None:
    """Compare a log's first record with the spec at hand.

    Raises:
        LogError: A part has changed; the text names it.
    """
    for name, now in fixed_parts(spec).items():
        then = recorded.get(name, now)
        if then != now:
            raise LogError(
                f"spec.{name} has changed since this job started: it was {then:.200}, now it is {now:.200}; "
                "put it back, or start a new job under another name"
            )
