"""Simulated nodes for questions of scale: kwok plays the kubelet for nodes and pods that exist in the API only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.testbed.binaries import binary
from tests.testbed.controlplane import LOOPBACK, START_TIMEOUT, ControlPlane, answers, free_ports
from tests.testbed.node import GPU

ADDRESSES = "10.0.0.0/8"
STAGES = Path(__file__).with_name("stages.yaml")


def start_kwok(
    plane: ControlPlane, nodes: int = 1, gpus: int = 8, stages: Path = STAGES, addresses: str = ADDRESSES
) -> None:
    """Add `nodes` simulated nodes to a control plane, whose pods do what `stages` says.

    Each pod gets an address of its own out of `addresses`; out of 127.0.0.0/8 one process can answer for all of them.
    """
    (port,) = free_ports(1)
    plane.instance.start(
        "kwok",
        [
            binary("kwok"),
            f"--kubeconfig={plane.kubeconfig}",
            f"--config={stages}",
            "--manage-all-nodes=true",
            f"--cidr={addresses}",
            "--node-lease-duration-seconds=40",
            f"--server-address={LOOPBACK}:{port}",
        ],
    )
    plane.instance.wait("kwok", lambda: answers(f"http://{LOOPBACK}:{port}/readyz"), START_TIMEOUT)
    plane.apply(*(_node(f"simulated-{number}", gpus) for number in range(nodes)))
    names = [f"node/simulated-{number}" for number in range(nodes)]
    plane.kubectl(
        "wait", "--for=condition=Ready", f"--timeout={START_TIMEOUT:.0f}s", *names, timeout=START_TIMEOUT + 10
    )


def _node(name: str, gpus: int) -> dict[str, Any]:
    resources = {"cpu": "1024", "memory": "4Ti", "pods": "100000", GPU: str(gpus)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "type": "kwok"}},
        "status": {"allocatable": resources, "capacity": resources},
    }
