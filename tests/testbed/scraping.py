"""PodMonitors as Prometheus' own scrape configuration: what Prometheus Operator makes of them, without it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PHASES_OVER = "(Failed|Succeeded)"


def scrape_configs(monitor: Mapping[str, Any], *, kubeconfig: Path, interval: str) -> list[dict[str, Any]]:
    """Return the scrape configurations of one PodMonitor, one for each of its endpoints.

    Args:
        monitor: The object, as the chart renders it.
        kubeconfig: By which the server finds pods.
        interval: Instead of the monitor's own.
    """
    spec, name = monitor["spec"], monitor["metadata"]["name"]
    chosen = spec.get("namespaceSelector") or {}
    discovery: dict[str, Any] = {"role": "pod", "kubeconfig_file": str(kubeconfig)}
    if not chosen.get("any"):
        discovery["namespaces"] = {"names": chosen.get("matchNames") or [monitor["metadata"]["namespace"]]}
    configs = []
    for position, endpoint in enumerate(spec["podMetricsEndpoints"]):
        relabel = [
            _keep(f"__meta_kubernetes_pod_label_{_plain(label)}", re.escape(value))
            for label, value in spec["selector"]["matchLabels"].items()
        ]
        relabel += [
            _keep("__meta_kubernetes_pod_container_port_name", re.escape(endpoint["port"])),
            {"source_labels": ["__meta_kubernetes_pod_phase"], "regex": _PHASES_OVER, "action": "drop"},
            _copy("__meta_kubernetes_namespace", "namespace"),
            _copy("__meta_kubernetes_pod_name", "pod"),
            _copy("__meta_kubernetes_pod_container_name", "container"),
        ]
        relabel += [{_snake(key): value for key, value in one.items()} for one in endpoint.get("relabelings", ())]
        configs.append(
            {
                "job_name": f"{name}/{position}",
                "metrics_path": endpoint.get("path", "/metrics"),
                "params": endpoint.get("params", {}),
                "honor_labels": endpoint.get("honorLabels", False),
                "scrape_interval": interval,
                "scrape_timeout": interval,
                "kubernetes_sd_configs": [discovery],
                "relabel_configs": relabel,
            }
        )
    return configs


def _keep(source: str, regex: str) -> dict[str, Any]:
    return {"source_labels": [source], "regex": regex, "action": "keep"}


def _copy(source: str, target: str) -> dict[str, Any]:
    return {"source_labels": [source], "target_label": target}


def _plain(label: str) -> str:
    return re.sub(r"[^a-zA-Z0-9]", "_", label)


def _snake(word: str) -> str:
    return re.sub(r"([A-Z])", lambda found: f"_{found[1].lower()}", word)
