"""What is on record of a whole job, in a form in which two runs of it can be compared."""

from __future__ import annotations

from typing import Any

from tests.controlplane.lockstep import JOB, Lockstep

from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.mark_lines import read_mark
from tuning_operator.backends.kubernetes.resources import JOBS, TRIALS, TUNING_JOBS, name_of


async def ledger(client: Client, namespace: str) -> dict[str, Any]:
    """Return everything that was recorded of a job but times, numbers of records and seconds used."""
    job = await client.get(TUNING_JOBS, namespace=namespace, name=JOB)
    trials, _ = await client.list(TRIALS, namespace=namespace)
    found: dict[str, Any] = {}
    for trial in sorted(trials, key=name_of):
        status = trial["status"]
        marks = [read_mark(line, trial=trial["spec"]["number"]) for line in status.get("marks") or ()]
        found[name_of(trial)] = {"marks": [(repr(one.at), one.attempt) for one in marks]} | _timeless(
            {"spec": trial["spec"]} | {key: status.get(key) for key in ("alarms", "end", "attempts")}
        )
    kept = ("trials", "best", "top", "records", "conditions", "rankCorrelation", "wrongStops")
    found["job"] = _timeless({key: value for key, value in job["status"].items() if key in kept})
    return found


async def doubled(client: Client, namespace: str, lockstep: Lockstep) -> list[str]:
    """Return what was made twice: Jobs of a trial, at once or one after the other, or pods."""
    jobs, _ = await client.list(JOBS, namespace=namespace)
    owners = [job["metadata"]["ownerReferences"][0]["name"] for job in jobs]
    several = [f"{trial} had {len(uids)} Jobs" for trial, uids in lockstep.jobs_seen.items() if len(uids) > 1]
    twins = [f"{trial} had two pods at once" for trial in lockstep.twins]
    return sorted({*several, *twins, *(f"{name} has two Jobs" for name in owners if owners.count(name) > 1)})


_TIMES = frozenset(
    {
        "time",
        "sequence",
        "because",
        "proposedAt",
        "computeSeconds",
        "gpuSeconds",
        "gpuHours",
        "lastTransitionTime",
        "startTime",
        "completionTime",
    }
)


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(one) for key, one in value.items() if key not in _TIMES}
    return [_timeless(one) for one in value] if isinstance(value, list) else value
