"""The kinds of objects that the operator touches, and where an API server keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from tuning_operator.api.metadata import GROUP, VERSION

Object = dict[str, Any]
"""A Kubernetes object as plain JSON; models would decode every field of every watch event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind of object."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """Return ``group/version`` as manifests write it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, *, namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
        """Return the URL path of one object, or of all of a namespace, or of all."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name is not None:
            parts.append(quote(name, safe=""))
        if subresource:
            parts.append(subresource)
        return "/" + "/".join(parts)

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


TUNING_JOBS: Final = Resource(group=GROUP, version=VERSION, plural="tuningjobs", kind="TuningJob")
TRIALS: Final = Resource(group=GROUP, version=VERSION, plural="trials", kind="Trial")
JOBS: Final = Resource(group="batch", version="v1", plural="jobs", kind="Job")
PODS: Final = Resource(group="", version="v1", plural="pods", kind="Pod")
SERVICES: Final = Resource(group="", version="v1", plural="services", kind="Service")
EVENTS: Final = Resource(group="events.k8s.io", version="v1", plural="events", kind="Event")
LEASES: Final = Resource(group="coordination.k8s.io", version="v1", plural="leases", kind="Lease")


def name_of(body: Object) -> str:
    """Return ``metadata.name``."""
    return str(body["metadata"]["name"])


def key_of(body: Object) -> tuple[str, str]:
    """Return (namespace, name), which tells an object from all others of its kind."""
    metadata = body["metadata"]
    return str(metadata.get("namespace", "")), str(metadata["name"])
