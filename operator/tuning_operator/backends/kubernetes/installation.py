"""Whether an installation is complete, seen from inside it: what ``helm test`` runs.

``python -m tuning_operator.backends.kubernetes.installation`` runs as the operator's own service account, with its key
and its arguments, and says of each thing that the operator needs whether it is there.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tuning_operator.api.metadata import GROUP, VERSION
from tuning_operator.backends.kubernetes.access import OWN_RIGHTS, RIGHTS, Right
from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.errors import ApiError
from tuning_operator.backends.kubernetes.keys import read_key_pair
from tuning_operator.backends.kubernetes.resources import LEASES, TRIALS, TUNING_JOBS, Resource
from tuning_operator.errors import BackendError, TuningError

_REVIEWS: Final = Resource(
    group="authorization.k8s.io", version="v1", plural="selfsubjectaccessreviews", kind="SelfSubjectAccessReview"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the operator needs.

    Attributes:
        text: What was found, or what is missing and how to repair it.
    """

    ok: bool
    text: str


async def examine(
    client: Client, *, namespaces: Sequence[str], own_namespace: str, lease: str, key_file: Path
) -> AsyncIterator[Finding]:
    """Yield what was found, in the order in which it should be repaired.

    Args:
        namespaces: Those that are served; empty for all.
    """
    yield await _kinds(client)
    for namespace in namespaces or (None,):
        yield await _rights(client, RIGHTS, namespace)
    yield await _rights(client, OWN_RIGHTS, own_namespace)
    yield _key(key_file)
    yield await _leader(client, own_namespace, lease)


async def _kinds(client: Client) -> Finding:
    served = await client.served(group=GROUP, version=VERSION)
    missing = [kind.plural for kind in (TUNING_JOBS, TRIALS) if kind.plural not in served]
    if missing:
        return Finding(False, f"no CRD of {' and '.join(missing)} in {GROUP}/{VERSION}; install the chart's CRDs")
    return Finding(True, f"{TUNING_JOBS.plural} and {TRIALS.plural} are served as {GROUP}/{VERSION}")


async def _rights(client: Client, rights: Sequence[Right], namespace: str | None) -> Finding:
    where = "in every namespace" if namespace is None else f"in namespace {namespace}"
    asked = [(right, verb) for right in rights for verb in right.verbs]
    allowed = await asyncio.gather(*(_may(client, right, verb, namespace) for right, verb in asked))
    denied = [f"{verb} {right.resource}" for (right, verb), ok in zip(asked, allowed, strict=True) if not ok]
    if denied:
        return Finding(False, f"no right {where} to {', '.join(denied)}; see rbac.create")
    return Finding(True, f"all {len(asked)} rights {where}")


async def _may(client: Client, right: Right, verb: str, namespace: str | None) -> bool:
    resource, _, subresource = right.resource.partition("/")
    attributes = {"group": right.group, "resource": resource, "subresource": subresource, "verb": verb}
    if namespace is not None:
        attributes["namespace"] = namespace
    answer = await client.create(_REVIEWS, {"metadata": {}, "spec": {"resourceAttributes": attributes}})
    return bool(answer["status"]["allowed"])


def _key(path: Path) -> Finding:
    try:
        read_key_pair(path)
    except (BackendError, FileNotFoundError) as error:
        return Finding(False, f"no key to sign control messages with: {error}")
    return Finding(True, f"{path} holds a key to sign control messages with")


async def _leader(client: Client, namespace: str, name: str) -> Finding:
    try:
        holder = (await client.get(LEASES, namespace=namespace, name=name))["spec"].get("holderIdentity")
    except ApiError as error:
        return Finding(False, f"nobody has led yet: {error}")
    if not holder:
        return Finding(
            False, f"nobody leads: the Lease {namespace}/{name} is free; see the logs of the operator's pods"
        )
    return Finding(True, f"{holder} leads")


async def _report(options: argparse.Namespace) -> int:
    bad = 0
    async with await Client.connect(kubeconfig=options.kubeconfig) as client:
        async for finding in examine(
            client,
            namespaces=options.namespace,
            own_namespace=options.own_namespace,
            lease=options.lease,
            key_file=options.key_file,
        ):
            sys.stdout.write(f"{'ok     ' if finding.ok else 'MISSING'} {finding.text}\n")
            bad += not finding.ok
    return 1 if bad else 0


def main(arguments: Sequence[str]) -> int:
    """Print what was found; return 0 if nothing is missing."""
    parser = argparse.ArgumentParser(description="Say whether the operator has all that it needs.")
    parser.add_argument("--namespace", action="append", default=[], help="a namespace that is served (default: all)")
    parser.add_argument("--own-namespace", default=os.environ.get("POD_NAMESPACE", "default"))
    parser.add_argument("--lease", default="tuning-operator")
    parser.add_argument("--key-file", type=Path, default=Path(os.environ.get("TUNING_KEY_FILE", "key.pem")))
    parser.add_argument("--kubeconfig", help="default: the pod's service account, or $KUBECONFIG")
    try:
        return asyncio.run(_report(parser.parse_args(arguments)))
    except TuningError as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
