"""What a finished training is worth, and its curve, do not depend on who looked when."""

from __future__ import annotations

import math
from typing import Any

import pytest

from trial_protocol.history import HistoryRecord
from trial_protocol.result import Outcome, TrialResult
from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.backends.kubernetes.trial_log import TrialLog
from tuning_operator.backends.kubernetes.watched import Watched
from tuning_operator.curves.marks import Observation
from tuning_operator.engine.engine import Engine
from tuning_operator.engine.events import AttemptStarted, EndReason, MarkReached, TrialProposed
from tuning_operator.scrape.look import Look
from tuning_operator.scrape.records import observations_of

EVALUATIONS = [
    HistoryRecord(
        step=step,
        attempt=1,
        time=1000.0 + step,
        values={"train_step": float(step), "eval_loss": 1.0 + abs(step - 63) / 50},
        learning_rate=0.1,
    )
    for step in (*range(3, 100, 5), 100)
]
RESULT = TrialResult(
    outcome=Outcome.COMPLETED, step=100, values={"eval_loss": 1.74}, checkpoint="a", history=tuple(EVALUATIONS)
)


def started(**objective: Any) -> tuple[Engine, Watched]:
    spec = TuningJobSpec.model_validate(
        {
            "objective": {"metric": "eval_loss", **objective},
            "axis": {"total": 100},
            "parameters": [{"name": "lr", "type": "Float", "min": 0.1, "max": 1.0}],
            "search": {"algorithm": "Random"},
            "budget": {"trials": 1},
        }
    )
    engine = Engine(name="job", spec=spec)
    while events := engine.propose(time=1.0):
        for event in events:
            engine.apply(event)
            if isinstance(event, TrialProposed):
                proposed = event
    engine.apply(engine.event(AttemptStarted, time=2.0, trial=0, attempt=1))
    return engine, Watched(TrialLog(proposed), spec, uid="1")


def told(engine: Engine, observations: Any) -> None:
    for event in engine.observe(trial=0, observations=observations, pulse=None, time=3.0):
        assert isinstance(event, MarkReached)
        engine.apply(event)


def ended(*, looks: list[int], result: TrialResult = RESULT, **objective: Any) -> tuple[list[Any], float | None]:
    """The curve and the result of a training that was looked at after so many evaluations, and then at its end."""
    engine, watched = started(**objective)
    known = 0
    for count in looks:
        records = tuple(EVALUATIONS[known:count])
        watched._seen.update((one.attempt, one.step, one.time) for one in records)
        found = observations_of(records, objective="eval_loss", axis="train_step")
        told(engine, watched.take(Look(time=4.0, records=records, observations=found)).observations)
        known = count
    told(engine, watched.last_words(result, attempt=1, time=5.0))
    return list(engine.trial(0).curve), watched.value(engine, EndReason.COMPLETED, result)


@pytest.mark.parametrize("reduce", ["Best", "Last"])
@pytest.mark.parametrize("looks", [[], [1], [7], [7, 8], [20], [*range(1, 22)]])
def test_the_curve_and_the_result_are_the_same_whenever_somebody_looked(looks: list[int], reduce: str) -> None:
    curve, value = ended(looks=[21], reduce=reduce)
    assert [at.mark for at in curve] == list(range(2, 51))
    assert value == (1.0 if reduce == "Best" else 1.74)
    assert ended(looks=looks, reduce=reduce) == (curve, value)


def test_a_process_that_takes_over_goes_on_from_the_newest_recorded_mark() -> None:
    curve, _ = ended(looks=[21])
    engine, watched = started()
    told(engine, observations_of(EVALUATIONS[:9], objective="eval_loss", axis="train_step"))
    later = Watched(watched.log, watched._spec, uid="1")
    restored = engine.trial(0).curve
    assert restored.mark == 21
    engine._live.clear()
    told(engine, later.last_words(RESULT, attempt=1, time=5.0))
    assert list(engine.trial(0).curve) == curve


def test_without_a_history_the_last_value_still_counts() -> None:
    bare = TrialResult(outcome=Outcome.COMPLETED, step=100, values={"eval_loss": 1.74})
    curve, value = ended(looks=[10], result=bare)
    assert curve[-1].mark == 50
    assert curve[-1].value == 1.74
    assert value == pytest.approx(1.3)


def test_a_training_is_as_far_as_its_newest_evaluation_though_its_page_was_read_before() -> None:
    engine, watched = started()
    seen = observations_of(EVALUATIONS[:5], objective="eval_loss", axis="train_step")
    watched.take(Look(time=4.0, position=21.0, observations=seen))
    assert watched.fraction(engine, EndReason.STOPPED_EARLY) == 0.23
    later = Watched(watched.log, watched._spec, uid="1")
    later.recall(watched.shown(engine))
    assert later.fraction(engine, EndReason.STOPPED_EARLY) == 0.23


def test_people_are_shown_six_digits() -> None:
    engine, watched = started()
    one = Observation(position=2.0, value=0.8015016182778252, attempt=1, time=1.0, learning_rate=0.0013647846072312334)
    watched.take(Look(time=1.0, observations=(one,)))
    shown = watched.shown(engine)
    assert (shown["value"], shown["best"], shown["learningRate"]) == ("0.801502", "0.801502", "0.00136478")


def test_a_training_that_was_stopped_is_worth_what_is_recorded() -> None:
    engine, watched = started()
    seen = observations_of(EVALUATIONS[:10], objective="eval_loss", axis="train_step")
    told(engine, watched.take(Look(time=4.0, records=(), observations=seen)).observations)
    curve = engine.trial(0).curve
    assert watched.value(engine, EndReason.STOPPED_EARLY, None) == curve.best
    beyond = observations_of(EVALUATIONS[10:13], objective="eval_loss", axis="train_step")
    watched.take(Look(time=4.0, records=(), observations=beyond))
    assert watched.value(engine, EndReason.STOPPED_EARLY, None) == curve.best
    assert math.isfinite(curve.best)
