"""Processor time and memory of one action."""

from __future__ import annotations

import gc
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any


def seconds(action: Callable[[], Any], *, repetitions: int = 3) -> float:
    """Return the least time that an action took: other work on the machine only ever adds to it."""
    found = []
    for _ in range(repetitions):
        gc.collect()
        started = time.process_time()
        action()
        found.append(time.process_time() - started)
    return min(found)


def per_decision(looks: Callable[[], Iterator[Callable[[], Any]]], *, repetitions: int = 3) -> float:
    """Return milliseconds per call: the mean of the quickest 99 % of a round, the least of several rounds."""
    rounds = []
    for _ in range(repetitions):
        found = []
        for look in looks():
            started = time.process_time()
            look()
            found.append(time.process_time() - started)
        rounds.append(statistics.fmean(sorted(found)[: max(len(found) * 99 // 100, 1)]))
    return 1000 * min(rounds)


def bytes_of(make: Callable[[], Any], trials: int) -> float:
    """Return the bytes that stay allocated per trial."""
    gc.collect()
    tracemalloc.start()
    kept = make()
    gc.collect()
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del kept
    return used / trials
