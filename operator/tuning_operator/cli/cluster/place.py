"""Which cluster and which namespace a command means, found as kubectl finds them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tuning_operator.errors import BackendError

_POD_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A namespace of a cluster.

    Attributes:
        kubeconfig: The file, or several as ``KUBECONFIG`` lists them; None in a pod, whose service account is used.
        context: None in a pod.
    """

    kubeconfig: str | None
    context: str | None
    namespace: str

    @property
    def cluster(self) -> str:
        """Return what the cluster is called for people."""
        return "this cluster" if self.context is None else f"cluster {self.context}"

    def __str__(self) -> str:
        return f"namespace {self.namespace} of {self.cluster}"


def kubeconfig_files(kubeconfig: str | None, environment: Mapping[str, str]) -> list[Path]:
    """Return the kubeconfig files that are named or usual, there or not."""
    named = kubeconfig or environment.get("KUBECONFIG") or "~/.kube/config"
    return [Path(one).expanduser() for one in named.split(os.pathsep) if one]


def find_place(
    *,
    namespace: str | None = None,
    kubeconfig: str | None = None,
    context: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Place:
    """Return the place that the options mean; what they leave out comes from the kubeconfig, or from the pod.

    Raises:
        BackendError: There is no kubeconfig, or no such context in it; the text says where was looked.
    """
    known = os.environ if environment is None else environment
    files = kubeconfig_files(kubeconfig, known)
    there = [file for file in files if file.is_file()]
    if not there:
        if kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in known:
            return Place(kubeconfig=None, context=None, namespace=namespace or _pod_namespace())
        looked = " and ".join(map(str, files))
        raise BackendError(f"no cluster to look at: there is no kubeconfig at {looked}; give --kubeconfig FILE")
    text = os.pathsep.join(map(str, there))
    found = _context(text, context)
    return Place(
        kubeconfig=text,
        context=str(found["name"]),
        namespace=namespace or found["context"].get("namespace") or "default",
    )


def _context(kubeconfig: str, wanted: str | None) -> Mapping[str, Any]:
    from kubernetes.aio import config

    try:
        contexts, current = config.list_kube_config_contexts(kubeconfig)
    except (config.ConfigException, OSError, ValueError) as error:
        raise BackendError(f"the kubeconfig {kubeconfig} cannot be used: {error}") from None
    if wanted is None:
        return dict(current)
    for one in contexts:
        if one["name"] == wanted:
            return dict(one)
    names = ", ".join(sorted(one["name"] for one in contexts))
    raise BackendError(f"the kubeconfig {kubeconfig} has no context {wanted}; it has: {names}")


def _pod_namespace() -> str:
    try:
        return _POD_NAMESPACE.read_text().strip() or "default"
    except OSError:
        return "default"
