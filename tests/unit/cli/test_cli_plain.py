from __future__ import annotations

from dataclasses import replace

from tests.unit.cli.views import START, make_decision, make_trial, make_view

from tuning_operator.cli.plain import PlainReporter
from tuning_operator.cli.summary import summary
from tuning_operator.engine.decisions import Action
from tuning_operator.engine.events import EndReason, Role
from tuning_operator.engine.view import JobView, TrialState

PENDING = make_trial(0, state=TrialState.PENDING, started=None)
RUNNING = make_trial(0)
ENDED = make_trial(
    0, state=TrialState.ENDED, reason=EndReason.COMPLETED, fraction=1.0, result=0.31, best=0.31, compute_seconds=40.0
)
CHANGE = make_decision(
    5,
    1,
    rule="BackOff",
    action=Action.CHANGE_LEARNING_RATE,
    scale=0.5,
    revision=1,
    saved=0.0,
    sentence="after 12% it exploded",
)
STOP = make_decision(7, 1, sentence="after 20% its best loss is above the bar")


def story() -> list[JobView]:
    second = make_trial(1, parameters={"lr": 0.1})
    stopped = replace(
        second, state=TrialState.ENDED, reason=EndReason.STOPPED_EARLY, fraction=0.2, result=1.3, best=1.3
    )
    return [
        make_view((PENDING,), updated=START),
        make_view((RUNNING, second), updated=START + 1),
        make_view((RUNNING, second), (CHANGE,), updated=START + 5),
        make_view((ENDED, second), (CHANGE,), best=ENDED, updated=START + 41),
        make_view((ENDED, stopped), (CHANGE, STOP), best=ENDED, updated=START + 61),
    ]


def test_a_run_reads_as_a_story_and_nothing_is_said_twice() -> None:
    lines: list[str] = []
    reporter = PlainReporter(lines.append)
    for view in story():
        reporter.update(view)
        reporter.update(view)
    assert lines == [
        "[   0:01] trial 0 started: lr=0.001, width=128, optimizer=adamw",
        "[   0:01] trial 1 started: lr=0.1",
        "[   0:05] trial 1: learning rate ×0.5 by BackOff: after 12% it exploded",
        "[   0:41] trial 0 completed at 100 %: eval_loss 0.31",
        "[   0:41] new best: trial 0 with eval_loss 0.31 (lr=0.001, width=128, optimizer=adamw)",
        "[   1:01] trial 1: stopped by Percentile: after 20% its best loss is above the bar",
        "[   1:01] trial 1 stopped early at 20 %: eval_loss 1.3",
    ]


def test_a_resumed_run_does_not_repeat_what_was_there() -> None:
    lines: list[str] = []
    views = story()
    PlainReporter(lines.append, since=views[3]).update(views[4])
    assert [line.split("] ")[1][:24] for line in lines] == ["trial 1: stopped by Perc", "trial 1 stopped early at"]


def test_restarts_evaluations_and_failures_have_their_own_lines() -> None:
    lines: list[str] = []
    reporter = PlainReporter(lines.append)
    reporter.update(make_view((replace(RUNNING, attempt=2, fraction=0.4),)))
    failed = make_trial(
        1, state=TrialState.ENDED, reason=EndReason.FAILED, role=Role.EVALUATION, candidate=0, message="exit code 1"
    )
    reporter.update(make_view((replace(RUNNING, attempt=2, fraction=0.4), failed)))
    assert [line[10:] for line in lines] == [
        "trial 0 started again (attempt 2) from 40 %",
        "trial 1 retrains trial 0 with a new seed: lr=0.001, width=128, optimizer=adamw",
        "trial 1 failed at 0 %: eval_loss no value (exit code 1)",
    ]


def test_the_summary_tells_result_counts_steering_and_price() -> None:
    view = replace(story()[-1], finished="TrialsCompleted", compute_seconds=50.0, compute_seconds_saved=150.0)
    assert summary(view) == [
        "digits finished after 1 min 01 s: all trials are done",
        "Best:       trial 0 with eval_loss 0.31",
        "              lr: 0.001",
        "              width: 128",
        "              optimizer: adamw",
        "Trials:     2: 1 completed, 1 stopped early",
        "Steering:   1 learning-rate change",
        "Compute:    50 s used, about 2 min 30 s saved by stopping early (75 % of the whole)",
    ]


def test_the_summary_compares_finalists_with_what_tuning_said() -> None:
    again = [
        make_trial(
            number, role=Role.EVALUATION, candidate=0, state=TrialState.ENDED, reason=EndReason.COMPLETED, result=value
        )
        for number, value in ((8, 0.33), (9, 0.35))
    ]
    lines = summary(make_view((ENDED, *again), best=ENDED, rank_correlation=0.5, wrong_stop_rate=0.25))
    assert (
        "Evaluated:  trial 0 gave 0.34 ± 0.014 with 2 new seeds; tuning said 0.31, so it is 0.03 worse than it looked"
        in lines
    )
    assert any("rank correlation of 0.5" in line for line in lines)
    assert any("25 % of the audited" in line for line in lines)


def test_the_summary_says_when_the_parameters_alone_do_not_tell_the_learning_rate() -> None:
    changes = tuple(
        replace(CHANGE, sequence=number, trial=0, scale=0.5**number, fraction=0.1 * number) for number in (1, 2)
    )
    lines = summary(make_view((ENDED,), changes, best=ENDED))
    assert (
        "              its learning rate was changed while it trained: ×0.5 at 10 %, ×0.25 at 20 % of the schedule"
        in lines
    )


def test_what_keeps_a_job_or_a_trial_from_going_on_is_said_once() -> None:
    lines: list[str] = []
    reporter = PlainReporter(lines.append)
    waits = make_trial(0, state=TrialState.PENDING, message="no node has room", started=None)
    for _ in range(2):
        reporter.update(make_view((waits,), notice="the watch broke"))
    reporter.update(make_view((replace(waits, message=""),)))
    reporter.update(make_view((waits,), notice="the watch broke"))
    said = [line.partition("] ")[2] for line in lines]
    assert said == ["the watch broke", "trial 0 pending: no node has room"] * 2
