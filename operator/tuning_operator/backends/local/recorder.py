"""The one way into the log: an event is applied, written with the decisions about it, and only then acted on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from tuning_operator.api.trial import Desired
from tuning_operator.backends.local.event_log import EventLog
from tuning_operator.curves.marks import Observation, Pulse
from tuning_operator.engine.decisions import Decision
from tuning_operator.engine.engine import E, Engine
from tuning_operator.engine.events import Event


class Recorder:
    """An engine together with its log.

    Nothing outside may act between the engine's answer and its record, so every method writes before it returns.

    Args:
        clock: Seconds since the epoch.
        on_decision: Called after decisions were written, so that somebody acts on them.
    """

    def __init__(
        self, engine: Engine, log: EventLog, *, clock: Callable[[], float], on_decision: Callable[[], None]
    ) -> None:
        self.engine: Final = engine
        self._log = log
        self._clock = clock
        self._on_decision = on_decision

    def record(self, kind: type[E], **fields: object) -> None:
        """Record that something happened now."""
        self._write(self._fold(self.engine.event(kind, time=self._clock(), **fields)))

    def record_pending(self) -> None:
        """Record the decisions that a killed predecessor owes."""
        self._write(self.engine.pending_decisions())

    def propose(self) -> bool:
        """Record the next proposal; False if there is none."""
        events = self.engine.propose(time=self._clock())
        self._write([record for event in events for record in self._fold(event)])
        return bool(events)

    def check(self, *, gpu_seconds: float) -> None:
        """Record it if a budget is used up."""
        events = self.engine.check(time=self._clock(), gpu_seconds=gpu_seconds)
        self._write([record for event in events for record in self._fold(event)])

    def observe(self, trial: int, observations: Sequence[Observation], pulse: Pulse | None) -> None:
        """Show the engine what a look has brought, one evaluation after the other, and record what comes of it.

        The pulse comes first: a control rule may answer its alarm before broken values are judged at a mark.
        """
        records: list[Event] = []
        for part, beat in (((), pulse), *(((one,), None) for one in observations)):
            for event in self.engine.observe(trial=trial, observations=part, pulse=beat, time=self._clock()):
                records += self._fold(event)
                if self.engine.wanted(trial).desired is Desired.STOPPED:
                    break
        self._write(records)

    def _fold(self, event: Event) -> list[Event]:
        return [event, *self.engine.apply(event)]

    def _write(self, records: Sequence[Event]) -> None:
        self._log.append(records)
        if any(isinstance(record, Decision) for record in records):
            self._on_decision()
