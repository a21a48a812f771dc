"""Kubeflow Trainer's ``OptimizationJob`` (trainer.kubeflow.org/v1alpha1), field by field."""

from __future__ import annotations

from typing import Any

from tuning_operator.cli.convert.objective import SERVE, direction, metric_name
from tuning_operator.cli.convert.report import Fields
from tuning_operator.cli.convert.settings import Settings
from tuning_operator.cli.convert.space import Space
from tuning_operator.cli.convert.workload import Workload, train_job

PREFIX = "KUBEFLOW_TRAINER_OPT_"


def convert_optimization_job(spec: Fields, settings: Settings) -> dict[str, Any]:
    """Return the spec of a TuningJob."""
    report = spec.report
    objective: dict[str, Any] = {"metric": "objective"}
    for entry in spec.entries("objectives"):
        name, way = entry.text("metric"), entry.text("direction") or "Minimize"
        objective = {
            "metric": metric_name(entry.at("metric"), name, report),
            "direction": direction(entry.at("direction"), way, report),
            "reduce": "Last",
        }
        report.warn(entry.path, "objective.reduce: Last", f"pushed values are not heard: {SERVE}")
        entry.finish()
    search = _search(spec.fields("searchAlgorithm"))
    space = Space(report)
    for entry in spec.entries("parameters"):
        space.optimization(entry)
    axis = settings.axis_of(report)
    policy = spec.fields("trialPolicy")
    budget = {
        "trials": int(settings.trials or spec.take("numTrials") or policy.take("numTrials") or 1),
        "parallel": int(spec.take("parallelTrials") or policy.take("parallelTrials") or 1),
    }
    policy.finish()
    report.converted(spec.path, f"budget: {budget['trials']} trials, {budget['parallel']} at once")
    return {
        "objective": objective,
        "axis": axis,
        "parameters": space.parameters,
        "search": search,
        "budget": budget,
        "trial": _workload(spec.fields("trainJobTemplate"), space).trial(),
    }


def _search(algorithm: Fields) -> dict[str, Any]:
    if "grid" in algorithm:
        algorithm.take("grid")
        algorithm.report.converted(algorithm.at("grid"), "search.algorithm: Grid")
        algorithm.finish()
        return {"algorithm": "Grid"}
    random = algorithm.fields("random")
    seed = random.take("seed")
    algorithm.report.converted(algorithm.at("random"), "search.algorithm: Random")
    random.finish()
    algorithm.finish()
    return {"algorithm": "Random"} | ({} if seed is None else {"seed": int(seed) % 2**31})


def _workload(template: Fields, space: Space) -> Workload:
    found = Workload()
    template.drop("labels and annotations of a trial's objects are the operator's", "metadata")
    spec = template.fields("spec")
    train_job(spec, found)
    spec.finish()
    template.finish()
    container = found.container()
    if container is not None:
        ours = [
            {"name": f"{PREFIX}{name.upper()}", "value": f"$({variable})"} for name, variable in space.variables.items()
        ]
        container["env"] = [*ours, *(container.get("env") or ())]
        template.report.converted(spec.path, "trial.template env", f"the trainer finds {PREFIX}<NAME> as before")
    return found
