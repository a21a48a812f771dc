"""From a Trial to its Job (and, over several nodes, its headless Service).

The user's pod template is passed through; added are environment, metrics port, labels, the checkpoint volume, and what
a Job needs to tell a disruption from a failure. Nothing else is touched: no command is wrapped, no container injected.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from trial_protocol import names as protocol
from trial_protocol.environment import TrialEnvironment
from tuning_operator.api.trial import TrialSpec
from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.backends.kubernetes import labels
from tuning_operator.backends.kubernetes.outcome import EXIT_TERMINATED, EXITS_NO_COMMAND
from tuning_operator.backends.kubernetes.resources import JOBS, SERVICES, TRIALS, Object, name_of
from tuning_operator.errors import BackendError


def render_job(trial: Object, *, spec: TuningJobSpec, public_key: str, queue: Mapping[str, str]) -> Object:
    """Return the Job of a Trial that is to run, as it is created.

    It is never changed afterwards: a trial that is paused or stopped loses its Job, and suspension is left to queues,
    in front of which a Job is created suspended (docs/adr/0007).

    Args:
        trial: The Trial object, with its uid.
        spec: The spec of the TuningJob it belongs to.
        public_key: PEM of the key that control messages are signed with.
        queue: Labels passed on from the TuningJob (`labels.PASSED_LABELS`).

    Raises:
        BackendError: The template cannot run as a trial; the text names the field and the fix.
    """
    wanted = TrialSpec.model_validate(trial["spec"])
    name, namespace = name_of(trial), trial["metadata"]["namespace"]
    own = labels.trial_labels(wanted.job, name)
    template = _template(trial, spec, wanted, public_key, own)
    body: dict[str, Any] = {
        "completions": spec.trial.nodes,
        "parallelism": spec.trial.nodes,
        "completionMode": "Indexed" if spec.trial.nodes > 1 else "NonIndexed",
        "backoffLimit": spec.trial.retries,
        "podFailurePolicy": _failure_policy(container_name(template)),
        "podReplacementPolicy": "Failed",
        "template": template,
    }
    if labels.LABEL_QUEUE in queue:
        body["suspend"] = True
    return {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {**own, **queue},
            "ownerReferences": [owner(trial)],
        },
        "spec": body,
    }


def render_service(trial: Object) -> Object:
    """Return the headless Service by which the nodes of one trial find each other."""
    name = name_of(trial)
    own = labels.trial_labels(trial["spec"]["job"], name)
    return {
        "apiVersion": SERVICES.api_version,
        "kind": SERVICES.kind,
        "metadata": {
            "name": name,
            "namespace": trial["metadata"]["namespace"],
            "labels": own,
            "ownerReferences": [owner(trial)],
        },
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {labels.LABEL_TRIAL: name},
            "ports": [{"name": "rendezvous", "port": labels.RENDEZVOUS_PORT}],
        },
    }


def identity(*, namespace: str, name: str, uid: str) -> str:
    """Return what tells a Trial from all others, in any namespace, cluster and time: whom control messages are for."""
    return f"{namespace}/{name}/{uid}"


def owner(body: Object) -> Object:
    """Return the owner reference to an object, so that it takes its children with it."""
    return {
        "apiVersion": body.get("apiVersion", TRIALS.api_version),
        "kind": body.get("kind", TRIALS.kind),
        "name": name_of(body),
        "uid": body["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def container_name(template: Object) -> str:
    """Return the name of the container that trains, of a pod template or a pod.

    Raises:
        BackendError: The annotation names a container that is not there.
    """
    return str(_container(template["spec"], template.get("metadata", {}).get("annotations"))["name"])


def _template(trial: Object, spec: TuningJobSpec, wanted: TrialSpec, public_key: str, own: Mapping[str, str]) -> Object:
    name = name_of(trial)
    template: Object = copy.deepcopy(spec.trial.template) if spec.trial.template else {}
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **own}
    pod = template.get("spec") or {}
    if not pod.get("containers"):
        raise BackendError("spec.trial.template.spec.containers: a trial needs a container; give name and image")
    policy = pod.setdefault("restartPolicy", "Never")
    if policy != "Never":
        raise BackendError(
            f"spec.trial.template.spec.restartPolicy must be Never, it is {policy}: retries are the Job's, "
            "so that a disruption is not counted as a failure"
        )
    pod.setdefault("terminationGracePeriodSeconds", math.ceil(spec.trial.grace_period.total_seconds()))
    container = _container(pod, metadata.get("annotations") or {})
    if spec.trial.command and not container.get("command") and not container.get("args"):
        container["command"] = list(spec.trial.command)
    container["env"] = _environment(trial, spec, wanted, public_key) + _nodes(spec, name) + (container.get("env") or [])
    _open_port(container)
    if spec.trial.nodes > 1:
        pod["subdomain"] = name
    checkpoint = spec.trial.checkpoint
    if checkpoint is not None and checkpoint.claim is not None:
        _mount(pod, container, claim=checkpoint.claim)
    return template


def _container(pod: Object, annotations: Mapping[str, str] | None = None) -> Object:
    """Return the container that trains: the annotated default container, else the first."""
    wanted = (annotations or {}).get(labels.ANNOTATION_CONTAINER)
    containers: list[Object] = pod["containers"]
    for container in containers:
        if container.get("name") == wanted:
            return container
    if wanted is not None:
        raise BackendError(
            f"spec.trial.template.metadata.annotations[{labels.ANNOTATION_CONTAINER}] is {wanted}; "
            f"the containers are {', '.join(str(container.get('name')) for container in containers)}"
        )
    return containers[0]


def _environment(trial: Object, spec: TuningJobSpec, wanted: TrialSpec, public_key: str) -> list[Object]:
    """Return our variables; they come first, so that the user's own may refer to them."""
    name, uid = name_of(trial), trial["metadata"]["uid"]
    checkpoint = spec.trial.checkpoint
    folder = ""
    if checkpoint is not None:
        # All attempts of a Trial share its folder; a later Trial of the same name must not go on from its checkpoints.
        folder = f"{(checkpoint.uri or labels.CHECKPOINT_MOUNT).rstrip('/')}/{name}-{uid}"
    environment = TrialEnvironment(
        job=wanted.job,
        trial=name,
        identity=identity(namespace=trial["metadata"]["namespace"], name=name, uid=uid),
        parameters=dict(wanted.parameters),
        seed=wanted.seed,
        port=labels.PORT,
        axis=spec.axis.metric,
        total=spec.axis.total,
        checkpoint_uri=folder,
        public_key=public_key,
    ).variables()
    # A Job starts every attempt from the same template: the operator counts pods and sends the newest control itself.
    for per_attempt in (protocol.ENV_ATTEMPT, protocol.ENV_CONTROL):
        del environment[per_attempt]
    return [{"name": key, "value": value} for key, value in environment.items()]


