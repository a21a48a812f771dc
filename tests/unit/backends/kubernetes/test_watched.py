"""From where on a trial is read when an operator takes it up."""

from __future__ import annotations

from typing import Any

from tests.unit.scrape.test_scrape_reader import spec

from tuning_operator.backends.kubernetes.site import Endpoint
from tuning_operator.backends.kubernetes.trial_log import TrialLog
from tuning_operator.backends.kubernetes.watched import Watched
from tuning_operator.curves.marks import MarkValue
from tuning_operator.engine.events import MarkReached, TrialProposed
from tuning_operator.scrape.source import Place


class Places:
    """A source that keeps where it was to read."""

    remembers, trouble, reads_since = True, "", 0.0

    def __init__(self) -> None:
        self.asked: list[Place] = []

    def reader(self, place: Place) -> Any:
        self.asked.append(place)
        return place


def test_only_what_came_after_the_newest_mark_of_the_attempt_is_read_again() -> None:
    log = TrialLog(TrialProposed(sequence=1, time=0.0, trial=0, parameters={"lr": 0.1}, seed=1))
    watched, source = Watched(log, spec(), uid="uid"), Places()
    first = Endpoint(url="http://a", since=100.0, pod="job-0000-a")
    for attempt, endpoint in ((1, first), (1, first)):
        watched.reader_at(source, endpoint, attempt=attempt)
    assert [(place.pod, place.since) for place in source.asked] == [("job-0000-a", 100.0)], "one attempt, one reader"

    for mark, time in ((1, 110.0), (2, 120.0)):
        at = MarkValue(mark=mark, value=1.0, best=1.0, mean=1.0)
        log.add(MarkReached(sequence=mark + 1, time=time, trial=0, attempt=1, at=at))
    again = Watched(log, spec(), uid="uid")
    again.reader_at(source, first, attempt=1)
    assert source.asked[-1].since == 120.0
    again.reader_at(source, Endpoint(url="http://b", since=200.0, pod="job-0000-b"), attempt=2)
    assert (source.asked[-1].pod, source.asked[-1].since) == ("job-0000-b", 200.0)
    assert source.asked[-1].seen is source.asked[-2].seen, "what the first attempt said is known"
