"""Takes one trial through its attempts to its end, and records what became of it."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from trial_protocol import names
from trial_protocol.environment import TrialEnvironment
from trial_protocol.history import HistoryRecord
from trial_protocol.numbers import encode_number
from trial_protocol.result import Outcome, TrialResult
from tuning_operator.api.trial import Desired
from tuning_operator.backends.local.attempt import WatchedAttempt, control_message
from tuning_operator.backends.local.command import render
from tuning_operator.backends.local.ending import Ending, Exit, count_out_of_memory_kills, judge_exit
from tuning_operator.backends.local.process import TrialProcess
from tuning_operator.backends.local.process_record import ProcessRecord
from tuning_operator.backends.local.run_directory import TrialDirectory
from tuning_operator.backends.local.slots import Slot
from tuning_operator.backends.local.workshop import Workshop
from tuning_operator.curves.marks import Observation, Pulse
from tuning_operator.engine.events import AttemptStarted, EndReason, TrialEnded
from tuning_operator.engine.wanted import Wanted
from tuning_operator.errors import TrialNotStarted
from tuning_operator.scrape.look import Look
from tuning_operator.scrape.reader import Identity
from tuning_operator.scrape.records import effective_curve, observations_of, reduce_curve

_log: Final = logging.getLogger(__name__)


class TrialDriver:
    """One trial that has not ended."""

    def __init__(self, number: int, *, shop: Workshop, directory: TrialDirectory) -> None:
        self.number: Final = number
        self._shop = shop
        self._directory = directory
        self._name = f"{shop.job}-{number:04d}"
        self._wake = asyncio.Event()
        self._process: TrialProcess | None = None
        self._account = ProcessRecord.read(directory.process)
        self._observations: list[Observation] = []
        self._seen: set[Identity] = set()
        self._position = 0.0
        self._silent_exit: int | None = None
        """Exit code of the attempt before, if that one had said nothing about its training."""

    def wake(self) -> None:
        """Have the trial compared with what is wanted of it, now."""
        self._wake.set()

    def kill(self) -> None:
        """End the process at once, without its last checkpoint."""
        if self._process is not None:
            self._process.kill()

    @property
    def gpu_seconds(self) -> float:
        """GPU time of all attempts so far."""
        running = 0.0 if self._process is None else max(self._shop.clock() - self._account.started, 0.0)
        return self._account.gpu_seconds + running * len(self._account.gpus)

    def restore(self) -> None:
        """Take up what an earlier process of this run has left of the trial.

        Raises:
            BackendError: What follows from it cannot be recorded; so also for `drive`.
        """
        records = self._directory.read_history()
        self._seen.update((record.attempt, record.step, record.time) for record in records)
        self._observe(records)
        if self._account.started:
            self._close_account(max(self._directory.last_written(), self._account.started))

    async def drive(self, slots: asyncio.Queue[Slot]) -> None:
        """Go on until the trial has ended or is paused."""
        ending = self._ended_unseen()
        while ending is None and self._wanted.desired is Desired.RUNNING:
            slot = await slots.get()
            try:
                if self._wanted.desired is Desired.RUNNING:
                    ending = await self._run_attempt(slot)
            finally:
                slots.put_nowait(slot)
        if ending is None:
            wanted = self._wanted
            if wanted.desired is Desired.PAUSED:
                return
            ending = Ending(reason=wanted.reason or EndReason.CANCELLED, message=wanted.message)
        self._end(ending)

    @property
    def _wanted(self) -> Wanted:
        return self._shop.recorder.engine.wanted(self.number)

    @property
    def _newest_attempt(self) -> int:
        return self._shop.recorder.engine.trial(self.number).attempt

    def _ended_unseen(self) -> Ending | None:
        """Return how the newest attempt ended, if it came to its end while nobody watched."""
        result = self._directory.read_result(attempt=self._newest_attempt)
        if result is None:
            return None
        self._take_result(result)
        ending = judge_exit(Exit(code=None, result=result))
        return None if ending.retry or ending.reason is None else self._with_values(ending)

    async def _run_attempt(self, slot: Slot) -> Ending | None:
        """Run one attempt; return how the trial has ended, or None if it has not."""
        attempt = self._newest_attempt + 1
        self._directory.clear_for_attempt()
        self._open_account(attempt, slot)
        self._shop.recorder.record(AttemptStarted, trial=self.number, attempt=attempt)
        port = _free_port() if self._shop.command.wants_port else 0
        memory = count_out_of_memory_kills()
        try:
            process = await self._start(attempt, port, slot)
        except TrialNotStarted as error:
            self._close_account(self._shop.clock())
            return self._judge(
                Ending(reason=EndReason.FAILED, message=str(error), retry=True, failure=True), code=127, spoke=False
            )
        watched = WatchedAttempt(
            process,
            shop=self._shop,
            trial=self.number,
            name=self._name,
            attempt=attempt,
            port=port or None,
            seen=self._seen,
            on_look=self._take_look,
            wake=self._wake,
        )
        self._process = process
        try:
            self._keep_account(pid=process.pid)
            await watched.watch()
        finally:
            try:
                await process.end(grace=self._shop.grace)
            finally:
                process.kill()
                self._process = None
                self._close_account(self._shop.clock())
        result = self._directory.read_result(attempt=attempt)
        if result is not None:
            self._take_result(result)
        if watched.missing:
            return Ending(reason=EndReason.METRICS_UNAVAILABLE, message=watched.missing)
        ended = Exit(
            code=process.exit_code,
            was_ended=process.was_ended,
            result=result,
            tail=process.tail(),
            out_of_memory_kills=count_out_of_memory_kills() - memory,
        )
        ending = judge_exit(ended)
        is_complete = ending.reason is EndReason.COMPLETED and (result is not None or not process.was_ended)
        if self._wanted.desired is not Desired.RUNNING and not is_complete:
            return None
        return self._judge(ending, code=process.exit_code, spoke=watched.has_reported)

    def _judge(self, ending: Ending, *, code: int | None, spoke: bool) -> Ending | None:
        """Decide whether to try again: None, or the end with all that is to be said about it."""
        if not ending.failure:
            return self._with_values(ending)
        failures = self._account.failures + 1
        self._keep_account(failures=failures)
        retries = self._shop.spec.trial.retries
        is_same = not spoke and code is not None and code == self._silent_exit
        self._silent_exit = None if spoke else code
        if ending.retry and failures <= retries and not is_same:
            _log.warning("%s: %s; it is started again (%d of %d)", self._name, ending.message, failures, retries)
            return None
        after = f"; {failures} attempts failed" if failures > 1 else ""
        if failures <= retries and is_same:
            after = "; it ended the same way twice before it reported anything, so it is not tried again"
        return replace(ending, message=ending.message + after)

    def _with_values(self, ending: Ending) -> Ending:
        """A trial that completes without a value of the objective is of no use, and says why."""
        if ending.reason is not EndReason.COMPLETED or self._observations:
            return ending
        metric = self._shop.spec.objective.metric
        known = {name for record in self._directory.read_history() for name in record.values}
        result = self._directory.read_result(attempt=self._newest_attempt)
        known.update(result.values if result else ())
        had = f"it reported {', '.join(sorted(known))}" if known else "it reported nothing at all"
        return Ending(
            reason=EndReason.METRICS_UNAVAILABLE,
            message=f"it ran to its end, but no value of {metric} was ever seen; {had}; "
            "a trial that is shorter than spec.metrics.interval must report with tuning_trainer",
        )

    def _end(self, ending: Ending) -> None:
        curve = effective_curve(self._observations)
        result = self._directory.read_result(attempt=self._newest_attempt)
        position = max(self._position, curve[-1].position if curve else 0.0)
        self._shop.recorder.record(
            TrialEnded,
            trial=self.number,
            attempt=self._newest_attempt,
            reason=ending.reason,
            value=reduce_curve(curve, self._shop.spec.objective),
            fraction=min(max(position / self._shop.spec.axis.total, 0.0), 1.0),
            compute_seconds=self._account.compute_seconds,
            gpu_seconds=self._account.gpu_seconds,
            checkpoint=result.checkpoint if result else "",
            message=ending.message,
        )

    async def _start(self, attempt: int, port: int, slot: Slot) -> TrialProcess:
        shop, trial = self._shop, self._shop.recorder.engine.trial(self.number)
        control = self._wanted.control
        ours = TrialEnvironment(
            job=shop.job,
            trial=self._name,
            attempt=attempt,
            parameters=trial.parameters,
            seed=trial.seed,
            port=port,
            axis=shop.spec.axis.metric,
            total=shop.spec.axis.total,
            checkpoint_uri=self._checkpoint_uri(),
            control=shop.steering.sign(control_message(self._name, control)) if control.revision else "",
            public_key=shop.public_key,
            termination_path=str(self._directory.result.resolve()),
        ).variables()
        if slot.gpus:
            ours["CUDA_VISIBLE_DEVICES"] = ",".join(slot.gpus)
        arguments, environment = render(shop.command, base=shop.environment, ours=ours)
        return await TrialProcess.start(
            arguments,
            environment=environment,
            working_directory=shop.command.directory,
            directory=self._directory.path,
            output=self._directory.output,
            heading=f"tuning: attempt {attempt} of {self._name}",
        )

    def _checkpoint_uri(self) -> str:
        checkpoint = self._shop.spec.trial.checkpoint
        if checkpoint is None or checkpoint.uri is None:
            return str(self._directory.checkpoint.resolve())
        return f"{checkpoint.uri.rstrip('/')}/{self._name}"

    def _take_look(self, look: Look) -> None:
        if look.position is not None:
            self._position = look.position
        self._observe(look.records, pulse=look.pulse, keep=True)

    def _take_result(self, result: TrialResult) -> None:
        """Use what a trial's final word says, unless a look has brought it already."""
        spec = self._shop.spec
        unread = [one for one in result.history if (one.attempt, one.step, one.time) not in self._seen]
        self._seen.update((one.attempt, one.step, one.time) for one in unread)
        self._observe(unread, keep=True)
        position = result.values.get(spec.axis.metric)
        if position is None and spec.axis.metric == names.METRIC_STEP:
            position = float(result.step)
        if position is None and result.outcome is Outcome.COMPLETED:
            position = spec.axis.total
        if position is None or not math.isfinite(position):
            return
        self._position = max(self._position, position)
        value = result.values.get(spec.objective.metric)
        if value is None:
            return
        last = self._observations[-1] if self._observations else None
        if last is not None and last.attempt == result.attempt:
            is_same = encode_number(last.value) == encode_number(value)
            if position <= last.position or (is_same and result.outcome is not Outcome.COMPLETED):
                return
        record = HistoryRecord(
            step=result.step,
            attempt=result.attempt,
            time=self._shop.clock(),
            values={**result.values, spec.axis.metric: position},
            revision=result.revision,
        )
        self._observe([record], keep=True)

    def _observe(self, records: Sequence[HistoryRecord], *, pulse: Pulse | None = None, keep: bool = False) -> None:
        """Show evaluations to the engine; they are kept before anything is recorded that follows from them."""
        if records and keep:
            self._directory.append_history(records)
        spec = self._shop.spec
        found = observations_of(records, objective=spec.objective.metric, axis=spec.axis.metric)
        self._observations += found
        self._shop.recorder.observe(self.number, found, pulse)

    def _open_account(self, attempt: int, slot: Slot) -> None:
        self._account = replace(self._account, attempt=attempt, pid=None, started=self._shop.clock(), gpus=slot.gpus)
        self._account.write(self._directory.process)

    def _keep_account(self, *, pid: int | None = None, failures: int | None = None) -> None:
        self._account = replace(
            self._account,
            pid=self._account.pid if pid is None else pid,
            failures=self._account.failures if failures is None else failures,
        )
        self._account.write(self._directory.process)

    def _close_account(self, now: float) -> None:
        """Add the time of an attempt that is over."""
        used = max(now - self._account.started, 0.0)
        self._account = replace(
            self._account,
            pid=None,
            started=0.0,
            compute_seconds=self._account.compute_seconds + used,
            gpu_seconds=self._account.gpu_seconds + used * len(self._account.gpus),
        )
        self._account.write(self._directory.process)


def _free_port() -> int:
    """Return a port that nobody uses now.

    Somebody else may take it before the trial does; then the trial fails to serve, and is started again with another.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
