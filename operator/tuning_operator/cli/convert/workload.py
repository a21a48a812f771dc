"""What runs as a trial: a batch Job, a PyTorchJob or a TrainJob becomes a pod template and a number of nodes."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, Final

from tuning_operator.backends.kubernetes.labels import ANNOTATION_CONTAINER
from tuning_operator.cli.convert.report import Fields

_RENDEZVOUS: Final = {
    "PET_NNODES": "$(WORLD_SIZE)",
    "PET_NODE_RANK": "$(RANK)",
    "PET_MASTER_ADDR": "$(MASTER_ADDR)",
    "PET_MASTER_PORT": "$(MASTER_PORT)",
}
_POLICY_NOTE: Final = "the operator makes, suspends and removes the Job of a trial itself"


@dataclass(kw_only=True)
class Workload:
    """The trial as far as it could be converted.

    Attributes:
        template: A PodTemplateSpec; None if there is none that could run.
        path: Where its training container is, in the foreign manifest.
    """

    template: dict[str, Any] | None = None
    path: str = ""
    nodes: int = 1
    retries: int | None = None
    labels: dict[str, Any] = field(default_factory=dict)
    annotations: dict[str, Any] = field(default_factory=dict)

    def trial(self) -> dict[str, Any]:
        """Return ``spec.trial``."""
        found: dict[str, Any] = {} if self.nodes == 1 else {"nodes": self.nodes}
        if self.retries is not None:
            found["retries"] = self.retries
        if self.template is not None:
            found["template"] = self.template
        return found

    def container(self, name: str = "") -> dict[str, Any] | None:
        """Return the container that trains, by its name, else the first."""
        containers = ((self.template or {}).get("spec") or {}).get("containers") or []
        return next((one for one in containers if not name or one.get("name") == name), None)


def read_workload(trial: Fields) -> Workload:
    """Return the workload of a ``trialSpec``."""
    kind, version = trial.text("kind"), trial.text("apiVersion")
    metadata = trial.fields("metadata")
    found = Workload(labels=metadata.take("labels") or {}, annotations=metadata.take("annotations") or {})
    metadata.finish()
    spec = trial.fields("spec")
    match version.partition("/")[0], kind:
        case "batch", "Job":
            _job(spec, found)
        case "kubeflow.org", "PyTorchJob":
            _pytorch_job(spec, found)
        case "trainer.kubeflow.org", "TrainJob":
            train_job(spec, found)
        case _:
            trial.report.refuse(
                trial.at("kind"),
                f"{version} {kind} is not a Job, a PyTorchJob or a TrainJob; write the trial as one of them",
            )
            return found
    spec.finish()
    trial.finish()
    return found


def _job(spec: Fields, found: Workload) -> None:
    _template(spec, found)
    _limits(spec, found)
    pods, at_once = spec.take("completions") or 1, spec.take("parallelism") or 1
    mode = spec.text("completionMode")
    if pods != at_once or (pods > 1 and mode != "Indexed"):
        spec.report.refuse(spec.at("completions"), "a trial is one pod, or N pods of an Indexed Job at once")
    elif pods > 1:
        found.nodes = int(pods)
        spec.report.converted(
            spec.at("completions"), f"trial.nodes: {pods}", "RANK, WORLD_SIZE and MASTER_ADDR are set"
        )
    spec.drop(_POLICY_NOTE, "ttlSecondsAfterFinished", "suspend", "podFailurePolicy", "podReplacementPolicy")
    spec.drop(_POLICY_NOTE, "manualSelector", "selector", "backoffLimitPerIndex", "maxFailedIndexes", "successPolicy")


def _pytorch_job(spec: Fields, found: Workload) -> None:
    policy = spec.fields("runPolicy")
    replicas = spec.fields("pytorchReplicaSpecs")
    master, worker = replicas.fields("Master"), replicas.fields("Worker")
    lead = master if "template" in master else worker
    policies = {part.text("restartPolicy") for part in (master, worker)}
    masters, workers = (int(part.take("replicas") or 1) if "template" in part else 0 for part in (master, worker))
    if masters and workers and master.take("template") != worker.take("template"):
        spec.report.refuse(
            worker.at("template"), "all nodes of a trial run the same template; make Worker equal to Master"
        )
    found.nodes = masters + workers or 1
    _template(lead, found)
    if policies - {"", "Never"}:
        spec.report.warn(
            lead.at("restartPolicy"), "", "a failed node ends the attempt; the Job starts all of them again"
        )
    if found.nodes > 1:
        spec.report.converted(
            replicas.path,
            f"trial.nodes: {found.nodes}",
            "RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT are set as before",
        )
    _torchrun(found, spec, "nprocPerNode")
    spec.drop("the number of nodes is fixed here", "elasticPolicy")
    _limits(policy, found)
    policy.drop(_POLICY_NOTE, "cleanPodPolicy", "ttlSecondsAfterFinished", "suspend", "schedulingPolicy", "managedBy")
    for part in (master, worker, replicas, policy):
        part.finish()


def train_job(spec: Fields, found: Workload) -> None:
    """Read a TrainJob's spec; what its runtime adds lies in the cluster and is not seen here."""
    runtime, trainer = spec.fields("runtimeRef"), spec.fields("trainer")
    name = runtime.text("name")
    for part in ("apiGroup", "kind"):
        runtime.take(part)
    runtime.finish()
    image = trainer.text("image")
    found.path = trainer.path
    if not image:
        trainer.report.refuse(trainer.at("image"), f"the image is hidden in the runtime {name}; write it here")
    else:
        container: dict[str, Any] = {"name": "node", "image": image}
        for part in ("command", "args", "env"):
            if (value := trainer.take(part)) is not None:
                container[part] = copy.deepcopy(value)
        if (resources := trainer.take("resourcesPerNode")) is not None:
            container["resources"] = copy.deepcopy(resources)
        found.template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
        spec.report.converted(trainer.path, "trial.template")
        if "command" not in container and "args" not in container:
            spec.report.warn(trainer.at("command"), "", f"the image's own command runs, not that of the runtime {name}")
    found.nodes = int(trainer.take("numNodes") or 1)
    if found.nodes > 1:
        spec.report.converted(trainer.at("numNodes"), f"trial.nodes: {found.nodes}")
    spec.report.warn(runtime.path, "", f"volumes, variables and sidecars of the runtime {name} are not taken over")
    _torchrun(found, trainer, "numProcPerNode")
    trainer.finish()
    for part in ("initializer", "podTemplateOverrides", "runtimePatches"):
        if spec.take(part) is not None:
            spec.report.refuse(spec.at(part), "a trial is one pod template; write it into the template by hand")
    spec.drop(_POLICY_NOTE, "suspend", "managedBy", "labels", "annotations", "activeDeadlineSeconds")


