"""One trial at a time, through all that can go wrong with it; real processes, from proposal to end."""

from __future__ import annotations

import asyncio
import json
import math
import sys
from pathlib import Path

import pytest
from tests.local.jobs import (
    STEPS,
    assert_nothing_runs,
    bare,
    client,
    manifest,
    read_journal,
    run_here,
    run_one,
    until_started,
)

from tuning_operator.api.parse import parse_manifest
from tuning_operator.backends.local.run_directory import RunDirectory
from tuning_operator.backends.local.runner import run
from tuning_operator.engine.events import EndReason
from tuning_operator.errors import BackendError


async def test_a_good_trial_completes(tmp_path: Path) -> None:
    trial = await run_one(bare(tmp_path / "journal"), tmp_path)
    assert (trial.reason, trial.attempt, trial.fraction) == (EndReason.COMPLETED, 1, 1.0)
    assert trial.result == pytest.approx(1 / (1 + STEPS * trial.parameters["lr"]))
    assert trial.compute_seconds > STEPS * 0.01
    assert trial.checkpoint.endswith("checkpoint/state.json")
    assert len(trial.points) > 20
    assert RunDirectory(tmp_path / "run").view() == RunDirectory(tmp_path / "run").view()


async def test_a_trial_with_our_client_completes(tmp_path: Path) -> None:
    trial = await run_one(client(), tmp_path)
    assert (trial.reason, trial.fraction) == (EndReason.COMPLETED, 1.0)
    assert trial.result == pytest.approx(0.97**60)


@pytest.mark.parametrize("field", ["suspend", "cancel"])
async def test_a_job_that_is_not_to_run_is_not_run(tmp_path: Path, field: str) -> None:
    with pytest.raises(BackendError, match=f"spec.{field} is true, so there is nothing to run"):
        await run_here(bare(tmp_path / "journal", **{field: True}), tmp_path)


async def test_a_program_without_a_history_is_read_from_its_page(tmp_path: Path) -> None:
    trial = await run_one(bare(tmp_path / "journal", "no-history", "pause=0.05"), tmp_path)
    assert trial.reason is EndReason.COMPLETED
    assert trial.result == pytest.approx(1 / (1 + STEPS * trial.parameters["lr"]))


async def test_a_port_that_the_command_passes_on(tmp_path: Path) -> None:
    trial = await run_one(bare(tmp_path / "journal", "port=$(TUNING_PORT)"), tmp_path)
    assert trial.reason is EndReason.COMPLETED
    assert len(trial.points) > 20


async def test_the_last_value_comes_with_the_result(tmp_path: Path) -> None:
    job = bare(tmp_path / "journal", "exits-unheard", "pause=0")
    trial = await run_one(job, tmp_path)
    assert (trial.reason, trial.fraction) == (EndReason.COMPLETED, 1.0)
    assert trial.result == pytest.approx(1 / (1 + STEPS * trial.parameters["lr"]))


async def test_a_crash_is_tried_again_from_the_checkpoint(tmp_path: Path) -> None:
    trial = await run_one(bare(tmp_path / "journal", "crashes-once"), tmp_path)
    assert (trial.reason, trial.attempt) == (EndReason.COMPLETED, 2)
    starts = [line for line in read_journal(tmp_path / "journal") if line[0] == "start"]
    assert len(starts) == 2
    attempts = [record.attempt for record in RunDirectory(tmp_path / "run").history(0)]
    assert set(attempts) == {1, 2}
    assert "RuntimeError: a bad batch" in (tmp_path / "run/trials/0000/output.log").read_text()


async def test_crashes_end_the_trial_after_its_retries(tmp_path: Path) -> None:
    job = bare(tmp_path / "journal", "ends-badly", trial={"retries": 2})
    trial = await run_one(job, tmp_path)
    assert (trial.reason, trial.attempt) == (EndReason.FAILED, 3)
    assert "exit code 1" in trial.message
    assert "the disk is on fire" in trial.message
    assert "3 attempts failed" in trial.message
    assert trial.result is not None, "values before the crash are kept"


async def test_dying_at_once_twice_is_not_tried_a_third_time(tmp_path: Path) -> None:
    job = bare(tmp_path / "journal", "dies-at-once", trial={"retries": 50})
    trial = await run_one(job, tmp_path)
    assert (trial.reason, trial.attempt, trial.result) == (EndReason.FAILED, 2, None)
    assert "exit code 3; it printed nothing; it ended the same way twice" in trial.message


async def test_a_configuration_error_is_never_tried_again(tmp_path: Path) -> None:
    job = bare(tmp_path / "journal", "configuration", trial={"retries": 50})
    trial = await run_one(job, tmp_path)
    assert (trial.reason, trial.attempt) == (EndReason.CONFIGURATION_ERROR, 1)
    assert "lr must not be odd" in trial.message


async def test_out_of_memory_is_told_apart(tmp_path: Path) -> None:
    trial = await run_one(bare(tmp_path / "journal", "memory", trial={"retries": 0}), tmp_path)
    assert trial.reason is EndReason.OUT_OF_MEMORY
    assert "smaller batches" in trial.message


