"""Every label, annotation, port and field name that the operator puts on objects, in one place."""

from __future__ import annotations

from typing import Final

from tuning_operator.api.metadata import GROUP

LABEL_JOB: Final = f"{GROUP}/job"
LABEL_TRIAL: Final = f"{GROUP}/trial"
MANAGED_BY: Final = "tuning-operator"

LABEL_QUEUE: Final = "kueue.x-k8s.io/queue-name"
PASSED_LABELS: Final = (LABEL_QUEUE, "kueue.x-k8s.io/priority-class")
"""Labels of the TuningJob that its trials' Jobs get too."""

ANNOTATION_CONTAINER: Final = "kubectl.kubernetes.io/default-container"
"""Kubernetes' own way to say which of several containers is meant; otherwise the first one trains."""

ANNOTATION_INDEX: Final = "batch.kubernetes.io/job-completion-index"
"""Which of a Job's pods it is: its rank."""

PORT_NAME: Final = "tuning"
PORT: Final = 9464
CHECKPOINT_MOUNT: Final = "/tuning/checkpoints"
CHECKPOINT_VOLUME: Final = "tuning-checkpoints"
RENDEZVOUS_PORT: Final = 29500


def job_labels(job: str) -> dict[str, str]:
    """Return the labels of everything that belongs to a TuningJob."""
    return {
        "app.kubernetes.io/name": "tuning-trial",
        "app.kubernetes.io/part-of": job,
        "app.kubernetes.io/managed-by": MANAGED_BY,
        LABEL_JOB: job,
    }


def trial_labels(job: str, trial: str) -> dict[str, str]:
    """Return the labels of everything that belongs to a Trial."""
    return {**job_labels(job), "app.kubernetes.io/instance": trial, LABEL_TRIAL: trial}
