"""What users asked of an API server, by its own audit log: the one witness that no client can talk round."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOG = "audit.log"
_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "userGroups": ["system:masters", "system:serviceaccounts", "system:nodes"]},
        {"level": "None", "users": ["system:kube-controller-manager", "system:kube-scheduler", "system:apiserver"]},
        {"level": "None", "nonResourceURLs": ["*"]},
        {"level": "Metadata"},
    ],
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a user about an object.

    Attributes:
        verb: As RBAC rules name it.
        resource: Plural, with the subresource behind a slash.
        code: HTTP status of the answer.
        time: When it came, RFC 3339.
    """

    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    code: int
    time: str


def arguments(folder: Path, logs: Path, policy: Mapping[str, Any] = _POLICY) -> list[str]:
    """The arguments of an API server that keeps an audit log, of everybody but itself and the administrator.

    The log is never rotated: at 100 MB, the server would begin a new file, and who reads the log would find the end
    of it alone.
    """
    file = folder / "audit-policy.json"
    file.write_text(json.dumps(policy))
    return [f"--audit-policy-file={file}", f"--audit-log-path={logs / LOG}", "--audit-log-maxsize=0"]


def asked(logs: Path, user: str) -> list[Asked]:
    """Everything that a user has asked so far, in the order of the answers; of a stream, its start and its end."""
    found = []
    for line in (logs / LOG).read_text().splitlines():
        event: dict[str, Any] = json.loads(line)
        about = event.get("objectRef")
        if event["user"]["username"] != user or about is None:
            continue
        subresource = about.get("subresource")
        found.append(
            Asked(
                verb=event["verb"],
                group=about.get("apiGroup", ""),
                resource=about["resource"] + (f"/{subresource}" if subresource else ""),
                namespace=about.get("namespace", ""),
                name=about.get("name", ""),
                code=event.get("responseStatus", {}).get("code", 0),
                time=event["requestReceivedTimestamp"],
            )
        )
    return found
