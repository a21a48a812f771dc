"""What a study knows between two readings of its objects: the engine, and the trials that have not ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tuning_operator.api.trial import Desired, StopReason
from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.backends.kubernetes.resources import Object, name_of
from tuning_operator.backends.kubernetes.site import Site
from tuning_operator.backends.kubernetes.study_objects import TrialGone
from tuning_operator.backends.kubernetes.trial_log import TrialLog
from tuning_operator.backends.kubernetes.turns import Turns
from tuning_operator.backends.kubernetes.watched import Watched
from tuning_operator.engine.engine import Engine
from tuning_operator.engine.events import EndReason
from tuning_operator.engine.wanted import Wanted


class StudyState:
    """Made anew whenever the objects are read again.

    Attributes:
        watched: The trials that have not ended, by number.
        source: What they are read through.
        is_readable: Whether people were told last that it can be read.
        is_empty: Whether no trial was ever made.
        turns: When which of them are looked at.
    """

    def __init__(self, site: Site, *, namespace: str, spec: TuningJobSpec, engine: Engine) -> None:
        self.spec = spec
        self.engine = engine
        self.watched: dict[int, Watched] = {}
        self.is_readable = True
        self.source = site.scraper.source(spec=spec, namespace=namespace)
        self.turns = Turns(
            interval=spec.metrics.interval.total_seconds(),
            trials=1 if self.source.reads_all_at_once else spec.budget.parallel,
        )
        self._site = site
        self._namespace = namespace
        self._numbers: dict[str, int] = {}
        self._used: dict[int, float] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no trial was ever made."""
        return not self._numbers

    @property
    def gpu_seconds(self) -> float:
        """GPU time of all trials, as far as they were looked at."""
        return sum(self._used.values())

    def adopt(self, body: Object, log: TrialLog) -> None:
        """Take in a Trial that was read or made."""
        number = log.proposed.trial
        self._numbers[name_of(body)] = number
        self._used[number] = self._site.gpu_seconds(body)
        if log.end is None:
            watched = self.watched[number] = Watched(log, self.spec, uid=body["metadata"]["uid"])
            watched.recall(body.get("status") or {})
            watched.generation = body["metadata"]["generation"]
            if body["spec"].get("stopReason") == StopReason.METRICS_UNAVAILABLE:
                watched.silent = "it reported no usable metric in time"

    def wanted(self, number: int) -> Wanted:
        """Return what is wanted of a trial: what the engine wants, unless the trial is given up for its silence."""
        wanted = self.engine.wanted(number)
        watched = self.watched.get(number)
        if watched is None or not watched.silent or wanted.desired is Desired.STOPPED:
            return wanted
        return Wanted(
            desired=Desired.STOPPED,
            reason=EndReason.METRICS_UNAVAILABLE,
            message=watched.silent,
            control=wanted.control,
        )

    def names(self, turn: Callable[[int], bool]) -> list[str]:
        """Return the Trials that have not ended and whose turn it is."""
        return [name for name, number in self._numbers.items() if number in self.watched and turn(number)]

    def bodies(self, names: Iterable[str]) -> list[tuple[int, Object]]:
        """Return the Trials among `names` that have not ended, as the cache has them.

        Raises:
            TrialGone: One of them is gone.
        """
        found = []
        for name in names:
            number = self._numbers.get(name)
            if number is None or number not in self.watched:
                continue
            body = self._site.trials.get(self._namespace, name)
            if body is None or body["metadata"]["uid"] != self.watched[number].uid:
                raise TrialGone(name)
            self._used[number] = self._site.gpu_seconds(body)
            found.append((number, body))
        return sorted(found, key=lambda one: one[0])
