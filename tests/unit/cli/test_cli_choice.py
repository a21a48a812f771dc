from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.unit.cli.test_cli_main import call
from tests.unit.cli.views import write_run

from tuning_operator.cli.choice import Where
from tuning_operator.cli.cluster.jobs import ClusterJobs
from tuning_operator.cli.cluster.place import Place, find_place
from tuning_operator.cli.exits import ExitCode
from tuning_operator.cli.source import LocalRuns
from tuning_operator.errors import BackendError, RunNotFound


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    """Two contexts; nobody answers at the address."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "kind",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [
            {"name": "kind", "context": {"cluster": "c", "user": "u"}},
            {"name": "team", "context": {"cluster": "c", "user": "u", "namespace": "vision"}},
        ],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the run `digits` below runs/."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "runs" / "digits", trials=3)
    return tmp_path


def test_the_place_is_found_as_kubectl_finds_it(kubeconfig: Path, tmp_path: Path) -> None:
    named = str(kubeconfig)
    assert find_place(kubeconfig=named) == Place(kubeconfig=named, context="kind", namespace="default")
    assert find_place(kubeconfig=named, context="team").namespace == "vision"
    assert find_place(kubeconfig=named, context="team", namespace="speech").namespace == "speech"
    assert str(find_place(environment={"KUBECONFIG": named}, namespace="x")) == "namespace x of cluster kind"
    several = f"{tmp_path / 'not-there'}:{named}"
    assert find_place(environment={"KUBECONFIG": several}).context == "kind"
    in_pod = find_place(environment={"KUBECONFIG": "/not/there", "KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    assert in_pod == Place(kubeconfig=None, context=None, namespace="default")


def test_what_is_wrong_with_a_kubeconfig_is_told(kubeconfig: Path, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"no kubeconfig at /not/there; give --kubeconfig FILE"):
        find_place(environment={"KUBECONFIG": "/not/there"})
    with pytest.raises(BackendError, match=r"has no context tea; it has: kind, team"):
        find_place(kubeconfig=str(kubeconfig), context="tea")
    broken = tmp_path / "broken"
    broken.write_text("apiVersion: v1\nkind: Config\n", encoding="utf-8")
    with pytest.raises(BackendError, match=r"broken cannot be used"):
        find_place(kubeconfig=str(broken))


def test_a_run_of_this_machine_wins_unless_an_option_means_a_cluster(
    here: Path, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    assert isinstance(Where().source("digits"), LocalRuns)
    assert isinstance(Where().source("runs/digits"), LocalRuns)
    for options in ({"namespace": "x"}, {"context": "team"}, {"kubeconfig": str(kubeconfig)}):
        assert isinstance(Where(**options).source("digits"), ClusterJobs)
    assert isinstance(Where().source("other"), ClusterJobs)
    assert isinstance(Where(runs=here / "runs").source("other"), LocalRuns)


def test_a_path_is_never_looked_for_on_a_cluster(here: Path, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    with pytest.raises(RunNotFound, match="no run named runs/digit here"):
        Where().source("runs/digit")


def test_without_a_kubeconfig_it_is_told_that_no_cluster_was_asked(here: Path) -> None:
    with pytest.raises(RunNotFound, match=r"There is: digits\.\nNeither is there a kubeconfig"):
        Where().source("else")


def test_options_that_contradict_each_other_are_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("status", "digits", "--runs", "runs", "-n", "team") == ExitCode.USAGE
    assert "--runs means this machine" in capsys.readouterr().err
    assert call("status", "--runs", "runs", "-A") == ExitCode.USAGE
    assert call("status", "digits", "-A") == ExitCode.USAGE


def test_a_cluster_that_does_not_answer_is_an_error_of_the_environment(
    here: Path, kubeconfig: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["status", "digits"], ["watch", "digits"], ["stop", "digits", "-y"], ["status"]):
        assert call(*command, "--kubeconfig", str(kubeconfig)) == ExitCode.ENVIRONMENT
        assert "cluster kind cannot be reached" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "advice"),
    [("suspend", "Ctrl-C in its terminal"), ("resume", "tuning run FILE --resume"), ("stop", "Ctrl-C")],
)
def test_runs_of_this_machine_are_not_changed_from_outside(
    here: Path, capsys: pytest.CaptureFixture[str], command: str, advice: str
) -> None:
    assert call(command, "digits") == ExitCode.USAGE
    said = capsys.readouterr().err
    assert "runs/digits is a run of this machine" in said
    assert advice in said
    assert "-n NAMESPACE" in said


def test_a_run_can_be_watched_from_another_terminal(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("watch", "digits") == ExitCode.OK
    assert "digits finished after" in capsys.readouterr().out
    log = here / "runs" / "digits" / "events.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    log.write_text("".join(lines[: len(lines) // 2]), encoding="utf-8")
    assert call("watch", "digits") == ExitCode.ENVIRONMENT
    assert "no process drives runs/digits; go on with: tuning run FILE" in capsys.readouterr().err
