"""The `tuning` command against a real API server, with an operator at work on played trials."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.controlplane.studies import World, manifest
from tests.testbed.controlplane import ControlPlane

from tuning_operator.api.metadata import API_VERSION
from tuning_operator.backends.kubernetes.resources import TUNING_JOBS
from tuning_operator.backends.local.run_directory import RunDirectory
from tuning_operator.cli.cluster import jobs
from tuning_operator.cli.cluster.place import find_place
from tuning_operator.cli.main import main
from tuning_operator.engine.codec import to_line
from tuning_operator.engine.decisions import Decision
from tuning_operator.engine.engine import Engine
from tuning_operator.engine.events import Event

PAGE = Path(__file__).parents[2] / "docs" / "command.md"
CHANGE = yaml.safe_load(PAGE.read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0])
"""The rights that the page gives: to read, and to change."""
VIEW = CHANGE[:1]


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


Call = Callable[..., Awaitable[Said]]


@pytest.fixture
def tuning(
    crds: ControlPlane,
    namespace: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Call:
    """The command as a person who may read and change jobs in the namespace, in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    own = user(crds, namespace, "person", CHANGE)

    async def call(*arguments: str, kubeconfig: Path | None = own, local: bool = False) -> Said:
        options = () if local else ("-n", namespace, "--kubeconfig", str(kubeconfig))

        def run() -> int:
            with pytest.raises(SystemExit) as ended:
                main([*arguments, *options])
            return int(ended.value.code or 0)

        code = await asyncio.to_thread(run)
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return call


def user(plane: ControlPlane, namespace: str, name: str, rules: list[Any]) -> Path:
    metadata = {"name": name, "namespace": namespace}
    kind = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": metadata}
    subject = {"kind": "User", "name": f"{name}-{namespace}", "apiGroup": "rbac.authorization.k8s.io"}
    reference = {"kind": "Role", "name": name, "apiGroup": "rbac.authorization.k8s.io"}
    plane.apply(
        {**kind, "kind": "Role", "rules": rules},
        {**kind, "kind": "RoleBinding", "roleRef": reference, "subjects": [subject]},
    )
    return plane.user(f"{name}-{namespace}")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """Everything that engines are told and answer, in the order of its numbers: the log as a local run keeps it."""
    records: list[Event] = []
    apply = Engine.apply

    def listen(self: Engine, event: Event) -> list[Decision]:
        decisions = apply(self, event)
        records.extend([event, *decisions])
        return decisions

    monkeypatch.setattr(Engine, "apply", listen)
    return records


async def finished(here: World, **spec: Any) -> None:
    here.players.pace = 10
    await here.client.apply(TUNING_JOBS, manifest(here.namespace, **spec))
    async with here.operator():
        await here.until("the job is complete", here.is_complete, 90)