def _nodes(spec: TuningJobSpec, name: str) -> list[Object]:
    """Return what torch.distributed's ``env://`` rendezvous wants, over several nodes."""
    if spec.trial.nodes == 1:
        return []
    index = f"metadata.annotations['{labels.ANNOTATION_INDEX}']"
    return [
        {"name": "RANK", "valueFrom": {"fieldRef": {"fieldPath": index}}},
        {"name": "WORLD_SIZE", "value": str(spec.trial.nodes)},
        {"name": "MASTER_ADDR", "value": f"{name}-0.{name}"},
        {"name": "MASTER_PORT", "value": str(labels.RENDEZVOUS_PORT)},
    ]


def _open_port(container: Object) -> None:
    ports: list[Object] = container.setdefault("ports", [])
    if all(port.get("containerPort") != labels.PORT for port in ports):
        ports.append({"name": labels.PORT_NAME, "containerPort": labels.PORT, "protocol": "TCP"})


def _mount(pod: Object, container: Object, *, claim: str) -> None:
    volumes: list[Object] = pod.setdefault("volumes", [])
    volumes.append({"name": labels.CHECKPOINT_VOLUME, "persistentVolumeClaim": {"claimName": claim}})
    mounts: list[Object] = container.setdefault("volumeMounts", [])
    mounts.append({"name": labels.CHECKPOINT_VOLUME, "mountPath": labels.CHECKPOINT_MOUNT})


def _failure_policy(container: str) -> Object:
    """Disruptions are not failures, nor is a pod that somebody asked to end; what cannot work fails at once."""
    return {
        "rules": [
            {
                "action": "Ignore",
                "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
            },
            {
                "action": "Ignore",
                "onExitCodes": {"containerName": container, "operator": "In", "values": [EXIT_TERMINATED]},
            },
            {
                "action": "FailJob",
                "onExitCodes": {
                    "containerName": container,
                    "operator": "In",
                    "values": [protocol.EXIT_CONFIGURATION_ERROR, *EXITS_NO_COMMAND],
                },
            },
        ]
    }
