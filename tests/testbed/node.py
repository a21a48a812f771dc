"""One real node: containerd, kubelet, kube-proxy and CoreDNS, in namespaces of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.testbed import images, namespaces, packages, product
from tests.testbed.binaries import binaries
from tests.testbed.certificates import Authority, Pair
from tests.testbed.controlplane import BINARIES, ControlPlane, Shape, answers, launch
from tests.testbed.errors import TestbedError
from tests.testbed.instance import Instance, clean_up
from tests.testbed.namespaces import Addresses, Namespaces

NODE_BINARIES = ("kubelet", "kube-proxy", "coredns")
NODE_NAME = "testbed-node"
GPU = "nvidia.com/gpu"
DOMAIN = "cluster.local"
START_TIMEOUT = 90.0
IMPORT_TIMEOUT = 600.0
_RESOLVER_RULES = [
    {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
]


@dataclass
class Cluster(ControlPlane):
    """A control plane with one node. Pods' addresses are reachable from this machine."""

    node: Namespaces | None = None

    @property
    def addresses(self) -> Addresses:
        """The addresses of the node's networks."""
        return self._node.addresses

    @property
    def _node(self) -> Namespaces:
        if self.node is None:
            raise TestbedError("the node is not up yet")
        return self.node

    def import_image(self, archive: Path, timeout: float = IMPORT_TIMEOUT) -> list[str]:
        """Load an OCI or Docker archive into the node; returns the names under which pods may use it."""
        return _import(self._node, archive, timeout)

    def give_image(self, image: product.Image) -> str:
        """Let pods use one of the project's own images; returns its name."""
        product.give_image(self._node, _socket(self._node), image)
        return image.name

    def set_gpus(self, count: int) -> None:
        """Advertise GPUs that are not there: scheduling and accounting see them, containers do not."""
        patch = [{"op": "add", "path": "/status/capacity/nvidia.com~1gpu", "value": str(count)}]
        self.kubectl("patch", "node", NODE_NAME, "--subresource=status", "--type=json", "-p", json.dumps(patch))


def missing_reason() -> str | None:
    """Why this machine cannot run a node, or None."""
    return namespaces.missing_reason() or packages.missing_reason()


def start_cluster(*, gpus: int = 8, persistent: bool = False) -> Cluster:
    """Start a control plane and a node, after cleaning up what crashed ones left."""
    programs = binaries((*BINARIES, *NODE_BINARIES))
    runtime = packages.runtime()
    clean_up()
    instance = Instance.create("cluster", persistent=persistent)
    try:
        node = namespaces.make(instance, runtime)
        _start_containerd(node)
        cluster = _launch_control_plane(node, programs)
        _start_kubelet(cluster, node, programs["kubelet"])
        _start_proxy(cluster, node, programs["kube-proxy"])
        _start_resolver(cluster, node, programs["coredns"])
        _await_node(cluster)
        cluster.set_gpus(gpus)
    except BaseException:
        instance.take_down()
        raise
    return cluster


def _launch_control_plane(node: Namespaces, programs: dict[str, Path]) -> Cluster:
    addresses = node.addresses
    authority = Authority(node.instance.folder / "certificates")
    kubelet_client = authority.client("kubelet-client", "kube-apiserver", ["system:masters"])
    shape = Shape(
        address=addresses.host,
        services=addresses.services,
        first_service=addresses.first_service,
        serving_hosts=(
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            f"kubernetes.default.svc.{DOMAIN}",
        ),
        apiserver_arguments=(
            "--endpoint-reconciler-type=lease",
            "--authorization-mode=Node,RBAC",
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-certificate-authority={authority.certificate}",
            f"--kubelet-client-certificate={kubelet_client.certificate}",
            f"--kubelet-client-key={kubelet_client.key}",
        ),
    )
    plane = launch(node.instance, programs, authority, shape)
    return Cluster(plane.instance, plane.authority, plane.url, plane.shape, node)


def _start_containerd(node: Namespaces) -> None:
    folder, runtime = node.instance.folder, node.runtime
    networks = folder / "networks"
    networks.mkdir()
    plugins = runtime.find_network_plugins()
    routed = {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": node.addresses.pods}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": str(folder / "leases"),
                },
            }
        ],
    }
    (networks / "10-pods.conflist").write_text(json.dumps(routed))
    config = folder / "containerd.toml"
    config.write_text(
        f"""version = 2
root = "{folder}/containerd"
state = "/run/containerd-state"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
address = "{_socket(node)}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{images.PAUSE}"
restrict_oom_score_adj = true
disable_hugetlb_controller = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{networks}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"""
    )
    node.start("containerd", [runtime.program("containerd"), f"--config={config}"], runtime.environment)
    control = runtime.program("ctr")

    def serves() -> bool:
        try:
            node.run([control, f"--address={_socket(node)}", "version"])
        except TestbedError:
            return False
        return True

    node.instance.wait("containerd", serves, START_TIMEOUT)
    _import(node, images.busybox_archive(runtime, folder / "busybox.tar"), IMPORT_TIMEOUT)


