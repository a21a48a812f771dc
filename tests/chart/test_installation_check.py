"""What `helm test` says of installations that are complete, and of those that lack something."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from tests.chart.charts import CHART, Helm
from tests.testbed.controlplane import ControlPlane

from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.installation import Finding, examine
from tuning_operator.backends.kubernetes.resources import LEASES

RELEASE = "tuning-operator"


async def look(plane: ControlPlane, namespace: str, key_file: Path, *served: str) -> list[Finding]:
    """Look at an installation as its own service account."""
    user = plane.user(f"system:serviceaccount:{namespace}:{RELEASE}", "system:serviceaccounts")
    async with await Client.connect(kubeconfig=str(user)) as client:
        return [
            finding
            async for finding in examine(
                client, namespaces=served, own_namespace=namespace, lease=RELEASE, key_file=key_file
            )
        ]


async def lead(plane: ControlPlane, namespace: str, holder: str) -> None:
    """Be the operator that leads, or with an empty holder the one that has just given up."""
    body = {"metadata": {"name": RELEASE, "namespace": namespace}, "spec": {"holderIdentity": holder}}
    async with await Client.connect(kubeconfig=str(plane.kubeconfig)) as client:
        await client.apply(LEASES, body)


async def test_an_installation_is_found_complete_or_told_what_it_lacks(
    any_helm: Helm, own_plane: ControlPlane, restricted: str, tmp_path: Path
) -> None:
    helm, plane, at = (
        Helm(any_helm.program, any_helm.home, own_plane.kubeconfig),
        own_plane,
        ("--namespace", restricted),
    )
    plane.kubectl("delete", "-f", "crds/", "--ignore-not-found", "--timeout=30s")
    key_file = tmp_path / "key.pem"
    try:
        helm("install", RELEASE, CHART, *at, "--set", "rbac.create=false,crds.install=false")
        said = await look(plane, restricted, key_file)
        assert not any(finding.ok for finding in said)
        kinds, rights, own_rights, key, leader = (finding.text for finding in said)
        assert kinds.startswith("no CRD of tuningjobs and trials in tuning-operator.io/v1alpha1")
        assert "no right in every namespace to get tuningjobs, list tuningjobs" in rights
        assert f"no right in namespace {restricted} to get leases" in own_rights
        assert "no key to sign control messages with" in key
        assert "nobody has led yet" in leader

        helm("upgrade", RELEASE, CHART, *at, "--reset-values", "--take-ownership")
        plane.kubectl("wait", "--for=condition=Established", "-f", "crds/", "--timeout=20s")
        secret = plane.get("secret", f"{RELEASE}-signing-key", "-n", restricted)
        key_file.write_bytes(base64.b64decode(secret["data"]["key.pem"]))
        await lead(plane, restricted, "pod-1")
        said = await look(plane, restricted, key_file)
        assert [finding.text for finding in said if not finding.ok] == []
        assert said[-1].text == "pod-1 leads"
        await lead(plane, restricted, "")
        assert "nobody leads" in (await look(plane, restricted, key_file))[-1].text

        helm("upgrade", RELEASE, CHART, *at, "--set", "namespaces={default}")
        said = await look(plane, restricted, key_file, "default", "kube-public")
        assert [finding.ok for finding in said[1:3]] == [True, False]
        assert "kube-public" in said[2].text
    finally:
        helm("uninstall", RELEASE, *at)


@pytest.mark.parametrize("arguments", [["--namespace", "a"], []])
def test_without_a_cluster_the_check_says_so_and_fails(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from tuning_operator.backends.kubernetes import installation

    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert installation.main([*arguments, "--kubeconfig", str(tmp_path / "none")]) == 1
    assert "no cluster to connect to" in capsys.readouterr().err
