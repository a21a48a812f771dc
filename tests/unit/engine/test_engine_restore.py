import math
import random

import pytest
from tests.unit.engine.driving import Driver, make_spec

from tuning_operator.engine.codec import encode
from tuning_operator.engine.decisions import Decision
from tuning_operator.engine.events import EndReason, JobStarted, MarkReached
from tuning_operator.engine.replay import replay
from tuning_operator.errors import LogError

RULES = {
    "stopping": [{"rule": "Percentile", "percentile": 50, "minimumTrials": 1}, {"rule": "Divergence"}],
    "control": [{"rule": "BackOff"}, {"rule": "CoolDown"}],
}


def played() -> Driver:
    driver = Driver(**RULES)
    driver.begin()
    driver.complete(0, 1.0)
    driver.alarm(2)
    driver.mark(1, 5, 9.0)
    return driver


def test_the_order_of_records_does_not_matter():
    driver = played()
    shuffled = list(driver.records)
    random.Random(1).shuffle(shuffled)
    engine = driver.restored(shuffled)
    assert engine.pending_decisions() == []
    assert engine.view(time=0.0) == driver.engine.view(time=0.0)


def test_a_record_that_is_read_twice_counts_once():
    driver = played()
    assert driver.restored(driver.records * 2).view(time=0.0) == driver.engine.view(time=0.0)


def test_two_writers_are_noticed():
    driver = played()
    other = JobStarted(sequence=driver.records[3].sequence, time=0.0, fixed={})
    with pytest.raises(LogError, match="two different records have the sequence number"):
        driver.restored([*driver.records, other])


def test_what_was_not_judged_is_judged_once_and_as_it_would_have_been():
    driver = played()
    for place, record in enumerate(driver.records):
        if isinstance(record, Decision):
            engine = driver.restored(driver.records[:place])
            assert [encode(one) for one in engine.pending_decisions()] == [encode(record)]
            assert engine.pending_decisions() == []
            assert engine.wanted(record.trial) == driver.restored(driver.records[: place + 1]).wanted(record.trial)


def test_a_waiting_mark_is_judged_at_its_place_and_not_at_the_end_of_the_log():
    driver = played()
    driver.begin()
    driver.mark(3, 9, 5.0)
    lost = driver.records.pop()
    assert isinstance(lost, Decision)
    # Writes of other trials landed after it; with them the bar would be so high that nothing is stopped.
    records = list(driver.records)
    for _ in range(3):
        driver.begin()
        trial = driver.engine.active()[-1]
        driver.complete(trial, 50.0)
    later = driver.records[len(records) :]
    engine = driver.restored([*records, *(one for one in later if not isinstance(one, Decision))])
    (decision,) = engine.pending_decisions()
    assert encode(decision) == encode(lost)


def test_lost_lines_in_the_middle_never_happened():
    driver = played()
    lost = next(place for place, one in enumerate(driver.records) if getattr(one, "trial", None) == 0 and place > 20)
    engine = driver.restored(driver.records[:lost] + driver.records[lost + 1 :])
    assert len(engine.trial(0).curve) == 49
    sequence = engine.event(JobStarted, time=0.0, fixed={}).sequence
    assert sequence > max(one.sequence for one in driver.records)


def test_ended_trials_are_not_judged_again_under_new_rules():
    driver = Driver()
    driver.begin()
    driver.complete(0, 1.0)
    for trial in (1, 2):
        driver.mark(trial, 5, 9.0)
    driver.end(1, 9.0, reason=EndReason.CANCELLED)
    engine = driver.restored(spec=make_spec(**RULES))
    assert [one.trial for one in engine.pending_decisions()] == [2]


def test_the_line_that_ends_the_job_is_not_lost_and_not_doubled():
    driver = Driver(budget={"trials": 9, "parallel": 4, "failedTrials": 0})
    driver.begin()
    (decision,) = driver.end(0, reason=EndReason.FAILED)
    engine = driver.restored(driver.records[:-1])
    assert [encode(one) for one in engine.pending_decisions()] == [encode(decision)]
    assert driver.restored().pending_decisions() == []
    engine = driver.restored(spec=make_spec(budget={"trials": 9, "parallel": 4, "failedTrials": 1}))
    assert engine.pending_decisions() == []
    assert len(engine.propose(time=0.0)) == 1


def test_an_empty_log_is_a_job_that_has_not_begun():
    engine = Driver().restored([])
    assert isinstance(engine.propose(time=0.0)[0], JobStarted)


def test_replay_finds_the_first_difference():
    driver = played()
    assert replay(name="job", spec=driver.spec, records=driver.records) is None
    difference = replay(name="job", spec=make_spec(), records=driver.records)
    assert difference is not None
    assert difference.recorded.rule == "CoolDown"
    assert difference.judged is None
    assert "judged anew nothing" in str(difference)
    without = [one for one in driver.records if not (isinstance(one, Decision) and one.rule == "BackOff")]
    difference = replay(name="job", spec=driver.spec, records=without)
    assert difference.recorded is None
    assert difference.judged.rule == "BackOff"


def test_a_restored_recorder_goes_on_from_the_recorded_curve():
    driver = Driver()
    driver.begin()
    for position in (20.0, 40.0):
        for event in driver.look(0, position, value=position):
            driver.feed(event)
    engine = driver.restored()
    driver.engine = engine
    (event,) = driver.look(0, 60.0, value=60.0)
    assert (event.at.mark, event.at.mean) == (3, 40.0)
    assert math.isfinite(event.at.best)


def marks_of_one_look(driver: Driver) -> list[MarkReached]:
    """Return marks of a trial that is to be stopped for one of them, not recorded yet."""
    for event in driver.look(3, 20.0, value=9.0):
        driver.feed(event)
    events = [event for event in driver.look(3, 400.0, value=9.0) if isinstance(event, MarkReached)]
    assert len({event.time for event in events}) == 1 < len(events)
    return events


def test_all_marks_of_one_look_are_judged_that_were_not():
    """A backend may record the marks of one look together, and die before any of them is judged."""
    driver = played()
    events = marks_of_one_look(driver)
    recorded = [*driver.records, *events]
    (stop,) = [decision for event in events for decision in driver.feed(event)]
    assert events[0].sequence < stop.because < events[-1].sequence, "it is not the last mark that is judged"
    engine = driver.restored(recorded)
    assert [encode(one) for one in engine.pending_decisions()] == [encode(stop)]
    assert engine.wanted(3) == driver.engine.wanted(3)
    assert engine.trial(3).curve.mark == driver.engine.trial(3).curve.mark


def test_what_was_recorded_beyond_a_stop_is_not_on_the_curve():
    driver = played()
    events = marks_of_one_look(driver)
    (stop,) = [decision for event in events for decision in driver.feed(event)]
    assert driver.engine.trial(3).curve.mark == round(stop.fraction * 50) < events[-1].at.mark
