"""The sizes of test bed, what each needs, and how each is started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.testbed import binaries, node, packages
from tests.testbed.controlplane import BINARIES, ControlPlane, start_control_plane
from tests.testbed.kwok import start_kwok


@dataclass(frozen=True)
class Size:
    """One size: what it is called, what it needs, and how it is started."""

    name: str
    description: str
    programs: tuple[str, ...]
    needs_node: bool
    start: Callable[[bool], ControlPlane]

    def missing_reason(self) -> str | None:
        """Why this machine cannot run it, or None."""
        if self.needs_node and (reason := node.missing_reason()):
            return reason
        return binaries.missing_reason(self.programs)

    def prepare(self) -> None:
        """Build and unpack what is missing, so that a start takes seconds."""
        binaries.binaries(self.programs)
        if self.needs_node:
            packages.runtime()


def _start_simulated(persistent: bool) -> ControlPlane:
    plane = start_control_plane(persistent=persistent, size="simulated")
    try:
        start_kwok(plane, nodes=2)
    except BaseException:
        plane.take_down()
        raise
    return plane


SIZES = {
    size.name: size
    for size in (
        Size(
            "control-plane",
            "API server, controllers and scheduler; no nodes, so pods stay pending",
            BINARIES,
            False,
            lambda persistent: start_control_plane(persistent=persistent),
        ),
        Size(
            "simulated",
            "the control plane with simulated nodes, whose pods exist in the API only",
            (*BINARIES, "kwok"),
            False,
            _start_simulated,
        ),
        Size(
            "cluster",
            "the control plane with one real node, whose pods are real containers (root)",
            (*BINARIES, *node.NODE_BINARIES),
            True,
            lambda persistent: node.start_cluster(persistent=persistent),
        ),
    )
}
