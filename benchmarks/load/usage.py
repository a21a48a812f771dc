"""What processes cost: CPU time and memory from the system, and how late the operator answers, seen from outside."""

from __future__ import annotations

import statistics
import threading
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

import psutil

_PAUSE = 0.1


@dataclass
class Usage:
    """What was measured between two moments.

    Attributes:
        cpu: CPU seconds of the operator.
        others: CPU seconds of everything that was not started by this benchmark.
        rss: Greatest resident memory of the operator, bytes.
        delays: How long each probe of the operator took, seconds.
    """

    seconds: float = 0.0
    cpu: float = 0.0
    cpu_all: float = 0.0
    others: float = 0.0
    rss_before: int = 0
    rss: int = 0
    delays: list[float] = field(default_factory=list)

    def delay(self, percent: float) -> float:
        """Return a percentile of the delays."""
        if len(self.delays) < 2:
            return 0.0
        return statistics.quantiles(self.delays, n=1000, method="inclusive")[round(percent * 10) - 1]


class Meter:
    """Measures while its context lasts; a thread asks the operator ten times a second whether it is alive."""

    def __init__(self, *, operator: int, ours: list[int], probes: str) -> None:
        self.usage = Usage()
        self._operator = psutil.Process(operator)
        self._ours = [psutil.Process(pid) for pid in {operator, *ours}]
        self._probes = probes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._before = (time.monotonic(), _cpu(self._operator), sum(map(_cpu, self._ours)), _machine())
        self.usage.rss_before = self._operator.memory_info().rss
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=60)
        began, cpu, ours, machine = self._before
        usage = self.usage
        usage.seconds = time.monotonic() - began
        usage.cpu = _cpu(self._operator) - cpu
        usage.cpu_all = sum(map(_cpu, self._ours)) - ours
        usage.others = max(_machine() - machine - usage.cpu_all, 0.0)

    def _watch(self) -> None:
        while not self._stop.wait(_PAUSE):
            began = time.perf_counter()
            with suppress(OSError), urllib.request.urlopen(f"{self._probes}/healthz", timeout=60) as answer:
                answer.read()
            self.usage.delays.append(time.perf_counter() - began)
            self.usage.rss = max(self.usage.rss, self._operator.memory_info().rss)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _machine() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.softirq + times.irq)
