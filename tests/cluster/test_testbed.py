import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.testbed import images
from tests.testbed.binaries import binary
from tests.testbed.errors import TestbedError
from tests.testbed.instance import Instance
from tests.testbed.node import GPU, Cluster
from tests.testbed.packages import Runtime
from tests.testbed.processes import wait_until

REPOSITORY = Path(__file__).parents[2]
OWNER = """
import sys, time
from tests.testbed.node import start_cluster
print(start_cluster().instance.folder, flush=True)
time.sleep(600)
"""


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    name = f"test-{uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    account = ("get", "serviceaccount", "default", "-n", name, "--ignore-not-found", "-o", "name")
    wait_until("the namespace has its service account", lambda: bool(cluster.kubectl(*account).strip()), 20)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def pod(namespace: str, name: str, script: str, **container: Any) -> dict[str, Any]:
    main = {"name": "main", "image": images.BUSYBOX, "command": ["sh", "-c", script], **container}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [main]},
    }


def status(cluster: Cluster, namespace: str, name: str) -> dict[str, Any]:
    return dict(cluster.get("pod", name, "-n", namespace)["status"])


def ended(cluster: Cluster, namespace: str, name: str) -> dict[str, Any]:
    """The terminated state of a pod's container."""
    found: dict[str, Any] = {}

    def terminated() -> bool:
        for each in status(cluster, namespace, name).get("containerStatuses", []):
            found.update(each["state"].get("terminated", {}))
        return bool(found)

    wait_until(f"pod {name} ends", terminated, 40)
    return found


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())


def test_a_pod_answers_on_its_own_address_and_behind_its_service(cluster: Cluster, namespace: str) -> None:
    cluster.apply(
        pod(namespace, "web", "echo hello > /tmp/index.html; httpd -f -p 8080 -h /tmp"),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": namespace},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    )
    cluster.kubectl("wait", "pod/web", "-n", namespace, "--for=condition=Ready", "--timeout=30s")
    address = status(cluster, namespace, "web")["podIP"]

    def answers(url: str) -> bool:
        try:
            return read(url) == "hello\n"
        except OSError:
            return False

    wait_until("the pod answers this machine", lambda: answers(f"http://{address}:8080/"), 10)
    service = cluster.get("service", "web", "-n", namespace)["spec"]["clusterIP"]
    wait_until("the service answers this machine", lambda: answers(f"http://{service}/"), 10)
    cluster.apply(pod(namespace, "visitor", f"wget -qO /dev/termination-log http://web.{namespace}.svc.cluster.local/"))
    assert ended(cluster, namespace, "visitor")["message"] == "hello\n"
    assert cluster.kubectl("exec", "web", "-n", namespace, "--", "cat", "/tmp/index.html") == "hello\n"


def test_a_termination_message_and_an_exit_code_reach_the_status(cluster: Cluster, namespace: str) -> None:
    cluster.apply(pod(namespace, "last-words", "echo said; echo '{\"loss\": 0.5}' > /dev/termination-log; exit 7"))
    state = ended(cluster, namespace, "last-words")
    assert json.loads(state["message"]) == {"loss": 0.5}
    assert state["exitCode"] == 7
    assert cluster.kubectl("logs", "last-words", "-n", namespace) == "said\n"


def test_a_container_over_its_memory_limit_is_killed(cluster: Cluster, namespace: str) -> None:
    cluster.apply(pod(namespace, "hungry", "tail /dev/zero", resources={"limits": {"memory": "32Mi"}}))
    state = ended(cluster, namespace, "hungry")
    assert (state["reason"], state["exitCode"]) == ("OOMKilled", 137)


def test_suspending_a_job_frees_its_pod_and_resuming_brings_one_back(cluster: Cluster, namespace: str) -> None:
    template = {"spec": pod(namespace, "any", "sleep 600")["spec"]}
    manifest = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "trial", "namespace": namespace}}
    cluster.apply({**manifest, "spec": {"template": template}})

    def running() -> int:
        return sum(each["status"]["phase"] == "Running" for each in cluster.get("pods", "-n", namespace)["items"])

    wait_until("the pod runs", lambda: running() == 1, 30)
    cluster.kubectl("patch", "job", "trial", "-n", namespace, "-p", '{"spec": {"suspend": true}}')
    wait_until("the pod is gone", lambda: not cluster.get("pods", "-n", namespace)["items"], 30)
    cluster.kubectl("patch", "job", "trial", "-n", namespace, "-p", '{"spec": {"suspend": false}}')
    wait_until("a pod runs again", lambda: running() == 1, 30)


def test_gpus_are_counted(cluster: Cluster, namespace: str) -> None:
    cluster.apply(*(pod(namespace, f"wants-{n}", "sleep 600", resources={"limits": {GPU: str(n)}}) for n in (6, 3)))
    wait = ("-n", namespace, "--timeout=30s")
    pods = ("pod/wants-6", "pod/wants-3")
    wait_until("both are judged", lambda: _scheduled(cluster, namespace, pods) == [False, True], 30)
    waiting = next(name for name in pods if not _scheduled(cluster, namespace, (name,))[0])
    cluster.kubectl("delete", next(name for name in pods if name != waiting), *wait)
    cluster.kubectl("wait", waiting, "--for=condition=Ready", *wait)


