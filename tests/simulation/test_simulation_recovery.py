"""Killing the process at any place of the log changes nothing: not a decision, not a proposal."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.simulation.jobs import TOTAL, jobs, make_job, trainings

from tuning_operator.api.tuning_job import TuningJob
from tuning_operator.backends.simulation.simulation import simulate
from tuning_operator.backends.simulation.synthetic import SyntheticCurves
from tuning_operator.engine.codec import encode, from_line, to_line
from tuning_operator.engine.decisions import Decision
from tuning_operator.engine.engine import Engine
from tuning_operator.engine.events import Event, MarkReached, SpaceExhausted, TrialProposed
from tuning_operator.engine.replay import replay

patient = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def without_numbers(records: Sequence[Event]) -> list[dict[str, object]]:
    """What was recorded but for the sequence numbers, which have gaps where a process died."""
    return [{**encode(record), "sequence": 0, "because": 0} for record in records]


def continue_from(job: TuningJob, records: Sequence[Event], cut: int) -> None:
    """Restore from the first `cut` records, go on with the rest of the events, and compare every answer."""
    engine = Engine.restore(name="job", spec=job.spec, records=records[:cut])
    decided = engine.pending_decisions()
    newest = max((record.sequence for record in [*records[:cut], *decided]), default=0)
    expected = [record for record in records[cut:] if isinstance(record, Decision)]
    for event in records[cut:]:
        if isinstance(event, Decision):
            continue
        assert event.sequence > newest
        if isinstance(event, TrialProposed | SpaceExhausted):
            (proposed,) = engine.propose(time=event.time)
            assert without_numbers([proposed]) == without_numbers([event])
        decided += engine.apply(event)
    assert [encode(one) for one in decided] == [encode(one) for one in expected]


@patient
@given(st.data())
def test_any_prefix_of_a_log_goes_on_as_the_undisturbed_job(data):
    job = data.draw(jobs())
    played = simulate(job, data.draw(trainings(job)), seed=1, gpus=1)
    assert played.view.finished is not None
    assert replay(name="job", spec=job.spec, records=played.records) is None
    for cut in data.draw(st.lists(st.integers(0, len(played.records)), min_size=1, max_size=6)):
        continue_from(job, played.records, cut)
    # Right between an event and the first of its decisions.
    decided = [place for place, record in enumerate(played.records) if isinstance(record, Decision)]
    for cut in data.draw(st.lists(st.sampled_from(decided), max_size=6)) if decided else ():
        continue_from(job, played.records, cut)


def test_every_single_prefix_of_one_log():
    job = make_job(
        budget={"trials": 6, "parallel": 3, "failedTrials": 9},
        stopping=[
            {"rule": "Percentile", "mode": "Observe", "minimumTrials": 1, "percentile": 50},
            {"rule": "Divergence"},
        ],
        evaluation={"top": 1, "seeds": [101, 102]},
        audit=0.3,
    )
    played = simulate(job, SyntheticCurves(total=TOTAL, crashes=0.4, limit=1.0), seed=1)
    assert {one.rule for one in played.view.decisions} == {"Percentile", "BackOff", "CoolDown", "Divergence"}
    for cut in range(len(played.records) + 1):
        continue_from(job, played.records, cut)


def test_the_engine_is_the_same_after_reading_its_log_from_text():
    job = make_job()
    played = simulate(job, SyntheticCurves(total=TOTAL, crashes=0.2), seed=1)
    records = [from_line(to_line(record)) for record in played.records]
    engine = Engine.restore(name="job", spec=job.spec, records=records)
    assert repr(engine.view(time=0.0).decisions) == repr(played.view.decisions)
    assert repr(engine.view(time=played.view.updated).trials) == repr(
        Engine.restore(name="job", spec=job.spec, records=played.records).view(time=played.view.updated).trials
    )


@patient
@given(st.data())
def test_a_process_that_dies_all_the_time_decides_the_same(data):
    """Not the log but the whole loop: trials go on, and what they reported is shown to the new process again."""
    job = data.draw(jobs())
    curves = data.draw(trainings(job))
    undisturbed = simulate(job, curves, seed=1)
    every = data.draw(st.integers(1, 40))
    count = 0

    def crash(event: Event) -> bool:
        nonlocal count
        count += 1
        return count % every == 0

    disturbed = simulate(job, curves, seed=1, crash=crash)
    assert without_numbers(disturbed.records) == without_numbers(undisturbed.records)
    assert count >= every or every > len(undisturbed.records) - len(undisturbed.view.decisions)


def test_a_crash_before_the_decision_is_recorded_delays_nothing():
    job = make_job()
    curves = SyntheticCurves(total=TOTAL)
    undisturbed = simulate(job, curves, seed=1)
    because = {one.because for one in undisturbed.view.decisions}
    disturbed = simulate(job, curves, seed=1, crash=lambda event: event.sequence in because)
    assert [encode(one) for one in disturbed.records] == [encode(one) for one in undisturbed.records]


@pytest.mark.parametrize("algorithm", ["TPE", "CMAES"])
def test_model_based_proposals_follow_from_the_log_too(algorithm):
    job = make_job(search={"algorithm": algorithm, "seed": 3}, budget={"trials": 14, "parallel": 2, "failedTrials": 9})
    curves = SyntheticCurves(total=TOTAL, reports=10)
    undisturbed = simulate(job, curves, seed=1)
    count = 0

    def crash(event: Event) -> bool:
        nonlocal count
        count += isinstance(event, MarkReached)
        return count % 50 == 0

    disturbed = simulate(job, curves, seed=1, crash=crash)
    assert without_numbers(disturbed.records) == without_numbers(undisturbed.records)
