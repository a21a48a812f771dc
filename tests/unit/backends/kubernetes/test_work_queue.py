from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from tests.unit.backends.kubernetes.virtual_clock import VirtualClock

from tuning_operator.backends.kubernetes.back_off import BackOff
from tuning_operator.backends.kubernetes.work_queue import WorkQueue


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def queue(clock: VirtualClock) -> WorkQueue[str]:
    back_off = BackOff(first=1.0, longest=8.0, jitter=lambda: 1.0)
    return WorkQueue(back_off=back_off, clock=clock, call_later=clock.call_later)


@asynccontextmanager
async def working(
    queue: WorkQueue[str], handle: Callable[[str], Awaitable[None]], workers: int = 2
) -> AsyncIterator[list[tuple[str, str, float]]]:
    errors: list[tuple[str, str, float]] = []
    task = asyncio.create_task(
        queue.run(handle, workers=workers, on_error=lambda key, error, pause: errors.append((key, str(error), pause)))
    )
    try:
        yield errors
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_waiting_key_waits_once(queue: WorkQueue[str]) -> None:
    for key in ("a", "b", "a"):
        queue.add(key)
    assert queue.depth == 2
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert queue.depth == 0


async def test_one_key_has_one_worker_and_runs_again_when_it_was_added_meanwhile(queue: WorkQueue[str]) -> None:
    active: Counter[str] = Counter()
    most: Counter[str] = Counter()
    runs: Counter[str] = Counter()
    go_on = asyncio.Event()

    async def handle(key: str) -> None:
        active[key] += 1
        most[key] = max(most[key], active[key])
        runs[key] += 1
        await go_on.wait()
        active[key] -= 1

    async with working(queue, handle, workers=4):
        queue.add("a")
        await settle()
        for _ in range(3):
            queue.add("a")
        queue.add("b")
        await settle()
        assert active == {"a": 1, "b": 1}
        go_on.set()
        await asyncio.wait_for(queue.join(), 5)
    assert runs == {"a": 2, "b": 1}
    assert most == {"a": 1, "b": 1}


async def test_an_error_delays_its_own_key_alone_longer_each_time(queue: WorkQueue[str], clock: VirtualClock) -> None:
    handled: list[tuple[float, str]] = []
    broken = True

    async def handle(key: str) -> None:
        handled.append((clock.now, key))
        if key == "bad" and broken:
            raise RuntimeError("no")

    async with working(queue, handle) as errors:
        queue.add("bad")
        queue.add("good")
        for _ in range(32):
            await settle()
            clock.advance(1.0)
        assert [time for time, key in handled if key == "bad"] == [0, 1, 3, 7, 15, 23, 31]
        assert errors[:3] == [("bad", "no", 1.0), ("bad", "no", 2.0), ("bad", "no", 4.0)]
        assert [key for _, key in handled].count("good") == 1
        broken = False
        clock.advance(8.0)
        await settle()
        broken = True
        queue.add("bad")
        await settle()
        assert errors[-1] == ("bad", "no", 1.0)


async def test_the_earliest_plan_counts_and_adding_now_replaces_it(queue: WorkQueue[str], clock: VirtualClock) -> None:
    queue.add_after("a", 10.0)
    queue.add_after("a", 5.0)
    queue.add_after("a", 20.0)
    clock.advance(4.9)
    assert queue.depth == 0
    clock.advance(0.1)
    assert queue.depth == 1
    assert clock.planned == 0
    queue.add_after("b", 5.0)
    queue.add("b")
    assert queue.depth == 2
    clock.advance(30.0)
    assert queue.depth == 2


async def test_age_is_that_of_the_key_in_front(queue: WorkQueue[str], clock: VirtualClock) -> None:
    assert queue.oldest_age == 0.0
    queue.add("a")
    clock.advance(3.0)
    queue.add("b")
    clock.advance(1.0)
    assert queue.oldest_age == 4.0
    await queue.get()
    assert queue.oldest_age == 1.0


async def test_an_ended_queue_leaves_nothing_planned(queue: WorkQueue[str], clock: VirtualClock) -> None:
    async def handle(_: str) -> None:
        raise RuntimeError("no")

    async with working(queue, handle):
        queue.add("a")
        await settle()
        assert clock.planned == 1
    assert clock.planned == 0


def test_pauses_have_jitter_and_an_end() -> None:
    assert BackOff(first=1.0, longest=8.0, jitter=lambda: 0.0).pause(2) == 1.0
    assert BackOff(first=1.0, longest=8.0, jitter=lambda: 1.0).pause(10_000) == 8.0
