"""A stand-in trial is read by the operator's own reader as a trainer would be."""

from __future__ import annotations

import math

from benchmarks.load.curves import REPORTS, TOTAL, load_curves
from benchmarks.load.training import Training

from trial_protocol import names
from trial_protocol.environment import TrialEnvironment
from trial_protocol.history import parse_history
from trial_protocol.result import Outcome
from tuning_operator.engine.events import TrialProposed
from tuning_operator.engine.wanted import WantedControl
from tuning_operator.scrape.exposition import read_samples


def training(rate: float = 0.003) -> Training:
    return Training(
        environment=TrialEnvironment(job="a", trial="a-0001"),
        address="127.64.0.1",
        began=1000.0,
        seconds=100.0,
        curves=load_curves(None),
        proposed=TrialProposed(sequence=0, time=0.0, trial=1, parameters={"lr": rate}, seed=5),
    )


def test_a_curve_unfolds_with_the_clock_and_is_paged() -> None:
    one = training()
    assert one.history("", 1000.0) == ("", "0")
    text, cursor = one.history("limit=3", one.visible(5))
    assert [record.step for record in parse_history(text)] == [20, 40, 60]
    text, cursor = one.history(f"limit=3&cursor={cursor}", one.visible(5))
    assert [record.time for record in parse_history(text)] == [one.visible(4), one.visible(5)]
    assert one.history(f"cursor={cursor}", one.visible(5)) == ("", "5")


def test_a_window_ends_with_a_look_and_positions_go_on_between_reports() -> None:
    one, wanted = training(), (names.METRIC_STEP, names.METRIC_LOSS_COUNT, "eval_loss")
    first = read_samples(one.metrics(one.visible(2))[0], wanted).values
    assert (first[names.METRIC_STEP], first[names.METRIC_LOSS_COUNT]) == (40, 20)
    between = read_samples(one.metrics(one.visible(2) + 1)[0], wanted).values
    assert (between[names.METRIC_STEP], between[names.METRIC_LOSS_COUNT]) == (50, 0)
    assert between["eval_loss"] == first["eval_loss"]


def test_a_control_message_counts_from_when_it_arrives() -> None:
    one = training()
    one.steer(WantedControl(revision=1, scale=0.5), one.visible(10))
    text, _ = one.history("", one.visible(20))
    records = parse_history(text)
    assert [record.revision for record in records] == [0] * 10 + [1] * 10
    assert records[10].learning_rate == 0.0015
    assert one.controls == [(1, one.visible(10))]


def test_the_last_word_is_the_last_report() -> None:
    one = training()
    result = one.result(one.end)
    assert (result.outcome, result.step) == (Outcome.COMPLETED, TOTAL)
    text, cursor = one.history("", one.end)
    assert cursor == str(REPORTS)
    assert result.values["eval_loss"] == parse_history(text)[-1].values["eval_loss"]


def test_what_diverges_says_when() -> None:
    one = training(rate=0.1)
    one.advance(one.end)
    text, _ = one.history("", one.end)
    first = next(record for record in parse_history(text) if math.isnan(record.values["eval_loss"]))
    assert one.broken == first.time
