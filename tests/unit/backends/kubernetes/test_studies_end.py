"""The end of all studies, while the cluster goes on telling of jobs."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from tuning_operator.backends.kubernetes.reflector import Change
from tuning_operator.backends.kubernetes.studies import Studies


class Cache:
    objects: dict[tuple[str, str], Any] = {}  # noqa: RUF012 - nothing is ever in it

    def listen(self, _: Any) -> None:
        return None

    async def wait_synced(self) -> None:
        return None


def job(name: str) -> dict[str, Any]:
    return {"metadata": {"namespace": "team", "name": name}}


async def test_a_job_that_is_heard_of_while_the_studies_end_gets_none() -> None:
    studies = Studies(SimpleNamespace(tuning_jobs=Cache(), trials=Cache()))  # type: ignore[arg-type]
    running = asyncio.create_task(studies.run())
    for _ in range(3000):
        if studies._group is not None:
            break
        await asyncio.sleep(0.01)
    assert studies._group is not None

    async def drive() -> None:
        await asyncio.get_running_loop().create_future()

    heard: list[str] = []

    def last_word(_: Any) -> None:
        studies.hear_job(Change.MODIFIED, job("late"))
        heard.append("late")

    task = studies._group.create_task(drive())
    await asyncio.sleep(0)
    task.add_done_callback(last_word)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert heard == ["late"], "hearing of it raised"
    assert studies.keys == []
