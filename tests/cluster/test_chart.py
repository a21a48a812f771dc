"""The chart on a real node: one helm command, the operator's own pod, and jobs of real trainer pods."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from tests.chart.charts import CHART, HELMS, ROOT, Helm
from tests.testbed.node import Cluster
from tests.testbed.processes import wait_until

from tuning_operator.api.parse import parse_manifest
from tuning_operator.backends.kubernetes.job_log import JobLog
from tuning_operator.backends.kubernetes.trial_log import TrialLog
from tuning_operator.engine.decisions import Decision
from tuning_operator.engine.events import Event
from tuning_operator.engine.replay import replay

RELEASE = "tuning-operator"
SERVED = "tuning-operator.io/v1alpha1"
LEASE_SECONDS = 15
CHECKS = 5
"""Lines of `helm test`."""


@pytest.fixture(scope="session")
def node(cluster: Cluster, product_images: dict[str, str], chart_programs: None) -> Cluster:
    """The node, which has both images."""
    assert set(product_images) == {"operator", "trainer"}
    return cluster


@pytest.fixture
def namespace(node: Cluster) -> Iterator[str]:
    """A namespace in which only restricted pods may be."""
    name = f"chart-{uuid4().hex[:8]}"
    node.kubectl("create", "namespace", name)
    node.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    account = ("get", "serviceaccount", "default", "-n", name, "--ignore-not-found", "-o", "name")
    wait_until("the namespace has its service account", lambda: bool(node.kubectl(*account).strip()), 20)
    yield name
    node.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def helm(request: pytest.FixtureRequest, node: Cluster, tmp_path: Path) -> Helm:
    return Helm(request.param, tmp_path, node.kubeconfig)


@pytest.fixture
def release(helm: Helm, namespace: str) -> Iterator[Release]:
    installed = Release(helm, namespace)
    try:
        yield installed
    finally:
        installed.uninstall()


class Release:
    """The chart, installed into a namespace."""

    def __init__(self, helm: Helm, namespace: str) -> None:
        self._helm = helm
        self._at = ("--namespace", namespace)
        self._there = False

    def install(self, **values: Any) -> str:
        """Install it and wait until its pods are ready."""
        file = self._helm.write({"image": {"tag": "dev", "pullPolicy": "Never"}, **values})
        # CRDs may be there from the release of another test, or applied without any.
        options = ("--wait", "--timeout", "2m", "--take-ownership", "--values", file)
        self._there = True
        return self._helm("install", RELEASE, CHART, *self._at, *options, timeout=150)

    def test(self) -> str:
        return self._helm("test", RELEASE, *self._at, "--logs", "--timeout", "1m", timeout=90)

    def uninstall(self) -> None:
        if self._there:
            self._helm("uninstall", RELEASE, *self._at, "--wait", timeout=90)
            self._there = False


def digits(namespace: str, *, trials: int, steps: int) -> dict[str, Any]:
    """The example, made smaller."""
    job: dict[str, Any] = yaml.safe_load((ROOT / "examples/digits.yaml").read_text())
    job["metadata"]["namespace"] = namespace
    job["spec"]["budget"] |= {"trials": trials}
    job["spec"]["axis"]["total"] = steps
    return job


def status(node: Cluster, namespace: str) -> dict[str, Any]:
    found: dict[str, Any] = node.get("tuningjob", "digits", "-n", namespace).get("status") or {}
    return found


def is_complete(node: Cluster, namespace: str) -> bool:
    conditions = {each["type"]: each for each in status(node, namespace).get("conditions", ())}
    assert conditions.get("Failed", {}).get("status") != "True", conditions
    assert conditions.get("Accepted", {}).get("status") != "False", conditions
    return bool(conditions.get("Complete", {}).get("status") == "True")


def records(node: Cluster, namespace: str) -> list[Event]:
    """What the objects of the job have recorded."""
    job = node.get("tuningjob", "digits", "-n", namespace)
    spec = parse_manifest({**job, "metadata": {"name": "digits"}, "status": None}, source="digits").spec
    found: list[Event] = list(JobLog.read(job, spec).records())
    for trial in node.get("trials", "-n", namespace)["items"]:
        found += TrialLog.read(trial, spec).records()
    return found


def check_replay(node: Cluster, namespace: str) -> None:
    """Judge everything anew: an engine that never saw an operator die decides the same."""
    job = node.get("tuningjob", "digits", "-n", namespace)
    spec = parse_manifest({**job, "metadata": {"name": "digits"}, "status": None}, source="digits").spec
    difference = replay(name="digits", spec=spec, records=records(node, namespace))
    assert difference is None, f"{difference}\n{difference.recorded}\n{difference.judged}"


def operators(node: Cluster, namespace: str) -> list[dict[str, Any]]:
    labels = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=operator"
    return list(node.get("pods", "-n", namespace, "-l", labels)["items"])


def leader(node: Cluster, namespace: str) -> str:
    return str(node.get("lease", RELEASE, "-n", namespace)["spec"].get("holderIdentity", ""))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("helm", HELMS[:1], indirect=True)
def test_one_command_installs_it_and_a_job_completes(node: Cluster, namespace: str, release: Release) -> None:
    notes = release.install()
    assert "kubectl apply" in notes
    (pod,) = operators(node, namespace)
    assert pod["status"]["containerStatuses"][0]["ready"]
    look = "import os; print(os.getuid(), os.access('/', os.W_OK), os.access('/opt/tuning', os.W_OK))"
    exec_ = ("exec", pod["metadata"]["name"], "-n", namespace, "--", "python", "-c", look)
    assert node.kubectl(*exec_).split() == ["65532", "False", "False"]
    said = release.test()
    assert said.count("ok      ") == CHECKS, said
    assert f"{pod['metadata']['name']} leads" in said

    node.apply(digits(namespace, trials=3, steps=60))
    wait_until("the job completes", lambda: is_complete(node, namespace), 400, poll=1)
    trials = node.get("trials", "-n", namespace)["items"]
    assert sorted(trial["spec"]["number"] for trial in trials) == [0, 1, 2]
    images = {
        container["image"]
        for pod in node.get("pods", "-n", namespace, "-l", "app.kubernetes.io/name=tuning-trial")["items"]
        for container in pod["spec"]["containers"]
    }
    assert images == {"tuning-trainer:dev"}
    assert float(status(node, namespace)["best"]["value"]) > 0.1
    check_replay(node, namespace)
    assert pod["metadata"]["uid"] == operators(node, namespace)[0]["metadata"]["uid"]
    assert operators(node, namespace)[0]["status"]["containerStatuses"][0]["restartCount"] == 0


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("helm", "grace"),
    [
        pytest.param(HELMS[1], None, id="deleted"),
        pytest.param(HELMS[0], 0, id="killed", marks=pytest.mark.thorough),
    ],
    indirect=["helm"],
)
def test_the_other_replica_takes_over_and_no_trial_is_lost(
    node: Cluster, namespace: str, release: Release, grace: int | None
) -> None:
    release.install(replicas=2, namespaces=[namespace], podDisruptionBudget={"create": True})
    node.apply(digits(namespace, trials=4, steps=200))

    def is_in_the_middle() -> bool:
        trials = node.get("trials", "-n", namespace)["items"]
        return sum(float((trial.get("status") or {}).get("fraction") or 0) for trial in trials) > 1.2

    wait_until("more than one trial's worth is trained", is_in_the_middle, 300, poll=0.5)
    first, decided = leader(node, namespace), [each for each in records(node, namespace) if isinstance(each, Decision)]
    before = {each["metadata"]["name"]: each["metadata"]["uid"] for each in node.get("jobs", "-n", namespace)["items"]}
    began = time.monotonic()
    force = () if grace is None else (f"--grace-period={grace}", "--force")
    node.kubectl("delete", "pod", first, "-n", namespace, "--wait=false", *force)
    wait_until("the other leads", lambda: leader(node, namespace) not in ("", first), LEASE_SECONDS + 15, poll=0.2)
    assert time.monotonic() - began < (LEASE_SECONDS + 5 if grace == 0 else 10)

    wait_until("the job completes", lambda: is_complete(node, namespace), 400, poll=1)
    trials = node.get("trials", "-n", namespace)["items"]
    assert sorted(trial["spec"]["number"] for trial in trials) == [0, 1, 2, 3]
    assert {trial["status"]["attempt"] for trial in trials} == {1}, "no pod was started twice"
    after = {each["metadata"]["name"]: each["metadata"]["uid"] for each in node.get("jobs", "-n", namespace)["items"]}
    assert all(after.get(name, uid) == uid for name, uid in before.items())
    kept = [each for each in records(node, namespace) if isinstance(each, Decision)]
    assert all(decision in kept for decision in decided)
    check_replay(node, namespace)
    said = release.test()
    assert said.count("ok      ") == CHECKS, said
