"""Both images of the Dockerfile as pods of a real node: what is in them, and that they run restricted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.testbed import packages
from tests.testbed.node import Cluster
from tests.testbed.processes import wait_until
from tests.testbed.product import REPOSITORY, builder, digest

pytestmark = pytest.mark.timeout(300)
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
LOOK = """
import importlib.util, json, os, pathlib, sys, sysconfig
packages = pathlib.Path(sysconfig.get_path("purelib"))
compiled = list(packages.rglob("*.pyc"))
told = {
    "uid": os.getuid(),
    "python": sys.executable,
    "found": {name: importlib.util.find_spec(name) is not None for name in sys.argv[1:]},
    "flags": sorted({int.from_bytes(file.read_bytes()[4:8], "little") for file in compiled}),
    "compiled": len(compiled),
    "sources": sum(1 for _ in packages.rglob("*.py")),
    "tests": sum(1 for _ in packages.rglob("tests")),
    "tools": [name for name in ("pip", "uv", "gcc") if any(
        pathlib.Path(folder, name).exists() for folder in os.environ["PATH"].split(":"))],
}
print(json.dumps(told))
"""


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    name = f"test-{uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    account = ("get", "serviceaccount", "default", "-n", name, "--ignore-not-found", "-o", "name")
    wait_until("the namespace has its service account", lambda: bool(cluster.kubectl(*account).strip()), 20)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def run(cluster: Cluster, namespace: str, image: str, **container: Any) -> tuple[int, str]:
    """Run a pod of an image to its end; return its exit code and what it printed."""
    name = f"pod-{uuid4().hex[:8]}"
    main = {"name": "main", "image": image, "imagePullPolicy": "Never", "securityContext": RESTRICTED, **container}
    spec = {"restartPolicy": "Never", "containers": [main]}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec})
    state: dict[str, Any] = {}

    def terminated() -> bool:
        status = cluster.get("pod", name, "-n", namespace)["status"]
        for each in status.get("containerStatuses", []):
            state.update(each["state"].get("terminated", {}))
        return bool(state)

    wait_until(f"a pod of {image} ends", terminated, 100, poll=0.3)
    return int(state["exitCode"]), cluster.kubectl("logs", name, "-n", namespace)


def look(cluster: Cluster, namespace: str, image: str, *names: str) -> dict[str, Any]:
    code, printed = run(cluster, namespace, image, command=["python", "-c", LOOK, *names])
    assert code == 0, printed
    return dict(json.loads(printed))


def check_contents(told: dict[str, Any]) -> None:
    assert told["uid"] == 65532
    assert told["python"] == "/opt/tuning/bin/python"
    # Flags 1: found by the hash of its source, unchecked; so no date of a file is part of the image.
    assert told["flags"] == [1]
    assert told["compiled"] > 0.95 * told["sources"]
    assert told["tests"] == 0
    assert told["tools"] == []


def test_the_operator_image_has_its_command_and_no_torch(
    cluster: Cluster, product_images: dict[str, str], namespace: str
) -> None:
    image = product_images["operator"]
    told = look(cluster, namespace, image, "kopf", "tuning_operator", "trial_protocol", "torch", "tuning_trainer")
    assert told["found"] == {
        "kopf": True,
        "tuning_operator": True,
        "trial_protocol": True,
        "torch": False,
        "tuning_trainer": False,
    }
    check_contents(told)
    code, printed = run(cluster, namespace, image, args=["--help"])
    assert code == 0
    assert printed.startswith("usage: tuning-operator")
    code, printed = run(cluster, namespace, image, command=["tuning", "--version"])
    assert (code, printed) == (0, "tuning 0.1.0\n")


def test_the_trainer_image_trains_and_has_no_kopf(
    cluster: Cluster, product_images: dict[str, str], namespace: str
) -> None:
    image = product_images["trainer"]
    told = look(cluster, namespace, image, "torch", "tuning_trainer", "trial_protocol", "kopf", "tuning_operator")
    assert told["found"] == {
        "torch": True,
        "tuning_trainer": True,
        "trial_protocol": True,
        "kopf": False,
        "tuning_operator": False,
    }
    check_contents(told)
    code, printed = run(cluster, namespace, image, args=["digits", "--steps", "20"])
    assert code == 0, printed
    assert "accuracy" in printed
    code, printed = run(cluster, namespace, image, args=["digits", "--widht", "3"])
    assert code == 64
    assert "--widht" in printed
    show = "import torch; print(torch.version.cuda is not None, torch.distributed.is_nccl_available())"
    assert run(cluster, namespace, image, command=["python", "-c", show]) == (0, "True True\n")


@pytest.mark.thorough
def test_a_build_from_nothing_but_the_base_gives_the_same_image(product_images: dict[str, str], tmp_path: Path) -> None:
    runtime = packages.runtime()
    with builder(runtime) as usual, builder(runtime, tmp_path / "storage") as bare:
        assert digest(bare.build("operator").manifest) == digest(usual.build("operator").manifest)
    shutil.rmtree(tmp_path / "storage")


@pytest.mark.parametrize(("target", "held", "missing"), [("operator", "kopf", "torch"), ("trainer", "torch", "kopf")])
def test_a_bill_of_materials_names_every_package(
    product_images: dict[str, str], tmp_path: Path, target: str, held: str, missing: str
) -> None:
    with builder(packages.runtime()) as ready:
        bill = ready.bill(target, tmp_path)
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == f"tuning-{target}"
    found = {component["name"]: component for component in bill["components"]}
    assert held in found
    assert missing not in found
    pinned = (REPOSITORY / f"requirements/{target}.txt").read_text()
    assert f"{held}=={found[held]['version']} " in pinned
    assert found["libc6"]["purl"].startswith("pkg:deb/debian/libc6@")
    assert "tuning-operator" in found
