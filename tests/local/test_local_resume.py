"""Interrupting, killing and going on: no trial is lost, none runs twice, and what was decided stays decided."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.local.jobs import (
    HERE,
    assert_nothing_runs,
    bare,
    live_processes,
    manifest,
    read_journal,
    run_here,
    until_started,
)
from tests.local.runners import Runners

from tuning_operator.api.parse import parse_manifest
from tuning_operator.backends.local.run_directory import RunDirectory
from tuning_operator.engine.decisions import Decision
from tuning_operator.engine.events import AttemptStarted, EndReason, Event, TrialEnded, TrialProposed
from tuning_operator.engine.replay import replay
from tuning_operator.errors import BackendError, LogError


@pytest.fixture
def runners() -> Iterator[Runners]:
    with Runners() as started:
        yield started


def job_of_eight(journal: Path, *, steps: int, pause: float) -> dict[str, Any]:
    command = [
        sys.executable,
        "-S",
        str(HERE / "bare_trial.py"),
        str(journal),
        f"steps={steps}",
        f"pause={pause}",
    ]
    return manifest(
        command,
        steps=steps,
        budget={"trials": 8, "parallel": 2, "failedTrials": 0},
        search={
            "algorithm": "Random",
            "seed": 3,
            "initial": [{"lr": lr} for lr in (0.9, 0.5, 0.012, 0.8, 0.011, 0.3, 0.013, 0.7)],
        },
        stopping=[{"rule": "Percentile", "percentile": 40, "after": 0.3, "minimumTrials": 2}],
        audit=0.2,
        metrics={"interval": "50ms", "firstWithin": "30s"},
        trial={"retries": 0, "gracePeriod": "3s"},
    )


def settled(records: list[Event]) -> list[Event]:
    """What must never change once it is written."""
    return [record for record in records if isinstance(record, Decision | TrialProposed | TrialEnded)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [20])
def test_fifty_kills_at_random_moments(tmp_path: Path, runners: Runners, seed: int) -> None:
    kills, chance = 50, random.Random(seed)
    journal, directory = tmp_path / "journal", tmp_path / "run"
    plan = job_of_eight(journal, steps=120, pause=0.02)
    files = RunDirectory(directory)
    killed, unfinished, before = 0, 0, list[Event]()
    status = -1
    while status != 0:
        runner = runners.start(plan, directory)
        if killed < kills:
            # Mostly while trials run, often enough while the runner is still taking up what was left.
            time.sleep(chance.uniform(0.0, 0.1) if chance.random() < 0.3 else chance.uniform(0.1, 0.7))
            runner.signal(signal.SIGKILL)
        status = runner.wait()
        killed += status == -signal.SIGKILL
        assert status in (0, -signal.SIGKILL)
        records = files.records() if directory.exists() else []
        assert settled(records)[: len(settled(before))] == settled(before), "something decided has changed"
        unfinished += len(records) > len(before)
        before = records
        running = Counter(environment["TUNING_TRIAL"] for environment in live_processes(tmp_path).values())
        assert all(count == 1 for count in running.values()), running
    assert killed == kills, "the job was over before all kills: make it longer"
    assert_nothing_runs(tmp_path)

    lines = read_journal(journal)
    assert not [line for line in lines if line[0] == "double"], "two live processes of one trial"
    view = files.view()
    assert view.finished == "TrialsCompleted"
    assert [trial.number for trial in view.trials] == list(range(8))
    assert {trial.reason for trial in view.trials} <= {EndReason.COMPLETED, EndReason.STOPPED_EARLY}
    assert any(trial.reason is EndReason.STOPPED_EARLY for trial in view.trials), "the rule had its say"
    ended = {record.trial: index for index, record in enumerate(before) if isinstance(record, TrialEnded)}
    assert len(ended) == 8
    for index, record in enumerate(before):
        if isinstance(record, AttemptStarted):
            assert index < ended[record.trial], "a finished trial was started again"
    starts = Counter((trial, attempt) for what, trial, attempt, _, _ in lines if what == "start")
    assert max(starts.values()) == 1, "an attempt was started twice"
    for trial in view.trials:
        if trial.reason is EndReason.COMPLETED:
            assert trial.result == pytest.approx(1 / (1 + 120 * trial.parameters["lr"]))
    difference = replay(name="job", spec=parse_manifest(plan).spec, records=before)
    assert difference is None, str(difference)


def test_ctrl_c_suspends_and_resume_goes_on(tmp_path: Path, runners: Runners) -> None:
    journal, directory = tmp_path / "journal", tmp_path / "run"
    plan = job_of_eight(journal, steps=60, pause=0.02)
    plan["spec"]["budget"]["trials"] = 3
    runner = runners.start(plan, directory)
    asyncio.run(until_started(journal, trials=2))
    runner.signal(signal.SIGINT)
    assert runner.wait() == 130
    assert_nothing_runs(tmp_path)
    view = RunDirectory(directory).view()
    assert view.suspended
    assert view.states == {"Paused": 2}
    assert [line[0] for line in read_journal(journal)].count("Interrupted") == 2

    runner = runners.start(plan, directory)
    assert runner.wait() == 0
    view = RunDirectory(directory).view()
    assert (view.finished, view.suspended) == ("TrialsCompleted", False)
    assert sorted(trial.attempt for trial in view.trials) == [1, 2, 2]
    steps = [line[4] for line in read_journal(journal) if line[0] == "Completed"]
    assert all(step == 60 for step in steps)


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path, runners: Runners) -> None:
    journal = tmp_path / "journal"
    plan = manifest(
        [sys.executable, "-S", str(HERE / "bare_trial.py"), str(journal), "steps=9000", "ignores-sigterm"],
        trial={"gracePeriod": "60s"},
    )
    runner = runners.start(plan, tmp_path / "run")
    asyncio.run(until_started(journal))
    runner.signal(signal.SIGTERM)
    time.sleep(0.3)
    assert live_processes(tmp_path), "the first signal waits for the trial"
    began = time.monotonic()
    runner.signal(signal.SIGINT)
    assert runner.wait() == 130
    assert time.monotonic() - began < 10
    assert_nothing_runs(tmp_path)


def test_what_a_killed_runner_left_is_ended_first(tmp_path: Path, runners: Runners) -> None:
    """A trial that ignores SIGTERM outlives its runner; the next one ends it before the trial starts again."""
    journal, directory = tmp_path / "journal", tmp_path / "run"
    command = [sys.executable, "-S", str(HERE / "bare_trial.py"), str(journal), "steps=60", "pause=0.05"]
    plan = manifest([*command, "ignores-sigterm"], steps=60, trial={"gracePeriod": "300ms"})
    runner = runners.start(plan, directory)
    asyncio.run(until_started(journal))
    runner.signal(signal.SIGKILL)
    runner.wait()
    (orphan,) = live_processes(tmp_path)
    runner = runners.start(plan, directory)
    assert runner.wait() == 0
    assert orphan not in live_processes(tmp_path)
    assert not [line for line in read_journal(journal) if line[0] == "double"]
    (trial,) = RunDirectory(directory).view().trials
    assert (trial.reason, trial.attempt) == (EndReason.COMPLETED, 2)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets the kernel do it")
def test_the_kernel_ends_the_trials_of_a_killed_runner(tmp_path: Path, runners: Runners) -> None:
    journal = tmp_path / "journal"
    command = [sys.executable, "-S", str(HERE / "bare_trial.py"), str(journal), "steps=900", "pause=0.05"]
    runner = runners.start(manifest(command, steps=900), tmp_path / "run")
    asyncio.run(until_started(journal))
    runner.signal(signal.SIGKILL)
    runner.wait()
    deadline = time.monotonic() + 30
    while live_processes(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [line[0] for line in read_journal(journal)] == ["start", "Interrupted"], "its checkpoint was written"


def test_a_trial_that_ended_unseen_is_not_run_again(tmp_path: Path, runners: Runners) -> None:
    journal, directory = tmp_path / "journal", tmp_path / "run"
    command = [sys.executable, "-S", str(HERE / "bare_trial.py"), str(journal), "steps=30", "pause=0.03"]
    plan = manifest([*command, "ignores-sigterm"], steps=30)
    runner = runners.start(plan, directory)
    asyncio.run(until_started(journal))
    runner.signal(signal.SIGKILL)
    runner.wait()
    deadline = time.monotonic() + 30
    while live_processes(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    runner = runners.start(plan, directory)
    assert runner.wait() == 0
    (trial,) = RunDirectory(directory).view().trials
    assert (trial.reason, trial.attempt, trial.fraction) == (EndReason.COMPLETED, 1, 1.0)
    assert trial.result == pytest.approx(1 / (1 + 30 * trial.parameters["lr"]))
    assert [line[0] for line in read_journal(journal)] == ["start", "Completed"]


@pytest.mark.parametrize("kept", ["the decision", "the event before it"])
async def test_a_decision_that_was_not_carried_out_is(tmp_path: Path, kept: str) -> None:
    """The process is killed after the decision is on the disk, or just before; either way it is the same decision."""
    journal = tmp_path / "journal"
    job = parse_manifest(job_of_eight(journal, steps=40, pause=0.02))
    job = job.model_copy(
        update={
            "spec": job.spec.model_copy(
                update={"audit": 0.0, "budget": job.spec.budget.model_copy(update={"trials": 3, "parallel": 1})}
            )
        }
    )
    first = await run_here(job, tmp_path)
    (stop,) = first.decisions
    assert (stop.trial, first.trials[2].reason) == (2, EndReason.STOPPED_EARLY)
    log = tmp_path / "run" / "events.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    place = next(index for index, line in enumerate(lines) if '"kind":"Decision"' in line)
    end = place + 1 if kept == "the decision" else place
    log.write_text("".join(lines[:end]) + lines[end][:20])
    started = read_journal(journal)

    second = await run_here(job, tmp_path, resume=True)
    assert second.decisions == first.decisions
    assert second.trials[2].reason is EndReason.STOPPED_EARLY
    assert second.trials[2].message == first.trials[2].message
    assert read_journal(journal) == started, "a trial that is to stop is not started to be stopped"
    assert second.finished == "TrialsCompleted"


async def test_what_may_not_change_is_named(tmp_path: Path) -> None:
    job = bare(tmp_path / "journal", "pause=0")
    await run_here(job, tmp_path)
    for change, path in [
        ({"search": {"algorithm": "Random", "seed": 4}}, "spec.search.seed"),
        ({"objective": {"metric": "accuracy"}}, "spec.objective.metric"),
        ({"audit": 0.5}, "spec.audit"),
        ({"trial": {"retries": 1, "gracePeriod": "3s", "command": ["true"]}}, "spec.trial.command"),
    ]:
        plan = job.model_dump(mode="json", by_alias=True, exclude_unset=True)
        changed = parse_manifest({**plan, "spec": {**plan["spec"], **change}})
        with pytest.raises(LogError, match=rf"^{path}.* has changed since this run began"):
            await run_here(changed, tmp_path, resume=True)
    assert RunDirectory(tmp_path / "run").job() == job


async def test_a_raised_budget_goes_on(tmp_path: Path) -> None:
    first = await run_here(bare(tmp_path / "journal", "pause=0"), tmp_path)
    more = bare(tmp_path / "journal", "pause=0", budget={"trials": 3, "parallel": 2, "failedTrials": 9})
    view = await run_here(more, tmp_path, resume=True)
    assert (view.finished, len(view.trials)) == ("TrialsCompleted", 3)
    assert view.trials[0] == first.trials[0]
    assert RunDirectory(tmp_path / "run").job() == more


async def test_nothing_to_resume_and_nothing_to_overwrite(tmp_path: Path) -> None:
    job = bare(tmp_path / "journal", "pause=0")
    with pytest.raises(BackendError, match="holds no run to go on with"):
        await run_here(job, tmp_path, resume=True)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    with pytest.raises(BackendError, match=r"is not empty \(thesis.tex\) and holds no run"):
        await run_here(job, tmp_path)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["thesis.tex"]


async def test_what_cannot_run_here_is_said_before_anything_is_written(tmp_path: Path) -> None:
    for change, sentence in [
        ({"command": ["no-such-program"]}, "spec.trial.command: 'no-such-program' cannot be run here"),
        ({"nodes": 2}, "spec.trial.nodes is 2"),
        ({"template": {"spec": {"containers": [{"resources": {"limits": {"nvidia.com/gpu": 4}}}]}}}, "asks for 4 GPUs"),
    ]:
        job = parse_manifest(manifest(["true"], trial=change))
        with pytest.raises(BackendError, match=sentence):
            await run_here(job, tmp_path)
    with pytest.raises(BackendError, match=r"spec\.suspend is true"):
        await run_here(parse_manifest(manifest(["true"], suspend=True)), tmp_path)
    assert not (tmp_path / "run").exists()


async def test_a_full_disk_ends_the_run_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is closed to writing in the middle of a run, as by a full disk."""
    import resource

    journal = tmp_path / "journal"
    job = bare(journal, "pause=0.05", steps=100, budget={"trials": 2, "parallel": 2, "failedTrials": 0})
    log = tmp_path / "run" / "events.jsonl"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    earlier = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    async def fill() -> None:
        await until_started(journal, trials=2)
        await asyncio.sleep(0.5)
        resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + 100, limits[1]))

    try:
        filling = asyncio.create_task(fill())
        with pytest.raises(BackendError, match=r"cannot be written: File too large; .* continue with --resume"):
            await run_here(job, tmp_path)
        await filling
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, earlier)
    assert_nothing_runs(tmp_path)
    view = await run_here(job, tmp_path, resume=True)
    assert view.finished == "TrialsCompleted"
    assert {trial.reason for trial in view.trials} == {EndReason.COMPLETED}
