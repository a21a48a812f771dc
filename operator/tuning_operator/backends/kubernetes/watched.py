"""One running trial as its study sees it between two records: where it is read, and what it has said so far."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import Any

from trial_protocol.result import Outcome, TrialResult
from tuning_operator.api.tuning_job import Direction, Reduce, TuningJobSpec
from tuning_operator.backends.kubernetes.resources import Object
from tuning_operator.backends.kubernetes.site import Endpoint
from tuning_operator.backends.kubernetes.snapshot import Glimpse
from tuning_operator.backends.kubernetes.trial_log import TrialLog
from tuning_operator.curves.marks import Observation
from tuning_operator.engine.engine import Engine
from tuning_operator.engine.events import EndReason
from tuning_operator.engine.results import reduce_values
from tuning_operator.engine.status import shown_text
from tuning_operator.engine.wanted import Wanted
from tuning_operator.scrape.look import Look
from tuning_operator.scrape.reader import Identity
from tuning_operator.scrape.records import observations_of
from tuning_operator.scrape.source import Place, Reader, Source

#: What the trial itself counts; pods of a Job all start with the same environment, so it is the same in each.
POD_ATTEMPT = 1


class Watched:
    """One trial that has not ended.

    Attributes:
        revision: Newest control revision that the trial has reported.
        sent: Newest control revision that was sent.
        sending: The message that was sent last; None before the first.
        generation: Of the Trial, as this study read or wrote its spec last.
        agreed: What was wanted, and how much was decided, when the spec was last compared.
        silent: Why it ends as MetricsUnavailable, once that is decided; empty before.
        endpoint: Where its newest attempt was last read; None before the first look.
        reader: Reads it there.
    """

    def __init__(self, log: TrialLog, spec: TuningJobSpec, *, uid: str) -> None:
        self.log = log
        self.uid = uid
        self.agreed: tuple[Wanted, int] | None = None
        self.revision = 0
        self.sent = 0
        self.sending: asyncio.Task[None] | None = None
        self.generation = 0
        self.silent = ""
        self.url: str | None = None
        self.trouble = ""
        self._spec = spec
        self.reader: Reader | None = None
        self._attempt = 0
        self.endpoint: Endpoint | None = None
        self._seen: set[Identity] = set()
        self._values: list[float] = []
        self._newest: Observation | None = None
        self._position = 0.0
        self._learning_rate: float | None = None
        self._moved: float | None = None
        self._best = math.nan

    @property
    def has_spoken(self) -> bool:
        """Whether any evaluation of the objective was ever seen."""
        return self._newest is not None or bool(self.log.marks)

    def reader_at(self, source: Source[Any], endpoint: Endpoint, *, attempt: int) -> Reader:
        """Return what reads the trial where it runs now."""
        if self.reader is None or self.endpoint != endpoint or self._attempt != attempt:
            self.endpoint, self._attempt, self.url, self._moved = endpoint, attempt, endpoint.url, None
            known = [mark.time for mark in self.log.marks if mark.attempt == attempt]
            since = known[-1] if known else endpoint.since
            place = Place(url=endpoint.url, pod=endpoint.pod, attempt=POD_ATTEMPT, since=since, seen=self._seen)
            self.reader = source.reader(place)
        return self.reader

    def recall(self, status: Object) -> None:
        """Take up what an earlier process has shown of the trial."""
        self.revision = status.get("revision", 0)
        self._position = float(status.get("fraction", "0.0")) * self._spec.axis.total

    async def explain(self) -> str:
        """Say for a person why nothing usable came."""
        return self.trouble or ("it never answered" if self.reader is None else await self.reader.explain())

    def take(self, look: Look) -> Look:
        """Take in a look; what is returned carries the operator's count of attempts."""
        since, attempt = None if self.endpoint is None else self.endpoint.since, self._attempt
        observations = tuple(
            replace(one, attempt=attempt if since is None or one.time >= since else max(attempt - 1, 1))
            for one in look.observations
        )
        for one in observations:
            self._hear(one)
        self.trouble = look.error or ""
        before = self._position
        if look.revision is not None:
            self.revision = look.revision
        if look.position is not None:
            # Its history is read after its page, and the trial goes on meanwhile.
            self._position = max([look.position, *(one.position for one in observations)])
        if self._moved is None or self._position != before or observations:
            self._moved = look.time
        pulse = None if look.pulse is None else replace(look.pulse, attempt=attempt)
        if pulse is not None and pulse.learning_rate is not None:
            self._learning_rate = pulse.learning_rate
        return replace(look, observations=observations, pulse=pulse)

    def _hear(self, one: Observation) -> None:
        self._values.append(one.value)
        self._newest = one
        if math.isfinite(one.value):
            better = max if self._spec.objective.direction is Direction.MAXIMIZE else min
            self._best = one.value if math.isnan(self._best) else better(self._best, one.value)
        self._position = max(self._position, one.position)
        if one.learning_rate is not None:
            self._learning_rate = one.learning_rate

    def last_words(self, result: TrialResult | None, *, attempt: int, time: float) -> list[Observation]:
        """Return what a finished training says beyond what was seen, so that it does not matter who looked when.

        These are the evaluations that nobody read, and the value at the end of the schedule if even that is missing.
        """
        if result is None or result.outcome is not Outcome.COMPLETED:
            return []
        objective, axis = self._spec.objective.metric, self._spec.axis
        unread = [one for one in result.history if (one.attempt, one.step, one.time) not in self._seen]
        found = [
            replace(one, attempt=attempt) for one in observations_of(unread, objective=objective, axis=axis.metric)
        ]
        for one in found:
            self._hear(one)
        value = result.values.get(objective)
        position = min(float(result.step), axis.total) if axis.metric == "train_step" else axis.total
        if value is not None and (self._newest is None or self._newest.position < position):
            found.append(Observation(position=position, value=value, attempt=attempt, time=time))
            self._hear(found[-1])
        return found

    def value(self, engine: Engine, reason: EndReason, result: TrialResult | None) -> float | None:
        """Return the trial's result.

        One that did not train to its end is worth what is recorded: what it did beyond its newest mark, before it heard
        that it was to stop, is known or not as it happens, and is not its worth.
        """
        objective = self._spec.objective
        curve = engine.trial(self.log.proposed.trial).curve
        sign = -1.0 if objective.direction is Direction.MAXIMIZE else 1.0
        if reason is not EndReason.COMPLETED and curve.mark:
            return reduce_values([sign * (curve.value if objective.reduce is Reduce.LAST else curve.best)], objective)
        said = None if result is None else result.values.get(objective.metric)
        last = [] if said is None else [said]
        if objective.reduce is Reduce.LAST:
            known = [sign * curve.value] if curve.mark else []
            seen = [] if self._newest is None else [self._newest.value]
            return reduce_values(known + seen + last, objective)
        return reduce_values([sign * curve.best, *self._values, *last], objective)

    def fraction(self, engine: Engine, reason: EndReason) -> float:
        """Return how much of the schedule was trained."""
        if reason is EndReason.COMPLETED:
            return 1.0
        curve = engine.trial(self.log.proposed.trial).curve
        return max(round(min(self._position / self._spec.axis.total, 1.0), 4), curve.fraction)

    def glimpse(self) -> Glimpse | None:
        """Return what was seen last; None before the first look."""
        if self._moved is None:
            return None
        return Glimpse(
            value=math.nan if self._newest is None else self._newest.value,
            best=self._best,
            progress=min(self._position / self._spec.axis.total, 1.0),
            learning_rate=math.nan if self._learning_rate is None else self._learning_rate,
            revision=self.revision,
            moved=self._moved,
            readable=not self.trouble,
        )

    def shown(self, engine: Engine) -> Object:
        """Return the part of the status that is for people: newest value, best value, how far."""
        objective = self._spec.objective
        curve = engine.trial(self.log.proposed.trial).curve
        sign = -1.0 if objective.direction is Direction.MAXIMIZE else 1.0
        out: dict[str, Any] = {"revision": self.revision}
        if self._newest is not None:
            out["value"] = shown_text(self._newest.value)
        elif curve.mark:
            out["value"] = shown_text(sign * curve.value)
        finite = [value for value in (*self._values, sign * curve.best) if math.isfinite(value)]
        if finite:
            out["best"] = shown_text(max(finite) if sign < 0 else min(finite))
        fraction = max(self._position / self._spec.axis.total, curve.fraction)
        out["fraction"] = shown_text(round(min(fraction, 1.0), 4))
        rate = self._learning_rate if self._learning_rate is not None else curve.learning_rate
        if rate is not None and not math.isnan(rate):
            out["learningRate"] = shown_text(rate)
        return out