def _torchrun(found: Workload, spec: Fields, per_node: str) -> None:
    """Give torchrun the variables that it finds in a PyTorchJob and in a TrainJob, in every container as there."""
    processes = spec.take(per_node)
    variables = {} if found.nodes == 1 else dict(_RENDEZVOUS)
    if processes is not None:
        variables["PET_NPROC_PER_NODE"] = str(processes)
    if not variables or found.template is None:
        return
    for container in found.template["spec"]["containers"]:
        ours = [{"name": name, "value": value} for name, value in variables.items()]
        container["env"] = [*ours, *(container.get("env") or ())]
    spec.report.converted(spec.at(per_node), "trial.template env", f"torchrun finds {', '.join(variables)} as before")


def _template(spec: Fields, found: Workload) -> None:
    template = spec.take("template")
    found.path = spec.at("template")
    if not isinstance(template, dict) or not (template.get("spec") or {}).get("containers"):
        spec.report.refuse(spec.at("template"), "a pod template with a container is expected")
        return
    found.template = template = copy.deepcopy(template)
    policy = template["spec"].get("restartPolicy")
    if policy not in (None, "Never"):
        spec.report.warn(spec.at("template.spec.restartPolicy"), "Never", "the Job restarts a trial, with a new pod")
    template["spec"]["restartPolicy"] = "Never"
    spec.report.converted(spec.at("template"), "trial.template")


def _limits(spec: Fields, found: Workload) -> None:
    retries = spec.take("backoffLimit")
    if retries is not None:
        found.retries = min(int(retries), 100)
        spec.report.converted(spec.at("backoffLimit"), f"trial.retries: {found.retries}")
    seconds = spec.take("activeDeadlineSeconds")
    if seconds is not None and found.template is not None:
        found.template["spec"].setdefault("activeDeadlineSeconds", int(seconds))
        note = "it counts for each attempt, no longer for all together"
        spec.report.warn(spec.at("activeDeadlineSeconds"), "trial.template.spec.activeDeadlineSeconds", note)


def name_container(found: Workload, primary: str, template: Fields) -> dict[str, Any] | None:
    """Return the container that trains, and mark it where it is not the first."""
    if found.template is None:
        return None
    container = found.container(primary)
    if container is None:
        template.report.refuse(template.at("primaryContainerName"), f"the template has no container {primary}")
        return None
    found.path += f".spec.containers[{container.get('name')}]"
    if container is not found.template["spec"]["containers"][0]:
        metadata = found.template.setdefault("metadata", {})
        metadata.setdefault("annotations", {})[ANNOTATION_CONTAINER] = primary
        template.report.converted(
            template.at("primaryContainerName"), f"the annotation {ANNOTATION_CONTAINER}: {primary}"
        )
    return container
