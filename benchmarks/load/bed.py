"""What the load runs on: a control plane with an audit log of the operator, simulated nodes, and the processes."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.load.audit import AuditLog, counted_entries, read_audit
from benchmarks.load.players import ADDRESSES
from tests.testbed import audit
from tests.testbed.binaries import binaries
from tests.testbed.certificates import Authority
from tests.testbed.controlplane import BINARIES, LOOPBACK, ControlPlane, Shape, answers, free_ports, launch
from tests.testbed.instance import Instance, clean_up
from tests.testbed.kwok import start_kwok
from tests.testbed.processes import Process, end

from tuning_operator.backends.kubernetes import labels
from tuning_operator.backends.kubernetes.access import OWN_RIGHTS, RIGHTS, role

OPERATOR: Final = "operator"
"""The user that the operator is; its requests, and no others, are in the audit log."""
HOME: Final = "load-operator"
_POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "users": [OPERATOR]}, {"level": "None"}],
}


@dataclass(frozen=True)
class Bed:
    """Everything that runs.

    Attributes:
        probes: Where the operator's probes and metrics are.
        played: What the stand-in trials write when they end.
    """

    plane: ControlPlane
    operator: Process
    players: Process
    probes: str
    played: Path

    def audit(self) -> AuditLog:
        """Return what the operator has asked of the API server."""
        counted = counted_entries(self.plane.kubectl("get", "--raw", "/metrics"))
        return read_audit(self.plane.instance.folder / audit.LOG, counted=counted)

    def summary(self, namespace: str) -> dict[str, Any]:
        """Return what the stand-in trials have seen: start times of pods, and how many are there."""
        with urllib.request.urlopen(f"http://{LOOPBACK}:{labels.PORT}/summary", timeout=30) as answer:
            return dict(json.load(answer).get(namespace, {"started": [], "alive": 0}))

    def metrics(self) -> str:
        """Return the operator's own metrics; empty if it has none."""
        try:
            with urllib.request.urlopen(f"{self.probes}/metrics", timeout=30) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    def end_players(self) -> dict[str, list[dict[str, Any]]]:
        """End the stand-in trials, and return what happened to each, by namespace."""
        end(self.players, 20.0)
        return dict(json.loads(self.played.read_text()))


@contextmanager
def running_bed(*, curves: Path | None, profile: Path | None) -> Iterator[Bed]:
    """Start everything; end it and remove it afterwards, whatever happens.

    Args:
        curves: Folder of recorded curves for the stand-in trials.
        profile: Where the operator, run under cProfile, writes what took its time.
    """
    programs = binaries((*BINARIES, "kwok"))
    clean_up()
    instance = Instance.create("load", persistent=False)
    try:
        audited = audit.arguments(instance.folder, instance.folder, _POLICY)
        shape = Shape(apiserver_arguments=(*Shape().apiserver_arguments, *audited))
        plane = launch(instance, programs, Authority(instance.folder / "certificates"), shape)
        start_kwok(plane, nodes=4, addresses=ADDRESSES)
        _install(plane)
        played = instance.folder / "played.json"
        players = _python(instance, "players", "benchmarks.load.players", *_players(plane, played, curves))
        (port,) = free_ports(1)
        operator = _operator(plane, port, profile)
        instance.wait("operator", lambda: answers(f"http://{LOOPBACK}:{port}/readyz"), 60.0)
        instance.wait("players", lambda: answers(f"http://{LOOPBACK}:{labels.PORT}/summary"), 60.0)
        yield Bed(plane, operator, players, f"http://{LOOPBACK}:{port}", played)
        if profile is not None:
            end(operator, 60.0)
    finally:
        instance.take_down()


def _install(plane: ControlPlane) -> None:
    plane.serve("crds/")
    plane.kubectl("create", "namespace", HOME)
    subject = {"kind": "User", "name": OPERATOR, "apiGroup": "rbac.authorization.k8s.io"}
    everywhere, at_home = role("serve", rights=RIGHTS), role("lead", namespace=HOME, rights=OWN_RIGHTS)
    for given in (everywhere, at_home):
        metadata = given["metadata"]
        reference = {"kind": given["kind"], "name": metadata["name"], "apiGroup": "rbac.authorization.k8s.io"}
        binding = {"kind": f"{given['kind']}Binding", "apiVersion": "rbac.authorization.k8s.io/v1"}
        plane.apply(given, {**binding, "metadata": metadata, "roleRef": reference, "subjects": [subject]})


def _players(plane: ControlPlane, played: Path, curves: Path | None) -> list[str]:
    arguments = [f"--kubeconfig={plane.kubeconfig}", f"--out={played}"]
    return arguments if curves is None else [*arguments, f"--curves={curves}"]


def _operator(plane: ControlPlane, port: int, profile: Path | None) -> Process:
    watched = () if profile is None else ("cProfile", "-o", str(profile), "-m")
    return _python(
        plane.instance,
        "operator",
        *watched,
        "tuning_operator.backends.kubernetes.process",
        f"--kubeconfig={plane.user(OPERATOR)}",
        f"--own-namespace={HOME}",
        "--identity=load",
        f"--key-file={plane.instance.folder / 'key.pem'}",
        f"--probe-port={port}",
        "--log-level=WARNING",
    )


def _python(instance: Instance, name: str, *arguments: str) -> Process:
    return instance.start(name, [sys.executable, "-m", *arguments])
