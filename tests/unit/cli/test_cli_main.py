from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.unit.cli.views import make_view, write_run

from tuning_operator.cli.exits import ExitCode, exit_code
from tuning_operator.cli.main import main
from tuning_operator.cli.source import LocalRuns
from tuning_operator.engine.view import JobView
from tuning_operator.errors import BackendError, ManifestError, Problem, RunNotFound, WrongState

MANIFEST = """\
apiVersion: tuning-operator.io/v1alpha1
kind: TuningJob
metadata: {name: digits}
spec:
  objective: {metric: eval_loss}
  axis: {total: 2000}
  parameters: [{name: lr, type: Float, min: 1.0e-5, max: 1.0e-1, scale: Log}]
  stopping: [{rule: Percentile}]
"""


COMMANDS = ["run", "validate", "convert", "status", "watch", "best", "explain", "report", "suspend", "resume", "stop"]


@pytest.fixture
def view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobView:
    """The picture of the run `digits` below runs/ of the current directory."""
    monkeypatch.chdir(tmp_path)
    return write_run(tmp_path / "runs" / "digits")


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def test_status_as_text_json_and_yaml(view: JobView, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("status", "digits") == ExitCode.OK
    said = capsys.readouterr().out
    assert said.startswith("digits finished after")
    assert said.endswith("Found in:   runs/digits\n")
    assert call("status", "digits", "-o", "json") == ExitCode.OK
    document = json.loads(capsys.readouterr().out)
    assert call("status", "digits", "-o", "yaml") == ExitCode.OK
    assert yaml.safe_load(capsys.readouterr().out) == document
    assert list(document) == [
        "name",
        "finished",
        "suspended",
        "notice",
        "elapsedSeconds",
        "objective",
        "trials",
        "best",
        "evaluated",
        "learningRateChanges",
        "computeSeconds",
        "computeSecondsSaved",
        "gpuHours",
        "gpuHoursSaved",
        "rankCorrelation",
        "wrongStopRate",
    ]
    assert document["trials"]["total"] == len(view.trials) == sum(document["trials"]["reasons"].values())


def test_best_prints_the_parameters_and_nothing_else(view: JobView, capsys: pytest.CaptureFixture[str]) -> None:
    assert view.best is not None
    assert call("best", "digits") == ExitCode.OK
    assert yaml.safe_load(capsys.readouterr().out) == dict(view.best.parameters)
    assert call("best", "digits", "-o", "json") == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == dict(view.best.parameters)


def test_best_of_a_job_without_a_result_prints_nothing_and_fails(
    view: JobView, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(LocalRuns, "load", lambda self, name: make_view())
    assert call("best", "digits") == ExitCode.NO_RESULT
    said = capsys.readouterr()
    assert said.out == ""
    assert "no trial of digits has a finite eval_loss yet" in said.err


def test_explain_as_text_and_json(view: JobView, capsys: pytest.CaptureFixture[str]) -> None:
    decided = next(one.trial for one in view.decisions)
    assert call("explain", "digits", str(decided)) == ExitCode.OK
    assert capsys.readouterr().out.startswith(f"Trial {decided} of digits")
    assert call("explain", "digits", str(decided), "-o", "json") == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["decisions"]
    assert call("explain", "digits", "99") == ExitCode.USAGE


def test_report_writes_the_page_and_the_table(view: JobView, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("report", "digits", "--csv", "table.csv") == ExitCode.OK
    assert Path("runs/digits/report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert len(Path("table.csv").read_text(encoding="utf-8").splitlines()) == len(view.trials) + 1
    assert "report.html" in capsys.readouterr().out


def test_validate_tells_the_plan_or_every_mistake_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(MANIFEST, encoding="utf-8")
    assert call("validate", str(file)) == ExitCode.OK
    assert "Percentile" in capsys.readouterr().out
    file.write_text(MANIFEST.replace("2000", "-1").replace("Log", "Lg"), encoding="utf-8")
    assert call("validate", str(file)) == ExitCode.USAGE
    said = capsys.readouterr()
    assert said.out == ""
    assert "spec.axis.total" in said.err
    assert "did you mean Log?" in said.err
    assert call("validate", str(tmp_path / "other.yaml")) == ExitCode.USAGE
    assert "cannot be read" in capsys.readouterr().err


def test_an_unknown_run_names_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("status", "digits") == ExitCode.USAGE
    assert "runs/ holds no runs yet" in capsys.readouterr().err
    (tmp_path / "runs" / "digits").mkdir(parents=True)
    (tmp_path / "runs" / "digits" / "events.jsonl").touch()
    assert call("status", "digit") == ExitCode.USAGE
    assert "Did you mean digits?" in capsys.readouterr().err
    assert call("status", "else") == ExitCode.USAGE
    assert "There is: digits." in capsys.readouterr().err
    assert LocalRuns().directory("digits") == Path("runs/digits")
    assert LocalRuns().directory(str(tmp_path / "runs" / "digits")) == tmp_path / "runs" / "digits"


def test_mistakes_end_without_a_traceback_unless_asked_for(
    view: JobView, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(self: LocalRuns, name: str) -> JobView:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(LocalRuns, "load", fail)
    assert call("status", "digits") == ExitCode.INTERNAL
    said = capsys.readouterr().err
    assert "ZeroDivisionError: oh. This is a mistake of the program" in said
    assert "Traceback" not in said
    assert call("--debug", "status", "digits") == ExitCode.INTERNAL
    assert "Traceback" in capsys.readouterr().err


def test_exit_codes_follow_the_error() -> None:
    assert exit_code(ManifestError([Problem(path="", expected="x")], source="x")) is ExitCode.USAGE
    assert exit_code(RunNotFound("x")) is ExitCode.USAGE
    assert exit_code(WrongState("x")) is ExitCode.USAGE
    assert exit_code(BackendError("x")) is ExitCode.ENVIRONMENT


def test_a_mistyped_command_is_a_mistake_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("stat") == ExitCode.USAGE
    assert "status" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(command, "--help") == ExitCode.OK
    assert f"Example: tuning {command}" in capsys.readouterr().out


def test_the_version_and_the_exit_codes_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--version") == ExitCode.OK
    assert capsys.readouterr().out.startswith("tuning 0.")
    assert call("--help") == ExitCode.OK
    assert "130 interrupted" in capsys.readouterr().out


def test_help_lists_the_commands_in_the_order_of_their_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--help") == ExitCode.OK
    text = capsys.readouterr().out
    places = [text.index(f"\n  {command} ") for command in COMMANDS]
    assert places == sorted(places)


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys, tuning_operator.cli.main\n"
        "heavy = {'plotly', 'optuna', 'aiohttp', 'numpy', 'scipy', 'pydantic', 'jinja2', 'yaml', 'asyncio', 'rich'}\n"
        "heavy.add('kubernetes')\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_reader_that_closes_the_pipe_is_told_nothing(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(MANIFEST, encoding="utf-8")
    command = f"{sys.executable} -m tuning_operator.cli validate {file} | true"
    answer = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert answer.stderr == ""
