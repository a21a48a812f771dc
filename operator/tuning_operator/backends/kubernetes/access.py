"""Every right that the operator needs, in one table; the chart's roles are rendered from it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from tuning_operator.api.metadata import GROUP


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """What may be done with one kind of object, and why.

    Attributes:
        resource: Plural, with the subresource behind a slash.
        by_request: False for a right that no request of ours uses, but an admission plugin asks for.
    """

    group: str
    resource: str
    verbs: tuple[str, ...]
    why: str
    by_request: bool = True


RIGHTS: Final = (
    Right(group=GROUP, resource="tuningjobs", verbs=("get", "list", "watch"), why="what users ask for"),
    Right(group=GROUP, resource="tuningjobs/status", verbs=("patch",), why="how it is doing"),
    Right(
        group=GROUP,
        resource="trials",
        verbs=("get", "list", "watch", "create", "patch"),
        why="proposals and decisions are written into Trials",
    ),
    Right(group=GROUP, resource="trials/status", verbs=("patch",), why="curves, and how pods are doing"),
    Right(group="batch", resource="jobs", verbs=("get", "list", "watch", "create", "delete"), why="a trial's pods"),
    Right(group="", resource="pods", verbs=("list", "watch"), why="where to scrape, and how a trial ended"),
    Right(group="", resource="pods/log", verbs=("get",), why="the last lines of a pod that failed"),
    Right(
        group="",
        resource="services",
        verbs=("list", "watch", "create", "patch"),
        why="by which the nodes of a trial over several find each other",
    ),
    Right(group="events.k8s.io", resource="events", verbs=("create",), why="decisions in kubectl describe"),
    Right(
        group=GROUP,
        resource="tuningjobs/finalizers",
        verbs=("update",),
        why="owner references that block deletion, where OwnerReferencesPermissionEnforcement is on",
        by_request=False,
    ),
    Right(
        group=GROUP,
        resource="trials/finalizers",
        verbs=("update",),
        why="owner references that block deletion, where OwnerReferencesPermissionEnforcement is on",
        by_request=False,
    ),
)
"""In every namespace where TuningJobs are served."""

OWN_RIGHTS: Final = (
    Right(
        group="coordination.k8s.io",
        resource="leases",
        verbs=("get", "create", "update"),
        why="one operator leads at a time",
    ),
)
"""In the operator's own namespace alone."""


def rules(rights: Sequence[Right] = RIGHTS) -> list[dict[str, Any]]:
    """Return the rules of a Role or ClusterRole, one for each kind of object."""
    return [{"apiGroups": [right.group], "resources": [right.resource], "verbs": list(right.verbs)} for right in rights]


def role(name: str, *, namespace: str | None = None, rights: Sequence[Right] = RIGHTS) -> dict[str, Any]:
    """Return a ClusterRole, or with a namespace a Role."""
    metadata = {"name": name} if namespace is None else {"name": name, "namespace": namespace}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole" if namespace is None else "Role",
        "metadata": metadata,
        "rules": rules(rights),
    }


def main(arguments: Sequence[str]) -> int:
    """Print the rules as YAML: ``python -m tuning_operator.backends.kubernetes.access [--own]``."""
    parser = argparse.ArgumentParser(description="Print the RBAC rules that the operator needs.")
    parser.add_argument("--own", action="store_true", help="the rules for the operator's own namespace instead")
    chosen = OWN_RIGHTS if parser.parse_args(arguments).own else RIGHTS
    sys.stdout.write(yaml.safe_dump(rules(chosen), sort_keys=False))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
