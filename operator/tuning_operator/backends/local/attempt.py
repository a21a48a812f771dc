"""Watches one running attempt: looks at it, shows what it finds to the engine, and makes it agree with what is wanted.

Level-triggered: at each turn the process is compared with what the engine wants now, however that came about.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from trial_protocol import names
from trial_protocol.control import ControlMessage
from tuning_operator.api.trial import Desired
from tuning_operator.backends.local.process import TrialProcess
from tuning_operator.backends.local.workshop import Workshop
from tuning_operator.engine.wanted import WantedControl
from tuning_operator.scrape.look import Look
from tuning_operator.scrape.reader import Identity, TrialReader
from tuning_operator.scrape.steering import is_behind

_EAGER: Final = 0.25
"""Seconds between looks until the first answer; a short trial is over before a whole interval is."""
_HOST: Final = "http://127.0.0.1"

_log: Final = logging.getLogger(__name__)


def control_message(name: str, control: WantedControl) -> ControlMessage:
    """Return what is to be sent to a trial."""
    return ControlMessage(
        trial=name,
        revision=control.revision,
        learning_rate_scale=control.scale,
        begin_decay=control.begin_decay,
        restore=control.restore,
    )


class WatchedAttempt:
    """One attempt while its process runs.

    Args:
        trial: Number of the trial.
        port: Where it answers; None until its output says so.
        seen: Identities of the evaluations that are known already.
        on_look: Takes every look that brought something, and records what comes of it.
        wake: Set by whoever changes what is wanted.

    Attributes:
        has_reported: Whether this attempt has said anything about its training.
        missing: Why the attempt was given up because the objective never came; empty otherwise.
    """

    def __init__(
        self,
        process: TrialProcess,
        *,
        shop: Workshop,
        trial: int,
        name: str,
        attempt: int,
        port: int | None,
        seen: set[Identity],
        on_look: Callable[[Look], None],
        wake: asyncio.Event,
    ) -> None:
        self.has_reported = False
        self.missing = ""
        self._process = process
        self._shop = shop
        self._trial = trial
        self._name = name
        self._attempt = attempt
        self._seen = seen
        self._on_look = on_look
        self._wake = wake
        self._reader = None if port is None else self._reader_at(port)
        self._has_answered = False
        self._has_value = False
        self._last_error = ""
        self._refusal = ""

    async def watch(self) -> None:
        """Return once the process has exited, or is to be ended.

        Raises:
            BackendError: What was seen cannot be recorded.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._shop.spec.metrics.first_within.total_seconds()
        next_turn = loop.time() + min(_EAGER, self._shop.interval)
        turn: asyncio.Task[None] | None = None
        self._process.on_exit(self._wake.set)
        try:
            while self._process.exit_code is None and self._is_wanted():
                now = loop.time()
                if not self._has_value and now >= deadline:
                    self.missing = await self._explain()
                    return
                if turn is not None and turn.done():
                    turn.result()
                    pause = self._shop.interval if self._has_answered else min(_EAGER, self._shop.interval)
                    turn, next_turn = None, now + pause
                if turn is None and now >= next_turn:
                    turn = asyncio.create_task(self._turn())
                    turn.add_done_callback(lambda _: self._wake.set())
                await self._sleep(self._next(turn, next_turn, deadline) - now)
        finally:
            if turn is not None and not turn.done():
                turn.cancel()
                await asyncio.wait({turn})

    def _next(self, turn: asyncio.Task[None] | None, next_turn: float, deadline: float) -> float:
        """Return when there is something to do by the clock."""
        times = [] if self._has_value else [deadline]
        if turn is None:
            times.append(next_turn)
        return min(times) if times else asyncio.get_running_loop().time() + self._shop.interval

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), timeout=max(seconds, 0.0))
        except TimeoutError:
            return
        self._wake.clear()

    def _is_wanted(self) -> bool:
        return self._shop.recorder.engine.wanted(self._trial).desired is Desired.RUNNING

    async def _turn(self) -> None:
        """Look, record, steer."""
        if self._reader is None:
            port = self._process.announced_port()
            if port is None:
                return
            self._reader = self._reader_at(port)
        look = await self._shop.scraper.look(self._reader)
        self._last_error = look.error or ""
        self._has_answered = self._has_answered or look.error is None
        self.has_reported = self.has_reported or bool(look.position)
        if look.observations:
            self._has_value = self.has_reported = True
        if look.pulse is not None or look.records:
            self._on_look(look)
        if self._is_wanted():
            await self._steer(look, self._reader.url)

    async def _steer(self, look: Look, url: str) -> None:
        """Send what is wanted, if the trial does not report it yet; so every look that finds it behind sends again."""
        control = self._shop.recorder.engine.wanted(self._trial).control
        if look.pulse is None or not is_behind(wanted=control.revision, reported=look.revision):
            return
        refusal = await self._shop.steering.send(url, control_message(self._name, control)) or ""
        if refusal and refusal != self._refusal:
            _log.warning("%s did not take control revision %d: %s", self._name, control.revision, refusal)
        self._refusal = refusal

    async def _explain(self) -> str:
        spec = self._shop.spec
        limit = f"no value of {spec.objective.metric} within {spec.metrics.first_within.total_seconds():g} s"
        if self._reader is None:
            said = self._process.tail()
            return (
                f"{limit}: it never said where it answers; print the line {names.ANNOUNCEMENT!r} with the port, or "
                f"pass $({names.ENV_PORT}) to the command{f'; it printed last: {said}' if said else ''}"
            )
        found = self._last_error or await self._reader.explain()
        return (
            f"{limit}: {found}; correct spec.objective.metric or what the trial reports, or raise "
            "spec.metrics.firstWithin if its first evaluation comes later"
        )

    def _reader_at(self, port: int) -> TrialReader:
        return self._shop.scraper.reader(
            url=f"{_HOST}:{port}", spec=self._shop.spec, attempt=self._attempt, seen=self._seen
        )
