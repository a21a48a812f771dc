"""Katib's ``Experiment`` (kubeflow.org/v1beta1), field by field."""

from __future__ import annotations

from typing import Any, Final

from tuning_operator.cli.convert.algorithm import Chosen, read_algorithm, read_early_stopping
from tuning_operator.cli.convert.objective import collector, katib_objective
from tuning_operator.cli.convert.placeholders import Placeholders
from tuning_operator.cli.convert.report import Fields
from tuning_operator.cli.convert.settings import Settings
from tuning_operator.cli.convert.space import Space
from tuning_operator.cli.convert.workload import Workload, name_container, read_workload

PARALLEL: Final = 3
"""Katib's default of ``parallelTrialCount``."""
_USUAL: Final = ('status.conditions.#(type=="Complete")#', 'status.conditions.#(type=="Failed")#')


def convert_experiment(spec: Fields, settings: Settings) -> dict[str, Any] | None:
    """Return the spec of a TuningJob; None if nothing could become one."""
    report = spec.report
    if spec.take("nasConfig") is not None:
        report.refuse(spec.at("nasConfig"), "it searches an architecture; there is nothing of the kind here")
        return None
    objective = katib_objective(spec.fields("objective"))
    chosen = read_algorithm(spec.fields("algorithm"))
    if chosen is None:
        return None
    read_early_stopping(spec.fields("earlyStopping"), chosen)
    space = _space(spec, chosen)
    axis = settings.axis_of(report, metric="train_epochs", total=chosen.longest)
    budget = _budget(spec, settings)
    collector(spec)
    workload = _template(spec, space)
    resume = spec.text("resumePolicy")
    if resume not in ("", "Never"):
        report.converted(spec.at("resumePolicy"), "", "every job goes on when its budget is raised")
    search = _fitting(spec, chosen, space)
    found: dict[str, Any] = {"objective": objective, "axis": axis, "parameters": space.parameters, "search": search}
    if chosen.stopping:
        found["stopping"] = chosen.stopping
    return {**found, "budget": budget, "trial": workload.trial()}


def _space(spec: Fields, chosen: Chosen) -> Space:
    """Read the parameters; the one that Hyperband sets itself becomes a constant."""
    space = Space(spec.report)
    for entry in spec.entries("parameters"):
        name = entry.text("name")
        if chosen.resource and name == chosen.resource:
            longest = chosen.longest if chosen.longest is not None else 1.0
            space.constants[name] = f"{longest:g}"
            for part in ("parameterType", "feasibleSpace"):
                entry.take(part)
            entry.finish()
            spec.report.warn(
                entry.path,
                f"axis.total: {longest:g}",
                f"every trial is planned for {longest:g}, and stopped before by rule",
            )
        else:
            space.katib(entry)
    return space


def _fitting(spec: Fields, chosen: Chosen, space: Space) -> dict[str, Any]:
    """Return the search; CMA-ES knows no choices, though Katib's passes them by."""
    movable = [one for one in space.parameters if one["type"] != "Categorical"]
    if chosen.search["algorithm"] == "CMAES" and len(movable) != len(space.parameters):
        spec.report.warn(
            spec.at("algorithm.algorithmName"), "search.algorithm: TPE", "CMAES moves through numbers only"
        )
        return {**chosen.search, "algorithm": "TPE"}
    return chosen.search


def _budget(spec: Fields, settings: Settings) -> dict[str, int]:
    report = spec.report
    trials, parallel, failed = (
        spec.take(name) for name in ("maxTrialCount", "parallelTrialCount", "maxFailedTrialCount")
    )
    if trials is None and settings.trials is None:
        report.refuse(
            spec.at("maxTrialCount"), "without it an experiment never ends, and a TuningJob does: give --trials N"
        )
    elif trials is not None:
        report.converted(spec.at("maxTrialCount"), f"budget.trials: {trials}")
    found = {"trials": int(settings.trials or trials or 20)}
    found["parallel"] = int(parallel or PARALLEL)
    if parallel is not None:
        report.converted(spec.at("parallelTrialCount"), f"budget.parallel: {parallel}")
    if failed is None:
        found["failedTrials"] = found["trials"]
    else:
        found["failedTrials"] = max(int(failed) - 1, 0)
        note = f"Katib fails at {max(int(failed), 1)} failed trials, a TuningJob above {found['failedTrials']}"
        report.converted(spec.at("maxFailedTrialCount"), f"budget.failedTrials: {found['failedTrials']}", note)
    return found


def _template(spec: Fields, space: Space) -> Workload:
    report, template = spec.report, spec.fields("trialTemplate")
    if template.take("configMap") is not None:
        report.refuse(
            template.at("configMap"),
            "the template is in a ConfigMap of the cluster; write it into trialTemplate.trialSpec",
        )
        workload = Workload()
        template.take("trialSpec")
    else:
        workload = read_workload(template.fields("trialSpec"))
    placeholders = Placeholders(report)
    placeholders.read(template, space, workload.labels, workload.annotations)
    container = name_container(workload, template.text("primaryContainerName"), template)
    if workload.template is not None and container is not None:
        placeholders.fill(workload.template, container, workload.path)
    if workload.labels or workload.annotations:
        report.warn(
            template.at("trialSpec.metadata"), "", "labels and annotations of the TuningJob's own Jobs are its own"
        )
    for name in ("successCondition", "failureCondition"):
        condition = template.text(name)
        if condition and not condition.startswith(_USUAL):
            report.warn(template.at(name), "", "a trial's exit code says whether it succeeded")
    template.drop("the newest pod of rank 0 is the one that is read", "primaryPodLabels")
    if template.take("retain"):
        report.warn(
            template.at("retain"),
            "",
            "a trial's Job goes when it ends; its Trial keeps curve, decisions and last lines",
        )
    template.finish()
    return workload