async def test_a_kill_from_outside_is_told_apart(tmp_path: Path) -> None:
    trial = await run_one(bare(tmp_path / "journal", "is-killed", trial={"retries": 0}), tmp_path)
    assert trial.reason is EndReason.FAILED
    assert "SIGKILL, which was not sent from here" in trial.message


async def test_a_trial_that_never_answers_is_given_up(tmp_path: Path) -> None:
    job = bare(tmp_path / "journal", "silent", metrics={"interval": "100ms", "firstWithin": "1s"})
    trial = await run_one(job, tmp_path)
    assert (trial.reason, trial.attempt) == (EndReason.METRICS_UNAVAILABLE, 1)
    assert "within 1 s: it never said where it answers" in trial.message


async def test_a_misspelt_metric_is_named(tmp_path: Path) -> None:
    options = ("wrong-name", "no-history", "pause=1")
    job = bare(tmp_path / "journal", *options, metrics={"interval": "100ms", "firstWithin": "1s"})
    trial = await run_one(job, tmp_path)
    assert trial.reason is EndReason.METRICS_UNAVAILABLE
    assert "no metric eval_loss; it has: eval_los, train_step; did you mean eval_los?" in trial.message
    assert "spec.objective.metric" in trial.message


async def test_an_end_without_a_value_is_a_failure(tmp_path: Path) -> None:
    trial = await run_one(bare(tmp_path / "journal", "exits-unheard", "no-value"), tmp_path)
    assert trial.reason is EndReason.METRICS_UNAVAILABLE
    assert "no value of eval_loss was ever seen" in trial.message
    job = parse_manifest(manifest(["true"]))
    trial = await run_one(job, tmp_path / "foreign")
    assert trial.reason is EndReason.METRICS_UNAVAILABLE
    assert "it reported nothing at all" in trial.message


async def test_not_a_number_reaches_the_log(tmp_path: Path) -> None:
    trial = await run_one(bare(tmp_path / "journal", "nan"), tmp_path)
    assert (trial.reason, trial.result, trial.fraction) == (EndReason.COMPLETED, None, 1.0)
    assert trial.points
    assert all(math.isnan(point.value) for point in trial.points)


async def test_steps_that_go_backwards_do_no_harm(tmp_path: Path) -> None:
    trial = await run_one(bare(tmp_path / "journal", "backwards"), tmp_path)
    assert trial.reason is EndReason.COMPLETED
    fractions = [point.fraction for point in trial.points]
    assert fractions == sorted(set(fractions))


async def test_a_chatty_trial_goes_to_its_file(tmp_path: Path) -> None:
    trial = await run_one(bare(tmp_path / "journal", "chatty"), tmp_path)
    assert trial.reason is EndReason.COMPLETED
    assert (tmp_path / "run/trials/0000/output.log").stat().st_size > 4_000_000


async def test_children_end_with_their_trial(tmp_path: Path) -> None:
    trial = await run_one(bare(tmp_path / "journal", "children", trial={"gracePeriod": "500ms"}), tmp_path)
    assert trial.reason is EndReason.COMPLETED
    assert (tmp_path / "run/trials/0000/checkpoint/children").exists()


async def test_sigterm_ignored_is_sigkill(tmp_path: Path) -> None:
    job = bare(
        tmp_path / "journal",
        "ignores-sigterm",
        "pause=0.05",
        steps=600,
        budget={"trials": 1, "duration": "1s"},
        trial={"gracePeriod": "500ms"},
    )
    trial = await run_one(job, tmp_path)
    assert trial.reason is EndReason.BUDGET_EXHAUSTED
    assert trial.compute_seconds < 10
    assert [line[0] for line in read_journal(tmp_path / "journal")] == ["start"]


async def test_a_budget_that_is_used_up_keeps_what_was_found(tmp_path: Path) -> None:
    job = bare(tmp_path / "journal", "pause=0.05", steps=600, budget={"trials": 4, "parallel": 2, "duration": "1500ms"})
    view = await run_here(job, tmp_path)
    assert view.finished == "BudgetExhausted"
    assert {trial.reason for trial in view.trials} == {EndReason.BUDGET_EXHAUSTED}
    assert all(trial.result is not None for trial in view.trials)
    assert [line[0] for line in read_journal(tmp_path / "journal")].count("Interrupted") == 2


