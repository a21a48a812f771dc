"""Installing, upgrading and uninstalling on a real API server: what stays, what changes, and who may do it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from tests.chart.charts import CHART, ROOT, Helm, HelmError
from tests.testbed.controlplane import ControlPlane

CRDS = ("crd/tuningjobs.tuning-operator.io", "crd/trials.tuning-operator.io")
OURS = "app.kubernetes.io/name=tuning-operator"
SECRET = "tuning-operator-signing-key"


@pytest.fixture
def cluster_helm(helm: Helm, own_plane: ControlPlane) -> Helm:
    return Helm(helm.program, helm.home, own_plane.kubeconfig)


@pytest.fixture
def without_crds(own_plane: ControlPlane) -> None:
    """A cluster that has never seen the chart."""
    own_plane.kubectl("delete", *CRDS, "--ignore-not-found", "--timeout=30s")


def earlier_chart(folder: Path) -> Path:
    """The chart as an earlier version of it: with another image, and with CRDs that know less."""
    chart = folder / "earlier"
    shutil.copytree(CHART, chart)
    about = yaml.safe_load((chart / "Chart.yaml").read_text()) | {"version": "0.0.9", "appVersion": "0.0.9"}
    (chart / "Chart.yaml").write_text(yaml.safe_dump(about))
    crd = chart / "templates/crds/tuningjobs.yaml"
    text = crd.read_text()
    assert "    shortNames:\n    - tj\n" in text
    crd.write_text(text.replace("    shortNames:\n    - tj\n", ""))
    return chart


def manifest(name: str) -> dict[str, object]:
    job = yaml.safe_load((ROOT / "examples/digits.yaml").read_text())
    job["metadata"]["name"] = name
    return dict(job)


def stored(plane: ControlPlane, namespace: str) -> dict[str, str]:
    return dict(plane.get("secret", SECRET, "-n", namespace)["data"])


def test_an_upgrade_keeps_jobs_and_keys_and_upgrades_crds_and_an_uninstall_leaves_all_three(
    cluster_helm: Helm, own_plane: ControlPlane, restricted: str, without_crds: None, tmp_path: Path
) -> None:
    helm, plane, at = cluster_helm, own_plane, ("--namespace", restricted)
    helm("install", "tuning-operator", earlier_chart(tmp_path), *at)
    plane.kubectl("wait", "--for=condition=Established", CRDS[0], "--timeout=20s")
    assert "tj" not in plane.get(CRDS[0])["spec"]["names"].get("shortNames", [])
    plane.apply({**manifest("kept"), "metadata": {"name": "kept", "namespace": restricted}})
    before, key = plane.get("tuningjob", "kept", "-n", restricted), stored(plane, restricted)
    assert key["key.pem"]

    notes = helm("upgrade", "tuning-operator", CHART, *at, "--set", "replicas=2")
    assert "helm test tuning-operator" in notes
    assert stored(plane, restricted) == key
    assert plane.get("tuningjob", "kept", "-n", restricted) == before
    assert plane.get(CRDS[0])["spec"]["names"]["shortNames"] == ["tj"]
    deployment = plane.get("deployment", "tuning-operator", "-n", restricted)
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"].endswith(":0.1.0")

    helm("rollback", "tuning-operator", "1", *at)
    assert stored(plane, restricted) == key
    said = helm("uninstall", "tuning-operator", *at)
    for name in ("tuningjobs.tuning-operator.io", "trials.tuning-operator.io", SECRET):
        assert name in said, "helm says what it leaves"
    assert plane.get("tuningjob", "kept", "-n", restricted)["metadata"]["uid"] == before["metadata"]["uid"]
    assert not plane.get("deployments,roles,rolebindings,serviceaccounts", "-n", restricted, "-l", OURS)["items"]
    assert not plane.get("clusterroles,clusterrolebindings", "-l", OURS)["items"]

    helm("install", "tuning-operator", CHART, *at)
    assert stored(plane, restricted) == key, "trials that outlived the operator believe this key"
    helm("uninstall", "tuning-operator", *at)


def may_create_jobs(plane: ControlPlane, user: str, namespace: str) -> bool:
    attributes = {"group": "batch", "resource": "jobs", "verb": "create", "namespace": namespace}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": attributes},
    }
    answer = plane.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review))
    return bool(json.loads(answer)["status"]["allowed"])


def test_a_team_installs_into_its_own_namespaces_with_no_right_elsewhere(
    cluster_helm: Helm, own_plane: ControlPlane, restricted: str, without_crds: None
) -> None:
    plane, mine = own_plane, [restricted, f"red-{uuid4().hex[:6]}", f"blue-{uuid4().hex[:6]}"]
    plane.kubectl("apply", "--server-side", "-f", "crds/")
    user = plane.user(f"lead-{restricted}")
    for namespace in mine:
        plane.kubectl("create", "namespace", namespace) if namespace != restricted else None
        grant = ("create", "rolebinding", "all", "--clusterrole=cluster-admin", f"--user=lead-{restricted}")
        plane.kubectl(*grant, "-n", namespace)
    helm = Helm(cluster_helm.program, cluster_helm.home, user)
    at = ("--namespace", restricted)
    try:
        with pytest.raises(HelmError, match=r"(?s)lead-.*cannot .*cluster scope"):
            helm("install", "tuning-operator", CHART, *at)
        values = {"namespaces": mine[1:], "crds": {"install": False}, "networkPolicy": {"create": True}}
        helm("install", "tuning-operator", CHART, *at, "--values", helm.write(values))
        account = f"system:serviceaccount:{restricted}:tuning-operator"
        assert {each for each in (*mine, "default") if may_create_jobs(plane, account, each)} == set(mine[1:])
        said = helm("uninstall", "tuning-operator", *at)
        assert "CustomResourceDefinition" not in said
    finally:
        for namespace in mine[1:]:
            plane.kubectl("delete", "namespace", namespace, "--wait=false")
        plane.kubectl("delete", *CRDS, "--ignore-not-found", "--wait=false")


def test_a_second_release_does_not_take_over_the_crds_of_the_first(
    cluster_helm: Helm, own_plane: ControlPlane, restricted: str, without_crds: None
) -> None:
    at = ("--namespace", restricted)
    cluster_helm("install", "first", CHART, *at)
    try:
        with pytest.raises(HelmError, match=r"(?s)tuning-operator\.io.*release-name"):
            cluster_helm("install", "second", CHART, *at)
        cluster_helm("install", "third", CHART, *at, "--set", "crds.install=false")
        cluster_helm("uninstall", "third", *at)
    finally:
        cluster_helm("uninstall", "first", *at)