def _socket(node: Namespaces) -> Path:
    return node.instance.folder / "containerd.sock"


def _import(node: Namespaces, archive: Path, timeout: float) -> list[str]:
    client = [node.runtime.program("ctr"), f"--address={_socket(node)}", "--namespace=k8s.io"]
    printed = node.run([*client, "images", "import", str(archive)], timeout=timeout)
    return [line.split()[1] for line in printed.splitlines() if line.startswith("unpacking ")]


def _write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(json.dumps(content, indent=1))
    return path


def _start_kubelet(cluster: Cluster, node: Namespaces, program: Path) -> None:
    folder, addresses = node.instance.folder, node.addresses
    serving: Pair = cluster.authority.serving("kubelet", [addresses.node, NODE_NAME])
    config = {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "address": addresses.node,
        "healthzBindAddress": addresses.node,
        "readOnlyPort": 0,
        "tlsCertFile": str(serving.certificate),
        "tlsPrivateKeyFile": str(serving.key),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(cluster.authority.certificate)},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{_socket(node)}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": namespaces.cgroup_root(node),
        "cgroupsPerQOS": True,
        "enforceNodeAllocatable": ["pods"],
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "localStorageCapacityIsolation": False,
        "makeIPTablesUtilChains": False,
        "evictionHard": {
            "imagefs.available": "0%",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "memory.available": "50Mi",
        },
        "imageGCHighThresholdPercent": 100,
        "resolvConf": "",
        "clusterDNS": [addresses.node],
        "clusterDomain": DOMAIN,
        "syncFrequency": "1s",
        "volumePluginDir": str(folder / "kubelet/volume-plugins"),
        "podLogsDir": str(node.instance.logs / "pods"),
    }
    name, group = f"system:node:{NODE_NAME}", "system:nodes"
    node.start(
        "kubelet",
        [
            program,
            f"--config={_write(folder / 'kubelet.json', config)}",
            f"--kubeconfig={cluster.authority.kubeconfig(folder / 'kubelet.kubeconfig', cluster.url, name, [group])}",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={addresses.node}",
            f"--root-dir={folder / 'kubelet'}",
            f"--cert-dir={folder / 'kubelet/pki'}",
        ],
        node.runtime.environment,
    )


def _start_proxy(cluster: Cluster, node: Namespaces, program: Path) -> None:
    folder, addresses = node.instance.folder, node.addresses
    kubeconfig = cluster.authority.kubeconfig(folder / "kube-proxy.kubeconfig", cluster.url, "system:kube-proxy", [])
    config = {
        "kind": "KubeProxyConfiguration",
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "hostnameOverride": NODE_NAME,
        "bindAddress": addresses.node,
        "clusterCIDR": addresses.pods,
        "healthzBindAddress": f"{addresses.node}:10256",
        "metricsBindAddress": f"{addresses.node}:10249",
        "conntrack": {"maxPerCore": 0, "min": 0},
    }
    node.start(
        "kube-proxy", [program, f"--config={_write(folder / 'kube-proxy.json', config)}"], node.runtime.environment
    )


def _start_resolver(cluster: Cluster, node: Namespaces, program: Path) -> None:
    folder, addresses = node.instance.folder, node.addresses
    rbac, name = "rbac.authorization.k8s.io", "testbed-resolver"
    cluster.apply(
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": _RESOLVER_RULES},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": rbac, "kind": "User", "name": name}],
        },
    )
    kubeconfig = cluster.authority.kubeconfig(folder / "coredns.kubeconfig", cluster.url, name, [])
    corefile = folder / "Corefile"
    corefile.write_text(
        # Two zones: within one, `template` would answer before `kubernetes` is asked. Nothing outside can be reached.
        f"""{DOMAIN} in-addr.arpa {{
    bind {addresses.node}
    errors
    ready {addresses.node}:8181
    kubernetes {DOMAIN} in-addr.arpa {{
        kubeconfig {kubeconfig}
        ttl 1
    }}
}}
. {{
    bind {addresses.node}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""
    )
    node.start("coredns", [program, f"-conf={corefile}"], node.runtime.environment)


def _await_node(cluster: Cluster) -> None:
    address = cluster.addresses.node

    def healthy(name: str, url: str) -> None:
        cluster.instance.wait(name, lambda: answers(url), START_TIMEOUT)

    healthy("kubelet", f"http://{address}:10248/healthz")
    healthy("kube-proxy", f"http://{address}:10256/healthz")
    healthy("coredns", f"http://{address}:8181/ready")
    cluster.instance.wait("kubelet", _node_is_ready(cluster), START_TIMEOUT)


def _node_is_ready(cluster: Cluster) -> Callable[[], bool]:
    def ready() -> bool:
        for node in cluster.get("nodes")["items"]:
            conditions = {each["type"]: each["status"] for each in node["status"].get("conditions", [])}
            return conditions.get("Ready") == "True" and not node["spec"].get("taints")
        return False

    return ready