async def test_the_environment_of_a_trial(tmp_path: Path) -> None:
    program = (
        "import json,os,sys; print(json.dumps([dict(os.environ), sys.argv, os.getpid() == os.getsid(0), os.getcwd()]));"
        "sys.exit(64)"
    )
    job = parse_manifest(
        manifest(
            [sys.executable, "-c", program, "--lr=$(TUNING_PARAM_LR)", "$$(HOME)", "$(UNKNOWN)"],
            trial={"template": {"spec": {"containers": [{"env": [{"name": "MINE", "value": "of $(TUNING_TRIAL)"}]}]}}},
        )
    )
    await run_here(job, tmp_path, environment={"PATH": "/usr/bin:/bin", "MKL_NUM_THREADS": "7"})
    said = (tmp_path / "run/trials/0000/output.log").read_text().splitlines()[1]
    environment, arguments, leads, _ = json.loads(said)
    assert leads, "the trial leads its own session"
    assert environment["TUNING_TRIAL"] == "job-0000"
    assert environment["TUNING_TERMINATION_PATH"] == str(tmp_path / "run/trials/0000/result.json")
    assert environment["TUNING_CHECKPOINT_URI"] == str(tmp_path / "run/trials/0000/checkpoint")
    assert environment["MINE"] == "of job-0000"
    assert (environment["MKL_NUM_THREADS"], int(environment["OMP_NUM_THREADS"]) >= 1) == ("7", True)
    assert arguments[1:] == [f"--lr={environment['TUNING_PARAM_LR']}", "$(HOME)", "$(UNKNOWN)"]


async def test_gpus_are_handed_out_one_to_a_trial(tmp_path: Path) -> None:
    shell = ["sh", "-c", f'echo "$CUDA_VISIBLE_DEVICES" >> {tmp_path}/seen; sleep 0.3; exit 64']
    job = parse_manifest(manifest(shell, budget={"trials": 4, "parallel": 4, "failedTrials": 9}))
    view = await run(job, directory=tmp_path / "run", gpus=("GPU-a", "GPU-b"))
    seen = (tmp_path / "seen").read_text().split()
    assert sorted(seen) == ["GPU-a", "GPU-a", "GPU-b", "GPU-b"]
    assert view.gpu_hours > 0
    assert all(trial.gpu_seconds == pytest.approx(trial.compute_seconds) for trial in view.trials)


async def test_a_learning_rate_is_changed_while_the_trial_trains(tmp_path: Path) -> None:
    """Decision, signed message, step boundary, and the revision that comes back."""
    job = client(
        "pause=0.05",
        steps=100,
        parameters=[{"name": "lr", "type": "Float", "min": 1.5, "max": 1.6, "live": True}],
        control=[{"rule": "BackOff"}],
        stopping=[{"rule": "Divergence"}],
    )
    seen: list[int] = []
    view = await run_here(job, tmp_path, on_view=lambda view: seen.extend(t.applied_revision for t in view.trials))
    (trial,) = view.trials
    changes = [decision for decision in view.decisions if decision.revision]
    assert changes
    assert changes[0].enforced
    assert trial.reason is EndReason.COMPLETED
    applied = [line.split() for line in (tmp_path / "run/trials/0000/checkpoint/applied").read_text().splitlines()]
    assert [int(revision) for revision, _, _ in applied] == sorted({one.revision for one in changes})
    assert float(applied[0][1]) == changes[0].scale < 1
    assert max(seen) >= 1, "the trial reported the revision while it ran"
    revisions = {record.revision for record in RunDirectory(tmp_path / "run").history(0)}
    assert revisions >= {0, 1}


async def test_a_hopeless_trial_is_stopped(tmp_path: Path) -> None:
    job = client(
        "pause=0.03",
        steps=100,
        parameters=[{"name": "lr", "type": "Float", "min": 0.1, "max": 1.6}],
        search={"algorithm": "Random", "initial": [{"lr": 0.5}, {"lr": 1.5}]},
        stopping=[{"rule": "Divergence"}],
        budget={"trials": 2, "parallel": 2},
    )
    view = await run_here(job, tmp_path)
    good, bad = view.trials
    assert good.reason is EndReason.COMPLETED
    assert bad.reason in (EndReason.NON_FINITE, EndReason.STOPPED_EARLY)
    assert bad.fraction < 0.9
    (stop,) = [decision for decision in view.decisions if decision.trial == 1 and decision.enforced]
    assert bad.message == stop.sentence


async def test_a_second_run_in_one_directory_is_refused(tmp_path: Path) -> None:
    job = bare(tmp_path / "journal", "pause=0.05")
    first = asyncio.create_task(run_here(job, tmp_path))
    await until_started(tmp_path / "journal")
    with pytest.raises(BackendError, match=r"is in use by process \d+ on .* since"):
        await run_here(job, tmp_path, resume=True)
    view = await first
    assert view.trials[0].reason is EndReason.COMPLETED
    with pytest.raises(BackendError, match="holds a run already; continue it with --resume"):
        await run_here(job, tmp_path)
    again = await run_here(job, tmp_path, resume=True)
    assert again.trials == view.trials
    assert [line[0] for line in read_journal(tmp_path / "journal")].count("start") == 1


async def test_a_cancelled_run_leaves_no_process(tmp_path: Path) -> None:
    job = bare(tmp_path / "journal", "pause=0.05", steps=600)
    task = asyncio.create_task(run_here(job, tmp_path))
    await until_started(tmp_path / "journal")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert_nothing_runs(tmp_path)
    assert [line[0] for line in read_journal(tmp_path / "journal")] == ["start", "Interrupted"]