def keep_locally(here: World, records: list[Event], directory: Path) -> None:
    """Keep what happened as a run of this machine does."""
    job = here.jobs.get(here.namespace, "digits") or {}
    whole = {"apiVersion": API_VERSION, "kind": "TuningJob", "metadata": {"name": "digits"}, "spec": job["spec"]}
    directory.mkdir(parents=True)
    (directory / "job.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    (directory / "events.jsonl").write_text("".join(to_line(one) + "\n" for one in records), encoding="utf-8")


def text_of(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


async def test_a_job_reads_the_same_from_its_objects_as_from_the_log_of_a_run(
    here: World, crds: ControlPlane, tuning: Call, told: list[Event]
) -> None:
    space = [
        {"name": "lr", "type": "Float", "min": 1e-4, "max": 1.0, "scale": "Log"},
        {"name": "depth", "type": "Int", "min": 1, "max": 9},
        {"name": "choice", "type": "Categorical", "choices": [1.0, 2, True, "no"]},
    ]
    stopping = [{"rule": "Percentile", "percentile": 50, "minimumTrials": 2}, {"rule": "Divergence"}]
    await finished(
        here,
        parameters=space,
        budget={"trials": 8, "parallel": 3},
        evaluation={"top": 2, "seeds": [11, 12]},
        audit=0.3,
        stopping=[*stopping, {"rule": "Percentile", "percentile": 90, "minimumTrials": 2, "mode": "Observe"}],
    )
    keep_locally(here, told, Path("runs/digits"))

    place = find_place(namespace=here.namespace, kubeconfig=str(crds.kubeconfig))
    seen = await asyncio.to_thread(jobs.ClusterJobs(place).load, "digits")
    assert repr(replace(seen, decisions=())) == repr(replace(RunDirectory(Path("runs/digits")).view(), decisions=()))

    decided = sorted({one.trial for one in seen.decisions if one.trial is not None and not one.enforced})
    commands = [["status", "-o", "json"], ["best"], ["explain", str(decided[0])], ["explain", "4", "-o", "yaml"]]
    for name, *rest in commands:
        remote, local = await tuning(name, "digits", *rest), await tuning(name, "digits", *rest, local=True)
        assert remote == local
        assert remote.code == 0
        assert remote.out
    document = json.loads((await tuning("status", "digits", "-o", "json")).out)
    assert document["trials"]["total"] == 12
    assert document["learningRateChanges"] > 0
    assert len(document["evaluated"]) == 2

    text = (await tuning("status", "digits")).out
    local = (await tuning("status", "digits", local=True)).out
    assert text.replace(text.splitlines()[-1], "") == local.replace(local.splitlines()[-1], "")
    assert text.splitlines()[-1] == f"Found in:   namespace {here.namespace} of cluster testbed"

    report = await tuning("report", "digits", "--csv", "remote.csv")
    assert report.out.startswith("Report: digits-report.html")
    assert (await tuning("report", "digits", "--csv", "local.csv", local=True)).code == 0
    assert text_of("remote.csv") == text_of("local.csv")
    assert text_of("digits-report.html") == text_of("runs/digits/report.html")


async def test_a_job_is_suspended_resumed_and_stopped(here: World, tuning: Call) -> None:
    here.players.pace = 1
    await here.client.apply(TUNING_JOBS, manifest(here.namespace, budget={"trials": 8, "parallel": 2}, stopping=[]))
    async with here.operator():
        await here.until("two trials run", lambda: all(here.marks(f"digits-000{number}") for number in (0, 1)))
        assert "is not suspended" in (await tuning("resume", "digits")).out

        said = await tuning("suspend", "digits")
        assert said.code == 0
        assert f"tuning resume digits -n {here.namespace}" in said.out
        assert "start again from the beginning" in said.err
        await here.until("it is suspended", lambda: here.condition("Suspended").get("status") == "True")
        await here.until("its pods go", lambda: here.trial(0)["status"]["pod"] == here.trial(1)["status"]["pod"] == "")
        assert "suspended already" in (await tuning("suspend", "digits")).out
        assert "digits is suspended; " in (await tuning("status", "digits")).out
        assert [line.split()[2] for line in (await tuning("status")).out.splitlines()[1:]] == ["suspended"]

        assert "digits goes on" in (await tuning("resume", "digits")).out
        await here.until("it goes on", lambda: here.trial(0)["status"]["pod"] == "running")
        here.players.pace = 20
        await here.until("a result", lambda: here.status().get("best"))
        here.players.pace = 1
        await here.until("another one runs", lambda: here.status()["trials"]["running"] == 2)

        said = await tuning("stop", "digits", "--yes")
        assert said.code == 0
        assert "digits is being stopped: 2 running trials free their pods and end as Cancelled." in said.out
        assert re.search(r"The best is kept: trial \d with 1\.\d+\.", said.out)
        await here.until("it is over", here.is_complete)

    assert here.condition("Complete")["reason"] == "Cancelled"
    ends = {name: body["status"]["end"] for (_, name), body in here.trials.objects.items()}
    assert {end["reason"] for end in ends.values()} == {"Completed", "Cancelled"}
    assert here.status()["best"]["checkpoint"]
    assert "it was cancelled" in (await tuning("status", "digits")).out
    assert "stopped already" in (await tuning("stop", "digits", "-y")).out
    for command in ("suspend", "resume"):
        said = await tuning(command, "digits")
        assert (said.code, f"there is nothing to {command}" in said.err) == (2, True)


async def test_who_may_only_look_is_told_who_can_allow_more(
    here: World, crds: ControlPlane, tuning: Call, namespace: str
) -> None:
    viewer = user(crds, namespace, "viewer", VIEW)
    await finished(here, budget={"trials": 1})
    assert (await tuning("status", "digits", kubeconfig=viewer)).code == 0
    await here.client.apply(TUNING_JOBS, {**manifest(namespace), "metadata": {"name": "other", "namespace": namespace}})
    for command in (["suspend", "other"], ["stop", "other", "-y"]):
        said = await tuning(*command, kubeconfig=viewer)
        assert said.code == 3
        assert (
            f"viewer-{namespace} may not patch tuningjobs in namespace {namespace} of cluster testbed; who administers "
            f"it can allow it: kubectl create rolebinding tuning-edit --clusterrole=edit --user=viewer-{namespace}"
        ) in said.err
    assert not here.jobs.get(namespace, "other")["spec"]["suspend"]
    said = await tuning("status", "-A", kubeconfig=viewer)
    assert (said.code, "may not list tuningjobs in all namespaces of cluster testbed" in said.err) == (3, True)
    said = await tuning("status", "digits", kubeconfig=user(crds, namespace, "nobody", []))
    assert (said.code, "may not get tuningjobs" in said.err, "--clusterrole=view" in said.err) == (3, True, True)


async def test_what_is_not_there_is_told_with_what_is(
    here: World, crds: ControlPlane, tuning: Call, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = await tuning("status", "digits")
    assert (said.code, "which has none at all" in said.err) == (2, True)
    assert f"No TuningJobs in namespace {namespace}" in (await tuning("status")).err
    await here.client.apply(TUNING_JOBS, manifest(namespace))
    assert "did you mean digits?" in (await tuning("status", "digit")).err
    assert "there is: digits" in (await tuning("best", "unlike")).err
    assert "digits has no trial 3; it has no trials yet" in (await tuning("explain", "digits", "3")).err

    elsewhere = ("--kubeconfig", str(crds.kubeconfig), "-n", "default")
    said = await tuning("status", "digits", *elsewhere, local=True)
    assert re.search(rf"there is one in namespace .*{namespace}.*: give it with -n", said.err)
    everywhere = await tuning("status", "-A", "-o", "json", "--kubeconfig", str(crds.kubeconfig), local=True)
    assert (namespace, "digits") in [(job["namespace"], job["name"]) for job in json.loads(everywhere.out)["jobs"]]

    monkeypatch.setattr(jobs, "TUNING_JOBS", replace(TUNING_JOBS, group="nothing.example"))
    for arguments in (["status", "digits"], ["status"]):
        said = await tuning(*arguments)
        assert (said.code, "the operator is not installed there" in said.err) == (3, True)


async def test_a_job_that_does_not_go_on_says_why(here: World, tuning: Call) -> None:
    body = manifest(here.namespace, search={"algorithm": "Random", "initial": [{"lr": 5.0}]})
    await here.client.apply(TUNING_JOBS, body)
    text = (await tuning("status", "digits")).out
    assert "Notice:     no operator has taken it up yet; is one running, and does it serve this namespace?" in text
    async with here.operator():
        await here.until("it is refused", lambda: here.condition("Accepted").get("status") == "False")
    said = await tuning("status", "digits")
    assert "Notice:     the operator refused it: " in said.out
    assert "spec.search.initial" in said.out
    assert [line.split()[2] for line in (await tuning("status")).out.splitlines()[1:]] == ["refused"]
