"""Judges a recorded run anew and says where it would have gone differently: with other rules, or by a defect."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.engine.codec import encode
from tuning_operator.engine.decisions import Decision
from tuning_operator.engine.engine import Engine
from tuning_operator.engine.events import Event
from tuning_operator.engine.restore import in_order


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first place where judging anew does not give what was recorded.

    Attributes:
        event: The event that was judged.
        recorded: The decision in the log; None if there is none.
        judged: The decision that judging anew gives; None if it gives none.
    """

    event: Event
    recorded: Decision | None
    judged: Decision | None

    def __str__(self) -> str:
        def said(decision: Decision | None) -> str:
            return "nothing" if decision is None else f"{decision.rule}: {decision.sentence}"

        return f"record {self.event.sequence}: recorded {said(self.recorded)}; judged anew {said(self.judged)}"


def replay(*, name: str, spec: TuningJobSpec, records: Iterable[Event]) -> Difference | None:
    """Judge every recorded event again; return the first difference, or None if the log is what the rules say.

    Raises:
        LogError: The records contradict each other or belong to another job.
    """
    ordered = in_order(records)
    recorded: dict[int, list[Decision]] = {}
    for record in ordered:
        if isinstance(record, Decision):
            recorded.setdefault(record.because, []).append(record)
    engine = Engine(name=name, spec=spec)
    for event in ordered:
        if isinstance(event, Decision):
            continue
        judged, written = engine.apply(event), recorded.get(event.sequence, [])
        for place in range(max(len(judged), len(written))):
            one = written[place] if place < len(written) else None
            other = judged[place] if place < len(judged) else None
            if one is None or other is None or encode(one) != encode(other):
                return Difference(event=event, recorded=one, judged=other)
    return None
