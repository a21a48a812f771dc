import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.testbed.binaries import FAMILIES
from tests.testbed.controlplane import ControlPlane
from tests.testbed.errors import TestbedError
from tests.testbed.instance import Instance, clean_up
from tests.testbed.processes import Process, start_time, wait_until

REPOSITORY = Path(__file__).parents[2]
OWNER = """
import sys, time
from tests.testbed.controlplane import start_control_plane
print(start_control_plane().instance.folder, flush=True)
time.sleep(600)
"""


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    name = f"test-{uuid4().hex[:8]}"
    control_plane.kubectl("create", "namespace", name)
    yield name
    control_plane.kubectl("delete", "namespace", name, "--wait=false")


def job(name: str, namespace: str, **spec: object) -> dict[str, Any]:
    container = {"name": "main", "image": "none", "command": ["true"]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"template": template, **spec},
    }


def test_serves_the_pinned_version(control_plane: ControlPlane) -> None:
    assert f"Server Version: {FAMILIES[0].version}" in control_plane.kubectl("version")


def test_a_limited_user_may_do_only_what_rules_grant(control_plane: ControlPlane, namespace: str) -> None:
    user = control_plane.user("visitor", "visitors")
    with pytest.raises(TestbedError, match='User "visitor" cannot list resource "jobs"'):
        control_plane.kubectl("get", "jobs", "-n", namespace, kubeconfig=user)
    binding = ["--clusterrole=view", "--group=visitors", "-n", namespace]
    control_plane.kubectl("create", "rolebinding", "visitors-view", *binding)

    def allowed() -> bool:
        answer = control_plane.kubectl(
            "auth", "can-i", "list", "jobs", "-n", namespace, "--as=visitor", "--as-group=visitors"
        )
        return answer.strip() == "yes"

    wait_until("the rule is in force", allowed, 10)
    control_plane.kubectl("get", "jobs", "-n", namespace, kubeconfig=user)


def test_controllers_make_and_remove_the_pods_of_a_job(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.apply(job("one", namespace))
    wait_until("a pod is made", lambda: len(control_plane.get("pods", "-n", namespace)["items"]) == 1, 20)
    control_plane.kubectl("patch", "job", "one", "-n", namespace, "-p", '{"spec": {"suspend": true}}')
    wait_until("the pod is gone", lambda: not control_plane.get("pods", "-n", namespace)["items"], 20)
    control_plane.kubectl("wait", "job/one", "-n", namespace, "--for=condition=Suspended", "--timeout=10s")


def test_a_namespace_goes_with_all_that_is_in_it(control_plane: ControlPlane) -> None:
    name = f"test-{uuid4().hex[:8]}"
    control_plane.kubectl("create", "namespace", name)
    control_plane.apply(job("one", name))
    control_plane.kubectl("delete", "namespace", name, "--timeout=60s", timeout=70)


def test_pods_on_simulated_nodes_do_as_they_are_annotated(simulated_cluster: ControlPlane) -> None:
    def trial(name: str, annotations: dict[str, str], **spec: object) -> dict[str, Any]:
        manifest = job(name, "default", **spec)
        manifest["spec"]["template"]["metadata"] = {"annotations": annotations}
        return manifest

    def phases(name: str) -> set[str]:
        pods = simulated_cluster.get("pods", "-l", f"batch.kubernetes.io/job-name={name}")["items"]
        return {pod["status"]["phase"] for pod in pods}

    try:
        says = {"testbed/runs-for": "500ms", "testbed/says": "loss 0.5"}
        simulated_cluster.apply(
            trial("ends", says, completions=20, parallelism=20),
            trial("fails", {"testbed/runs-for": "500ms", "testbed/exit-code": "64"}, backoffLimit=0),
            trial("stays", {}),
        )
        wait = ("--timeout=60s",)
        simulated_cluster.kubectl("wait", "job/ends", "--for=condition=Complete", *wait, timeout=70)
        simulated_cluster.kubectl("wait", "job/fails", "--for=condition=Failed", *wait, timeout=70)
        assert phases("stays") == {"Running"}
        (failed,) = simulated_cluster.get("pods", "-l", "batch.kubernetes.io/job-name=fails")["items"]
        assert failed["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 64
        pod = simulated_cluster.get("pods", "-l", "batch.kubernetes.io/job-name=ends")["items"][0]
        assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"] == "loss 0.5"
    finally:
        simulated_cluster.kubectl("delete", "jobs", "--all")


def test_another_process_under_the_same_id_is_left_alone() -> None:
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            started = start_time(sleeper.pid)
            assert started is not None
            impostor = Process("impostor", sleeper.pid, started - 1)
            assert not impostor.alive()
            impostor.signal(signal.SIGKILL)
            time.sleep(0.2)
            assert sleeper.poll() is None
        finally:
            sleeper.kill()


def crashed_owner(*, guard_dies_too: bool) -> Instance:
    """Start a test bed in a process of its own and kill that process."""
    with subprocess.Popen([sys.executable, "-c", OWNER], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as owner:
        try:
            assert owner.stdout is not None
            folder = Path(owner.stdout.readline().strip())
            instance = Instance.load(folder)
            assert instance is not None
            assert all(process.alive() for process in instance.processes)
            if guard_dies_too:
                guards = Path(f"/proc/{owner.pid}/task/{owner.pid}/children").read_text().split()
                for pid in map(int, guards):
                    if b"tests.testbed.guard" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        os.kill(pid, signal.SIGKILL)
        finally:
            owner.kill()
    return instance


@pytest.mark.usefixtures("control_plane")
def test_the_guard_takes_down_what_a_killed_owner_left() -> None:
    instance = crashed_owner(guard_dies_too=False)
    wait_until("its processes are gone", lambda: not any(process.alive() for process in instance.processes), 20)
    wait_until("only logs are left", lambda: [entry.name for entry in instance.folder.iterdir()] == ["logs"], 20)


@pytest.mark.usefixtures("control_plane")
def test_the_next_start_takes_down_what_a_killed_owner_and_guard_left() -> None:
    instance = crashed_owner(guard_dies_too=True)
    assert all(process.alive() for process in instance.processes)
    clean_up()
    assert not any(process.alive() for process in instance.processes)
    assert [entry.name for entry in instance.folder.iterdir()] == ["logs"]


def test_a_failed_start_says_why(control_plane: ControlPlane) -> None:
    instance = Instance.create("broken", persistent=False)
    try:
        instance.start("complainer", ["sh", "-c", "echo the disk is full; exit 3"])
        with pytest.raises(TestbedError, match=r"complainer ended while it was starting(.|\n)*the disk is full"):
            instance.wait("complainer", lambda: False, 10)
    finally:
        instance.take_down()
