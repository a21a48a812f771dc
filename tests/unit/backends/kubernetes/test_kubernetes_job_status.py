from __future__ import annotations

from typing import Any

import pytest

from tuning_operator.api.metadata import ObjectMeta
from tuning_operator.api.status import TuningJobStatus
from tuning_operator.api.tuning_job import TuningJob, TuningJobSpec
from tuning_operator.backends.kubernetes.events import LONGEST_NOTE, best_event, decision_event, trial_event
from tuning_operator.backends.kubernetes.job_status import is_news, render_rejected, render_status, was_finished
from tuning_operator.backends.simulation.simulation import Played, simulate
from tuning_operator.backends.simulation.synthetic import SyntheticCurves

JOB = {
    "apiVersion": "tuning-operator.io/v1alpha1",
    "kind": "TuningJob",
    "metadata": {"name": "digits", "namespace": "team", "uid": "0123456789"},
}
TRIAL = {**JOB, "kind": "Trial", "metadata": {"name": "digits-0003", "namespace": "team", "uid": "abcdefghij"}}


@pytest.fixture(scope="module")
def played() -> Played:
    spec = TuningJobSpec.model_validate(
        {
            "objective": {"metric": "eval_loss"},
            "axis": {"total": 1000},
            "parameters": [{"name": "lr", "type": "Float", "min": 1e-5, "max": 1.0, "scale": "Log"}],
            "search": {"algorithm": "Random", "seed": 7},
            "stopping": [{"rule": "Divergence"}],
            "control": [{"rule": "BackOff"}],
            "budget": {"trials": 5, "parallel": 3},
        }
    )
    job = TuningJob(metadata=ObjectMeta(name="digits"), spec=spec)
    return simulate(job, SyntheticCurves(total=1000.0), seed=3)


def rendered(played: Played, *, before: dict[str, Any] | None = None, time: float = 5000.0) -> dict[str, Any]:
    return render_status(played.view, time=time, generation=2, before=before or {}, records=[])


def test_a_status_that_says_the_same_is_not_news(played: Played) -> None:
    first = rendered(played)
    TuningJobStatus.model_validate(first)
    again = rendered(played, before=first, time=9000.0)
    assert again == first
    assert not is_news(again, first)
    assert not is_news({**again, "gpuHoursUsed": "77.0"}, first)
    assert is_news({**again, "learningRateChanges": 99}, first)
    assert is_news(first, {})
    assert was_finished(first)
    assert not was_finished({})


def test_a_status_of_a_later_version_is_no_obstacle(played: Played) -> None:
    first = rendered(played)
    strange = {**first, "fieldOfTomorrow": 1}
    assert rendered(played, before=strange, time=9000.0)["conditions"] == first["conditions"]
    odd = {"conditions": [{"type": "Odd"}]}
    assert rendered(played, before=odd)["conditions"] == first["conditions"]


def test_a_refusal_keeps_what_was_there(played: Played) -> None:
    first = rendered(played)
    refused = render_rejected("Invalid", "spec.budget: no " * 5000, time=6000.0, generation=3, before=first)
    TuningJobStatus.model_validate(refused)
    assert refused["best"] == first["best"]
    accepted = next(one for one in refused["conditions"] if one["type"] == "Accepted")
    assert (accepted["status"], accepted["reason"], accepted["observedGeneration"]) == ("False", "Invalid", 3)
    again = render_rejected("Invalid", "spec.budget: no " * 5000, time=7000.0, generation=3, before=refused)
    assert again == refused


def test_an_event_tells_the_numbers_and_stays_within_its_bounds(played: Played) -> None:
    decisions = played.view.decisions
    events = [decision_event(JOB, decision, trial=TRIAL) for decision in decisions]
    assert len({event["metadata"]["name"] for event in events}) == len(decisions) > 2
    for event, decision in zip(events, decisions, strict=True):
        assert decision.sentence in event["note"]
        assert event["regarding"]["name"] == "digits-0003"
        assert event["related"]["name"] == "digits"
        assert len(event["note"].encode()) <= LONGEST_NOTE
    long = trial_event(TRIAL, "Warning", "Failed", "größer " * 1000, time=1.0)
    assert len(long["note"].encode()) <= LONGEST_NOTE
    assert long["note"].endswith("…")
    assert long == trial_event(TRIAL, "Warning", "Failed", "größer " * 1000, time=1.0)
    assert played.view.best is not None
    best = best_event(JOB, played.view.best, time=1.0)
    assert best["reason"] == "NewBest"
    assert played.view.best.name in best["note"]
