from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.test_cli_main import call
from tests.unit.cli.views import make_view, write_run

from tuning_operator.cli.exits import ExitCode
from tuning_operator.cli.listing import line_of_object, line_of_view, table

NOW = datetime(2026, 1, 1, 1, 5, tzinfo=UTC).timestamp()


def tuning_job(*conditions: tuple[str, str, str], **status: Any) -> dict[str, Any]:
    said = [{"type": kind, "status": truth, "reason": reason} for kind, truth, reason in conditions]
    return {
        "metadata": {"name": "digits", "namespace": "team"},
        "spec": {"budget": {"trials": 8}},
        "status": {"conditions": said, "startTime": "2026-01-01T00:00:00Z", **status},
    }


@pytest.mark.parametrize(
    ("conditions", "state"),
    [
        ([("Complete", "True", "TrialsCompleted"), ("Running", "False", "TrialsCompleted")], "done"),
        ([("Failed", "True", "TooManyFailures")], "failed"),
        ([("Complete", "True", "Cancelled")], "cancelled"),
        ([("Complete", "False", "InProgress"), ("Running", "True", "Evaluating")], "evaluating"),
        ([("Suspended", "True", "Suspended"), ("Running", "False", "Suspended")], "suspended"),
        ([("Accepted", "False", "Invalid"), ("Running", "True", "Searching")], "refused"),
        ([], "not taken up yet"),
    ],
)
def test_the_state_of_a_tuning_job_in_two_words(conditions: list[tuple[str, str, str]], state: str) -> None:
    assert line_of_object(tuning_job(*conditions)).state == state
    leaving = tuning_job(*conditions)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert line_of_object(leaving).state == "being deleted"


def test_a_table_of_tuning_jobs() -> None:
    best = {"name": "digits-0003", "value": "0.05123"}
    trials = {"completed": 2, "stoppedEarly": 3, "failed": 1, "running": 2}
    job = tuning_job(("Running", "True", "Searching"), trials=trials, best=best, gpuHoursUsed="1.5")
    job["spec"]["evaluation"] = {"top": 2, "seeds": [1, 2]}
    lines = table([line_of_object(job), line_of_object(tuning_job())], now=NOW)
    assert lines == [
        "namespace  job     state                best  trial     done  running  GPU-hours         started",
        "team       digits  searching         0.05123      3  6 of 12        2        1.5  1 h 05 min ago",
        "team       digits  not taken up yet        –          0 of 8        0             1 h 05 min ago",
    ]


def test_a_job_that_has_not_begun_has_gaps() -> None:
    job = {"metadata": {"name": "a", "namespace": "b"}, "spec": {}}
    line = line_of_object(job)
    assert (line.best, line.best_trial, line.since, line.planned) == (None, None, None, 20)
    assert line_of_view(make_view()).best_trial is None


def test_runs_of_this_machine_are_listed_newest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("status") == ExitCode.OK
    assert "No runs in runs/ of this machine" in capsys.readouterr().err
    view = write_run(tmp_path / "runs" / "digits", trials=3)
    assert call("status") == ExitCode.OK
    said = capsys.readouterr()
    assert "digits" in said.out
    assert "tuning status -n NAMESPACE" in said.err
    assert call("status", "-o", "json") == ExitCode.OK
    (document,) = json.loads(capsys.readouterr().out)["jobs"]
    assert document["done"] == len(view.trials)
    assert "namespace" not in document
