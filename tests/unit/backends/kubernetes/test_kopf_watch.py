"""kopf ends by itself now and then; the process goes on, and kopf is started anew."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import kopf
import pytest

from tuning_operator.backends.kubernetes.kopf_watch import watch_jobs


async def until(holds: Any) -> None:
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("never")


class Kopf:
    """kopf as far as its end is concerned."""

    def __init__(self) -> None:
        self.starts: list[dict[str, Any]] = []
        self.threads: set[int] = set()
        self.stopped = False

    async def operator(self, **options: Any) -> None:
        self.starts.append(options)
        self.threads.add(threading.get_ident())
        if len(self.starts) == 1:
            # What kopf does with every task of its loop that it does not know.
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            raise RuntimeError("a watch was answered with 500")
        await options["stop_flag"].wait()
        self.stopped = True


async def test_kopf_is_started_anew_and_takes_nothing_with_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fake = Kopf()
    monkeypatch.setattr(kopf, "operator", fake.operator)
    readable = ["a"]
    bystander = asyncio.create_task(asyncio.sleep(60))
    watch = asyncio.create_task(watch_jobs(lambda *_: None, namespaces=lambda: readable, kubeconfig=None))
    await until(lambda: fake.starts)
    readable.append("b")
    await until(lambda: len(fake.starts) == 2)
    assert [one["namespaces"] for one in fake.starts] == [("a",), ("a", "b")]
    assert not any(one["clusterwide"] for one in fake.starts)
    assert "a watch was answered with 500" in caplog.text
    assert threading.get_ident() not in fake.threads
    watch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watch
    await until(lambda: fake.stopped)
    assert not bystander.done()
    bystander.cancel()


async def test_a_cancelled_watch_does_not_wait_for_a_kopf_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    started, release = threading.Event(), threading.Event()

    async def hang(**_: Any) -> None:
        started.set()
        release.wait(20)

    monkeypatch.setattr(kopf, "operator", hang)
    watch = asyncio.create_task(watch_jobs(lambda *_: None, namespaces=list, kubeconfig=None))
    await until(started.is_set)
    watch.cancel()
    try:
        async with asyncio.timeout(5):
            with pytest.raises(asyncio.CancelledError):
                await watch
    finally:
        release.set()
