"""Taking up a run that another process began: with the same job, and after whatever that process left running."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tuning_operator.api.tuning_job import TuningJob
from tuning_operator.backends.local.leftovers import end_marked
from tuning_operator.backends.local.run_directory import RunDirectory
from tuning_operator.errors import LogError

_MAY_CHANGE: Final = frozenset(
    {"spec.budget", "spec.metrics", "spec.suspend", "spec.trial.retries", "spec.trial.gracePeriod"}
)

_log: Final = logging.getLogger(__name__)


def check_unchanged(before: TuningJob, now: TuningJob) -> None:
    """Compare the manifest of a run with the one it is to go on with.

    Raises:
        LogError: Something is different that would make earlier and later trials incomparable; the text names it.
    """
    if before.metadata.name != now.metadata.name:
        raise LogError(
            f"metadata.name: this run belongs to {before.metadata.name}, the manifest is of {now.metadata.name}; "
            "choose another --directory"
        )
    for path, then, today in _differences(_plain(before), _plain(now), "spec"):
        if not any(path == allowed or path.startswith(f"{allowed}.") for allowed in _MAY_CHANGE):
            raise LogError(
                f"{path} has changed since this run began: it was {_show(then)}, now it is {_show(today)}; put it "
                "back, or start a new run in another --directory (only the budget, spec.metrics, and retries and "
                "gracePeriod of spec.trial may change)"
            )


async def end_leftovers(directory: RunDirectory, *, grace: float) -> None:
    """End every process of this run that is still there, so that no trial ever runs twice."""
    count = await end_marked(directory.path / "trials", grace=grace)
    if count:
        _log.warning("ended %d process%s that an earlier run left behind", count, "es" if count > 1 else "")


def _plain(job: TuningJob) -> Mapping[str, Any]:
    return job.spec.model_dump(mode="json", by_alias=True)


def _differences(before: Any, now: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in dict.fromkeys((*before, *now)):
            yield from _differences(before.get(name), now.get(name), f"{path}.{name}")
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (then, today) in enumerate(zip(before, now, strict=True)):
            yield from _differences(then, today, f"{path}[{index}]")
    elif before != now or type(before) is not type(now):
        yield path, before, now


def _show(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
