"""The control plane: etcd, API server, controller manager and scheduler on loopback, with free ports and fresh data."""

from __future__ import annotations

import json
import random
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.testbed import audit
from tests.testbed.binaries import binaries, binary
from tests.testbed.certificates import Authority
from tests.testbed.errors import TestbedError
from tests.testbed.instance import Instance, clean_up

BINARIES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
START_TIMEOUT = 60.0
LOOPBACK = "127.0.0.1"
_PORTS = range(20000, 32000)
_CLOUD_CONTROLLERS = (
    "node-ipam-controller",
    "node-route-controller",
    "service-lb-controller",
    "cloud-node-lifecycle-controller",
)


@dataclass(frozen=True)
class Shape:
    """What differs between a control plane alone and one that serves a node."""

    address: str = LOOPBACK
    services: str = "10.0.0.0/24"
    first_service: str = "10.0.0.1"
    apiserver_arguments: tuple[str, ...] = ("--endpoint-reconciler-type=none", "--authorization-mode=RBAC")
    serving_hosts: tuple[str, ...] = ()
    is_strict: bool = False
    """Keep an audit log, and ask for the right to block an owner's deletion as hardened clusters do."""


@dataclass
class ControlPlane:
    """A running control plane. `kubeconfig` is the administrator's; `user` makes a limited one."""

    instance: Instance
    authority: Authority
    url: str
    shape: Shape = field(default_factory=Shape)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.instance.kubeconfig

    @property
    def logs(self) -> Path:
        """The folder with one log file per component."""
        return self.instance.logs

    def user(self, name: str, *groups: str) -> Path:
        """A kubeconfig for the user `name`, who may do only what RBAC rules grant."""
        file = "".join(letter if letter.isalnum() else "-" for letter in name)
        return self.authority.kubeconfig(self.instance.folder / f"{file}.kubeconfig", self.url, name, list(groups))

    def kubectl(
        self, *arguments: str, stdin: str | None = None, timeout: float = 60.0, kubeconfig: Path | None = None
    ) -> str:
        """The output of kubectl as the administrator, or as whom `kubeconfig` names."""
        command = [str(binary("kubectl")), f"--kubeconfig={kubeconfig or self.kubeconfig}", *arguments]
        answer = subprocess.run(
            command, input=stdin or "", capture_output=True, text=True, timeout=timeout, check=False
        )
        if answer.returncode:
            raise TestbedError(f"kubectl {' '.join(arguments)}: {answer.stderr.strip() or answer.stdout.strip()}")
        return answer.stdout

    def get(self, *arguments: str) -> Any:
        """What `kubectl get ... -o json` says."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply manifests by server-side apply."""
        manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.kubectl("apply", "--server-side", "--field-manager=testbed", "-f", "-", stdin=manifest)

    def serve(self, crds: str) -> None:
        """Make the API server know the kinds of objects that a file or a folder defines, and wait until it has them."""
        self.kubectl("apply", "--server-side", "-f", crds)
        # A wait for the condition fails on a CRD that has no conditions yet.
        self.kubectl("wait", "--for=jsonpath={.status.conditions}", "-f", crds, "--timeout=20s")
        self.kubectl("wait", "--for=condition=Established", "-f", crds, "--timeout=20s")

    def restart_api_server(self) -> None:
        """Kill the API server, start it again, and wait until it answers."""
        self.instance.restart("kube-apiserver")
        self.instance.wait(
            "kube-apiserver", lambda: answers(f"{self.url}/readyz", self.authority.certificate), START_TIMEOUT
        )

    def take_down(self) -> None:
        """End it."""
        self.instance.take_down()


def start_control_plane(*, persistent: bool = False, size: str = "control-plane") -> ControlPlane:
    """Start a control plane of its own, after cleaning up what crashed ones left."""
    programs = binaries(BINARIES)
    clean_up()
    instance = Instance.create(size, persistent=persistent)
    try:
        return launch(
            instance, programs, Authority(instance.folder / "certificates"), Shape(is_strict=size == "control-plane")
        )
    except BaseException:
        instance.take_down()
        raise


