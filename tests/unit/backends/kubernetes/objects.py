"""Small Kubernetes objects for tests."""

from __future__ import annotations

from typing import Any

from tuning_operator.api.tuning_job import TuningJobSpec


def spec(**trial: Any) -> TuningJobSpec:
    template = {"spec": {"containers": [{"name": "train", "image": "trainer", "command": ["train"]}]}}
    return TuningJobSpec.model_validate(
        {
            "objective": {"metric": "eval_loss"},
            "axis": {"total": 100},
            "parameters": [{"name": "lr", "type": "Float", "min": 0.1, "max": 1}],
            "trial": {"template": template, **trial},
        }
    )


def trial(**fields: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "digits-0003", "namespace": "team", "uid": "u-1"},
        "spec": {"job": "digits", "number": 3, "parameters": {"lr": 0.5, "optimizer": "sgd"}, "seed": 7, **fields},
    }


def pod(phase: str = "Running", *, state: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "namespace": "team", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"containers": [{"name": "train", "resources": {"limits": {"memory": "256Mi"}}}]},
        "status": {"phase": phase, "containerStatuses": [{"name": "train", "state": state or {}}], **status},
    }