def _scheduled(cluster: Cluster, namespace: str, names: tuple[str, ...]) -> list[bool]:
    pods = [cluster.get(name, "-n", namespace) for name in names]
    conditions = [condition for each in pods for condition in each["status"].get("conditions", [])]
    return sorted(condition["status"] == "True" for condition in conditions if condition["type"] == "PodScheduled")


def test_a_pod_speaks_to_the_api_server_as_its_service_account(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    name = "testbed.local/kubectl:1"
    archive = images.busybox_archive(runtime_of(cluster), tmp_path / "kubectl.tar", (name,), [binary("kubectl")])
    assert cluster.import_image(archive) == [name]
    script = "kubectl get pods -o name > /dev/termination-log 2>&1"
    cluster.apply(pod(namespace, "stranger", script, image=name))
    assert "cannot list resource" in ended(cluster, namespace, "stranger")["message"]
    account = f"--serviceaccount={namespace}:default"
    cluster.kubectl("create", "rolebinding", "may-view", "--clusterrole=view", account, "-n", namespace)
    cluster.apply(pod(namespace, "friend", script, image=name))
    assert "pod/friend" in ended(cluster, namespace, "friend")["message"]


def runtime_of(cluster: Cluster) -> Runtime:
    assert cluster.node is not None
    return cluster.node.runtime


def test_an_eviction_marks_the_pod_as_disrupted(cluster: Cluster, namespace: str) -> None:
    cluster.apply(pod(namespace, "victim", "trap 'exit 3' TERM; sleep 600 & wait"))
    cluster.kubectl("wait", "pod/victim", "-n", namespace, "--for=condition=Ready", "--timeout=30s")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "victim", "namespace": namespace}}
    path = f"/api/v1/namespaces/{namespace}/pods/victim/eviction"
    client = [str(binary("kubectl")), f"--kubeconfig={cluster.kubeconfig}"]
    watch = [*client, "get", "pod", "victim", "-n", namespace, "--watch", "-o", "json"]
    with subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) as watching:
        try:
            cluster.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
            wait_until("the pod is gone", lambda: not cluster.get("pods", "-n", namespace)["items"], 30)
        finally:
            watching.terminate()
        assert watching.stdout is not None
        assert '"type": "DisruptionTarget"' in watching.stdout.read()


def test_two_pods_of_a_job_find_each_other_by_name(cluster: Cluster, namespace: str) -> None:
    script = """
        if [ $JOB_COMPLETION_INDEX = 0 ]; then nc -l -p 9999 > /dev/termination-log
        else until echo greetings | nc -w 2 team-0.team 9999; do sleep 0.2; done; fi
    """
    spec = {**pod(namespace, "any", script)["spec"], "subdomain": "team"}
    labels = {"app": "team"}
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "team", "namespace": namespace},
            "spec": {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": labels},
        },
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "team", "namespace": namespace},
            "spec": {
                "completions": 2,
                "parallelism": 2,
                "completionMode": "Indexed",
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        },
    )
    cluster.kubectl("wait", "job/team", "-n", namespace, "--for=condition=Complete", "--timeout=40s")
    pods = cluster.get("pods", "-n", namespace, "-l", "app=team")["items"]
    states = [each["status"]["containerStatuses"][0]["state"]["terminated"] for each in pods]
    assert sorted(state.get("message", "") for state in states) == ["", "greetings\n"]


def test_a_restricted_pod_runs_where_only_such_are_admitted(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    script = "exec > /dev/termination-log 2>&1; id -u; touch /x; grep ^Seccomp: /proc/self/status"
    with pytest.raises(TestbedError, match="violates PodSecurity"):
        cluster.apply(pod(namespace, "free", script))
    context = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    cluster.apply(pod(namespace, "restricted", script, securityContext=context))
    said = ended(cluster, namespace, "restricted")["message"].splitlines()
    assert said == ["65532", "touch: /x: Read-only file system", "Seccomp:\t2"]


def test_an_image_archive_can_be_imported(cluster: Cluster, tmp_path: Path) -> None:
    archive = images.busybox_archive(runtime_of(cluster), tmp_path / "again.tar")
    assert images.BUSYBOX in cluster.import_image(archive)
    with pytest.raises(TestbedError, match="no-such-archive"):
        cluster.import_image(tmp_path / "no-such-archive.tar")


def test_nothing_is_left_of_a_second_node_whose_owner_was_killed(cluster: Cluster) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as owner:
        try:
            assert owner.stdout is not None
            instance = Instance.load(Path(owner.stdout.readline().strip()))
            assert instance is not None
            groups = [Path(group) for group in instance.record["cgroups"]]
            assert groups
            assert all(group.is_dir() for group in groups)
        finally:
            owner.kill()
    wait_until("its processes are gone", lambda: not any(process.alive() for process in instance.processes), 20)
    wait_until("only logs are left", lambda: [entry.name for entry in instance.folder.iterdir()] == ["logs"], 20)
    assert not any(group.exists() for group in groups)
    assert not Path("/sys/class/net", groups[0].name).exists()
    assert status_of_nodes(cluster) == ["True"]


def status_of_nodes(cluster: Cluster) -> list[str]:
    return [
        condition["status"]
        for node in cluster.get("nodes")["items"]
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready"
    ]