def launch(instance: Instance, programs: dict[str, Path], authority: Authority, shape: Shape) -> ControlPlane:
    """Start the four components in `instance` and wait until pods could be created."""
    etcd_port, peer_port, port, manager_port, scheduler_port = free_ports(5)
    url = f"https://{shape.address}:{port}"
    authority.kubeconfig(instance.kubeconfig, url, "admin", ["system:masters"])
    etcd_url, peer_url = f"http://{LOOPBACK}:{etcd_port}", f"http://{LOOPBACK}:{peer_port}"
    instance.start(
        "etcd",
        [
            programs["etcd"],
            f"--data-dir={instance.folder / 'etcd'}",
            f"--listen-client-urls={etcd_url}",
            f"--advertise-client-urls={etcd_url}",
            f"--listen-peer-urls={peer_url}",
            f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster=default={peer_url}",
            "--unsafe-no-fsync",
            "--quota-backend-bytes=8589934592",
            "--auto-compaction-retention=1",
            "--logger=zap",
        ],
    )
    instance.wait("etcd", lambda: answers(f"{etcd_url}/health"), START_TIMEOUT)
    tokens = authority.signing_key("service-accounts")
    serving = authority.serving("apiserver", ["localhost", shape.address, shape.first_service, *shape.serving_hosts])
    instance.start(
        "kube-apiserver",
        [
            programs["kube-apiserver"],
            f"--etcd-servers={etcd_url}",
            f"--bind-address={shape.address}",
            f"--advertise-address={shape.address}",
            f"--secure-port={port}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={authority.certificate}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={tokens.certificate}",
            f"--service-account-signing-key-file={tokens.key}",
            f"--service-cluster-ip-range={shape.services}",
            "--allow-privileged=true",
            "--profiling=false",
            *shape.apiserver_arguments,
            *(_strictness(instance) if shape.is_strict else ()),
        ],
    )
    instance.wait("kube-apiserver", lambda: answers(f"{url}/readyz", authority.certificate), START_TIMEOUT)
    _start_controllers(instance, programs, authority, url, tokens.key, manager_port, scheduler_port)
    plane = ControlPlane(instance, authority, url, shape)
    instance.record["url"] = url
    instance.save()
    return plane


def _strictness(instance: Instance) -> list[str]:
    owners = "--enable-admission-plugins=OwnerReferencesPermissionEnforcement"
    return [owners, *audit.arguments(instance.folder, instance.logs)]


def _start_controllers(
    instance: Instance,
    programs: dict[str, Path],
    authority: Authority,
    url: str,
    token_key: Path,
    manager_port: int,
    scheduler_port: int,
) -> None:
    def common(name: str, port: int) -> list[str]:
        config = authority.kubeconfig(instance.folder / f"{name}.kubeconfig", url, f"system:{name}", [])
        return [
            f"--kubeconfig={config}",
            "--leader-elect=false",
            f"--bind-address={LOOPBACK}",
            f"--secure-port={port}",
            f"--cert-dir={instance.folder / 'certificates' / name}",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            "--profiling=false",
        ]

    instance.start(
        "kube-controller-manager",
        [
            programs["kube-controller-manager"],
            *common("kube-controller-manager", manager_port),
            f"--root-ca-file={authority.certificate}",
            f"--service-account-private-key-file={token_key}",
            "--use-service-account-credentials",
            "--controllers=*," + ",".join(f"-{name}" for name in _CLOUD_CONTROLLERS),
        ],
    )
    instance.start("kube-scheduler", [programs["kube-scheduler"], *common("kube-scheduler", scheduler_port)])
    instance.wait("kube-scheduler", lambda: answers(f"https://{LOOPBACK}:{scheduler_port}/healthz"), START_TIMEOUT)
    # The API server refuses pods until the namespace has its service account, which the controller manager makes.
    account = f"{url}/api/v1/namespaces/default/serviceaccounts/default"
    admin = authority.client("admin-probe", "admin-probe", ["system:masters"])
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.load_cert_chain(admin.certificate, admin.key)
    instance.wait("kube-controller-manager", lambda: answers(account, context=context), START_TIMEOUT)


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, below those that the kernel gives to outgoing connections.

    All are held open together, so that none is handed out twice.
    """
    ports: list[int] = []
    with ExitStack() as held:
        for port in random.SystemRandom().sample(_PORTS, k=len(_PORTS)):
            probe = held.enter_context(socket.socket())
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            ports.append(port)
            if len(ports) == count:
                return ports
    raise TestbedError("no free port on loopback")


def answers(url: str, authority: Path | None = None, *, context: ssl.SSLContext | None = None) -> bool:
    """Whether a GET of `url` succeeds; without an authority its certificate, self-signed, is not checked."""
    if context is None and url.startswith("https"):
        context = ssl.create_default_context(cafile=str(authority)) if authority else ssl._create_unverified_context()
    try:
        with urllib.request.urlopen(url, timeout=5, context=context) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
