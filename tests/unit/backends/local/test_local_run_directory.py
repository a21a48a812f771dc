"""The files of a run: what is written comes back, and what is broken is said or passed over."""

from __future__ import annotations

import stat
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from tests.strategies import tuning_jobs

from trial_protocol.control import ControlMessage, sign_control, verify_control
from trial_protocol.history import HistoryRecord
from trial_protocol.result import Outcome, TrialResult
from tuning_operator.api.tuning_job import TuningJob
from tuning_operator.backends.local.process_record import ProcessRecord
from tuning_operator.backends.local.resume import check_unchanged
from tuning_operator.backends.local.run_directory import RunDirectory, TrialDirectory
from tuning_operator.errors import BackendError, LogError


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(tuning_jobs())
def test_any_job_comes_back_as_it_was(job: TuningJob) -> None:
    with TemporaryDirectory() as folder:
        files = RunDirectory(Path(folder))
        files.write_job(job)
        check_unchanged(files.job(), job)
        assert files.job().spec == job.spec


def test_the_key_is_drawn_once_and_nobody_else_reads_it(tmp_path: Path) -> None:
    files = RunDirectory(tmp_path)
    pair = files.key_pair()
    assert files.key_pair() == pair
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    token = sign_control(ControlMessage(trial="t", revision=1), private_key=pair.private_pem, now=0.0, lifetime=9.0)
    assert verify_control(token, public_key=pair.public_pem, trial="t", current_revision=0, now=1.0).revision == 1
    files.key.write_text("nonsense")
    with pytest.raises(BackendError, match=r"key\.pem is no private key .*; remove it"):
        files.key_pair()


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"holds no run: job\.yaml cannot be read"):
        RunDirectory(tmp_path).job()
    assert RunDirectory(tmp_path).records() == []
    assert RunDirectory(tmp_path).history(3) == []


def test_what_a_kill_left_before_there_was_a_run_is_no_obstacle(tmp_path: Path) -> None:
    for name in ("lock", "key.pem", "job.yaml.part"):
        (tmp_path / name).write_text("")
    RunDirectory(tmp_path).create()
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(BackendError, match="choose another --directory"):
        RunDirectory(file).create()


def test_a_torn_history_loses_its_torn_line_only(tmp_path: Path) -> None:
    trial = TrialDirectory(tmp_path)
    records = [HistoryRecord(step=step, attempt=1, time=0.0, values={"loss": 1.0}) for step in (1, 2, 3)]
    trial.append_history(records[:2])
    trial.history.write_bytes(trial.history.read_bytes()[:-9])
    assert trial.read_history() == records[:1]
    trial.append_history(records[2:])
    assert trial.read_history() == [records[0], records[2]]


def test_a_result_counts_for_its_attempt_only(tmp_path: Path) -> None:
    trial = TrialDirectory(tmp_path)
    assert trial.read_result(attempt=1) is None
    trial.result.write_text(TrialResult(outcome=Outcome.COMPLETED, attempt=1).to_json())
    assert trial.read_result(attempt=1) is not None
    assert trial.read_result(attempt=2) is None
    trial.result.write_bytes(b"\xff\x00 whatever")
    assert trial.read_result(attempt=1) is None
    trial.clear_for_attempt()
    assert not trial.result.exists()


def test_the_account_of_a_trial(tmp_path: Path) -> None:
    path = tmp_path / "process.json"
    assert ProcessRecord.read(path) == ProcessRecord()
    record = ProcessRecord(attempt=2, pid=7, started=1.5, failures=1, compute_seconds=9.0, gpus=("a",))
    record.write(path)
    assert ProcessRecord.read(path) == record
    path.write_text('{"attempt": "many"}')
    assert ProcessRecord.read(path) == ProcessRecord()
