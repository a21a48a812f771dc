"""Runs a job on this machine, from its first proposal to its last trial's end.

Every trial has a driver of its own; this is the loop around them: it takes up what an earlier process left, starts
proposals into free slots, watches the budgets, shows pictures, and answers Ctrl-C.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, closing, suppress
from pathlib import Path
from typing import Final

from tuning_operator.api.trial import Desired
from tuning_operator.api.tuning_job import TuningJob
from tuning_operator.backends.local.command import base_environment, check_command, local_command
from tuning_operator.backends.local.driver import TrialDriver
from tuning_operator.backends.local.event_log import EventLog
from tuning_operator.backends.local.lock import locked
from tuning_operator.backends.local.recorder import Recorder
from tuning_operator.backends.local.resume import check_unchanged, end_leftovers
from tuning_operator.backends.local.run_directory import RunDirectory
from tuning_operator.backends.local.slots import Slot, detect_gpus, make_slots, threads_per_trial
from tuning_operator.backends.local.workshop import Workshop
from tuning_operator.engine.engine import Engine
from tuning_operator.engine.events import JobResumed, JobSuspended, TrialEnded
from tuning_operator.engine.view import JobView
from tuning_operator.errors import BackendError
from tuning_operator.scrape.scraper import Scraper
from tuning_operator.scrape.steering import Steering

_TICK: Final = 1.0
_BETWEEN_PICTURES: Final = 0.25
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_log: Final = logging.getLogger(__name__)


async def run(
    job: TuningJob,
    *,
    directory: Path,
    resume: bool = False,
    on_view: Callable[[JobView], None] = lambda _: None,
    interval: float | None = None,
    gpus: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.time,
) -> JobView:
    """Run a job, or go on with one; return its last picture.

    SIGINT, SIGTERM and SIGHUP suspend it: trials write their checkpoints and go, and the picture says `suspended`. A
    second signal does not wait for the checkpoints.

    Args:
        directory: Of this run; it must be new, or with `resume` hold this job.
        on_view: Is shown the job whenever something has changed, a few times a second at most.
        interval: Seconds between two looks at a trial; by default what the job says.
        gpus: What trials may use, in the words of ``CUDA_VISIBLE_DEVICES``; by default what this machine has.
        environment: What trials inherit; by default the environment of this process.
        clock: Seconds since the epoch.

    Raises:
        BackendError: Trials cannot be run here, or nothing can be recorded any more. Nothing is lost.
        LogError: The run cannot be gone on with; the text says why.
    """
    own = dict(os.environ if environment is None else environment)
    command = local_command(job.spec.trial)
    slots = make_slots(job.spec, gpus=detect_gpus(own) if gpus is None else gpus)
    base = base_environment(own, threads=threads_per_trial(len(slots)))
    check_command(command, base)
    if job.spec.suspend:
        raise BackendError("spec.suspend is true, so there is nothing to run; set it to false")
    if job.spec.cancel:
        raise BackendError("spec.cancel is true, so there is nothing to run; take it out")
    if job.spec.metrics.prometheus is not None:
        _log.warning("spec.metrics.prometheus is for a cluster; trials of this machine are read themselves")
    if len(slots) < job.spec.budget.parallel:
        _log.warning(
            "budget.parallel is %d; %d at once, one for each GPU of this machine", job.spec.budget.parallel, len(slots)
        )
    files = RunDirectory(directory)
    if not resume:
        files.create()
    elif not files.holds_a_run:
        raise BackendError(f"{directory} holds no run to go on with; leave --resume out to start one")
    async with AsyncExitStack() as stack:
        stack.enter_context(locked(files.lock, now=clock()))
        if not resume:
            files.create()
        if files.holds_a_run:
            check_unchanged(files.job(), job)
            await end_leftovers(files, grace=job.spec.trial.grace_period.total_seconds())
        keys = files.key_pair()
        records = files.records()
        engine = Engine.restore(name=job.metadata.name, spec=job.spec, records=records)
        files.write_job(job)
        log = stack.enter_context(closing(EventLog(files.log)))
        if log.torn:
            _log.warning("the last line of %s was torn by a crash and is cut off: %r", files.log, log.torn[:80])
        scraper = await stack.enter_async_context(Scraper(clock=clock))
        used = sum(record.gpu_seconds for record in records if isinstance(record, TrialEnded))
        current = _Run(slots=slots, files=files, on_view=on_view, clock=clock, gpu_seconds_ended=used)
        current.shop = Workshop(
            job=job.metadata.name,
            spec=job.spec,
            command=command,
            environment=base,
            public_key=keys.public_pem,
            recorder=Recorder(engine, log, clock=clock, on_decision=current.wake),
            scraper=scraper,
            steering=Steering(scraper.fetcher, private_key=keys.private_pem, clock=clock),
            interval=job.spec.metrics.interval.total_seconds() if interval is None else interval,
            clock=clock,
        )
        return await current.go(is_resumed=resume)


class _Run:
    """The loop of one run."""

    shop: Workshop

    def __init__(
        self,
        *,
        slots: Sequence[Slot],
        files: RunDirectory,
        on_view: Callable[[JobView], None],
        clock: Callable[[], float],
        gpu_seconds_ended: float,
    ) -> None:
        self._files = files
        self._gpu_seconds_ended = gpu_seconds_ended
        self._on_view = on_view
        self._clock = clock
        self._room: Final = len(slots)
        self._slots: asyncio.Queue[Slot] = asyncio.Queue()
        for slot in slots:
            self._slots.put_nowait(slot)
        self._has_gpus = any(slot.gpus for slot in slots)
        self._drivers: dict[int, TrialDriver] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._interrupted = False
        self._failure: BackendError | None = None
        self._shown = 0.0

    def wake(self) -> None:
        """Have everything compared with what is wanted, now."""
        self._changed.set()
        for driver in self._drivers.values():
            driver.wake()

    async def go(self, *, is_resumed: bool) -> JobView:
        """Run to the end, or until interrupted."""
        recorder = self.shop.recorder
        recorder.record_pending()
        if recorder.engine.finished is None and is_resumed:
            recorder.record(JobResumed)
        with _Signals(self._interrupt):
            try:
                for number in recorder.engine.active():
                    self._driver(number).restore()
                await self._loop()
            finally:
                await self._stop_all()
                self._show(always=True)
        return recorder.engine.view(time=self._clock())

    async def _loop(self) -> None:
        engine = self.shop.recorder.engine
        while True:
            self._collect()
            self._fill()
            if not self._tasks and (engine.finished is not None or engine.suspended):
                return
            self._show()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), timeout=min(self.shop.interval, _TICK))
            self._changed.clear()
            if self._failure is not None:
                raise self._failure
            self.shop.recorder.check(gpu_seconds=self._gpu_seconds())

    def _collect(self) -> None:
        """Take in drivers that are done.

        Raises:
            BackendError: One of them could not go on.
        """
        for number, task in list(self._tasks.items()):
            if task.done():
                del self._tasks[number]
                task.result()
                if self.shop.recorder.engine.trial(number).ended is not None:
                    self._gpu_seconds_ended += self._drivers.pop(number).gpu_seconds

    def _fill(self) -> None:
        """Drive every trial that there is, and propose as many more as there is room for."""
        recorder = self.shop.recorder
        self._drive_all()
        while len(self._tasks) < self._room and not recorder.engine.suspended and recorder.propose():
            self._drive_all()

    def _drive_all(self) -> None:
        engine = self.shop.recorder.engine
        for number in engine.active():
            if number not in self._tasks and engine.wanted(number).desired is not Desired.PAUSED:
                task = asyncio.create_task(self._driver(number).drive(self._slots))
                task.add_done_callback(lambda _: self._changed.set())
                self._tasks[number] = task

    def _driver(self, number: int) -> TrialDriver:
        driver = self._drivers.get(number)
        if driver is None:
            driver = TrialDriver(number, shop=self.shop, directory=self._files.trial(number))
            self._drivers[number] = driver
        return driver

    def _interrupt(self) -> None:
        """Answer a signal: the first suspends, the second does not wait any more."""
        if self._interrupted:
            for driver in self._drivers.values():
                driver.kill()
            return
        self._interrupted = True
        _log.warning("suspending: trials write their checkpoints; once more does not wait for them")
        try:
            self.shop.recorder.record(JobSuspended)
        except BackendError as error:
            self._failure = error
        self.wake()

    async def _stop_all(self) -> None:
        """Leave no process behind, whatever happened."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _gpu_seconds(self) -> float:
        if not self._has_gpus:
            return 0.0
        return self._gpu_seconds_ended + sum(one.gpu_seconds for one in self._drivers.values())

    def _show(self, *, always: bool = False) -> None:
        now = asyncio.get_running_loop().time()
        if always or now - self._shown >= _BETWEEN_PICTURES:
            self._shown = now
            self._on_view(self.shop.recorder.engine.view(time=self._clock()))


class _Signals:
    """Takes the signals that ask the process to end, for as long as the block runs; in the main thread only."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._earlier: dict[signal.Signals, object] = {}

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            earlier = signal.getsignal(number)
            if earlier is signal.SIG_IGN:
                continue  # As under nohup: whoever started us does not want it answered.
            try:
                loop.add_signal_handler(number, self._call)
            except (ValueError, RuntimeError, NotImplementedError):
                return
            self._earlier[number] = earlier

    def __exit__(self, *ending: object) -> None:
        loop = asyncio.get_running_loop()
        for number, earlier in self._earlier.items():
            loop.remove_signal_handler(number)
            signal.signal(number, earlier)  # type: ignore[arg-type]
