"""The cache never goes back in time, in whatever order answers and events arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tuning_operator.backends.kubernetes.errors import Gone, ServerError
from tuning_operator.backends.kubernetes.reflector import Change, Reflector
from tuning_operator.backends.kubernetes.resources import LEASES, Object


def lease(version: int, name: str = "a") -> Object:
    return {"metadata": {"namespace": "n", "name": name, "resourceVersion": str(version)}}


def event(kind: str, version: int, name: str = "a") -> Object:
    return {"type": kind, "object": lease(version, name)}


class Script:
    """An API server whose lists and watches are written down; it remembers from where it was watched."""

    def __init__(self, lists: list[tuple[list[Object], int]], watches: list[list[Any]]) -> None:
        self._lists = lists
        self._watches = watches
        self.since: list[str] = []
        self.over = asyncio.Event()

    async def list(self, *_: Any, **__: Any) -> tuple[list[Object], str]:
        items, version = self._lists.pop(0)
        return items, str(version)

    async def watch(self, *_: Any, since: str, **__: Any) -> AsyncGenerator[Object, None]:
        self.since.append(since)
        if not self._watches:
            self.over.set()
            await asyncio.get_running_loop().create_future()
        for one in self._watches.pop(0):
            if isinstance(one, Exception):
                raise one
            if callable(one):
                one()
            else:
                yield one


async def follow(script: Script, reflector: Reflector) -> None:
    reflector._client = script  # type: ignore[assignment]
    task = asyncio.create_task(reflector.run())
    try:
        await asyncio.wait_for(script.over.wait(), 5)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def seen() -> list[tuple[Change, str, str]]:
    return []


@pytest.fixture
def reflector(seen: list[tuple[Change, str, str]]) -> Reflector:
    async def no_pause(_: float) -> None:
        return

    made = Reflector(None, LEASES, sleep=no_pause)  # type: ignore[arg-type]
    made.listen(
        lambda change, body: seen.append((change, body["metadata"]["name"], body["metadata"]["resourceVersion"]))
    )
    return made


def version(reflector: Reflector, name: str = "a") -> str | None:
    body = reflector.get("n", name)
    return None if body is None else str(body["metadata"]["resourceVersion"])


async def test_a_watch_that_breaks_goes_on_where_it_was(reflector: Reflector) -> None:
    script = Script([([lease(1)], 1)], [[event("MODIFIED", 2), event("MODIFIED", 3), ServerError("cut")], []])
    await follow(script, reflector)
    assert script.since == ["1", "3", "3"]
    assert version(reflector) == "3"


async def test_a_watch_that_worked_is_opened_again_at_once_however_often_it_is_cut() -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    cuts = [[event("MODIFIED", version), ServerError("cut")] for version in range(2, 40)]
    gaps = [[event("MODIFIED", 50), Gone("gap")], [Gone("gap")], [Gone("gap")], [Gone("gap")]]
    lists = [([lease(version)], version) for version in (1, 51, 52, 53, 54)]
    await follow(Script(lists, cuts + gaps), Reflector(None, LEASES, sleep=sleep))  # type: ignore[arg-type]
    assert max(pauses[: len(cuts)]) <= 0.2
    after_the_first_gap = pauses[len(cuts) :]
    assert len(after_the_first_gap) == 3
    assert after_the_first_gap == sorted(after_the_first_gap)


async def test_old_news_do_not_undo_what_we_wrote(reflector: Reflector, seen: list[Any]) -> None:
    written = lease(5)
    script = Script(
        [([lease(1)], 1)],
        [[lambda: reflector.learn(written), event("MODIFIED", 3), event("MODIFIED", 5), event("MODIFIED", 6)]],
    )
    await follow(script, reflector)
    assert [found for _, _, found in seen] == ["1", "5", "6"]


async def test_the_end_of_an_earlier_object_does_not_end_the_one_we_made(reflector: Reflector, seen: list[Any]) -> None:
    made = lease(8)
    script = Script([([lease(1)], 1)], [[lambda: reflector.learn(made), event("DELETED", 6), event("ADDED", 8)]])
    await follow(script, reflector)
    assert version(reflector) == "8"
    assert (Change.DELETED, "a", "6") not in seen


async def test_an_answer_that_comes_after_the_end_makes_no_ghost(reflector: Reflector) -> None:
    late = lease(4)
    script = Script([([lease(1)], 1)], [[event("DELETED", 5), lambda: reflector.learn(late)]])
    await follow(script, reflector)
    assert version(reflector) is None


async def test_a_list_that_is_older_than_what_we_made_does_not_remove_it(reflector: Reflector) -> None:
    script = Script([([lease(1)], 1), ([], 7)], [[lambda: reflector.learn(lease(9, "b")), Gone("too old")]])
    await follow(script, reflector)
    assert version(reflector) is None
    assert version(reflector, "b") == "9"
