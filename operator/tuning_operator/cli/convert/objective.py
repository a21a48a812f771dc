"""What is optimized, and what the trainer has to do so that it can be read."""

from __future__ import annotations

import re
from typing import Any, Final

from tuning_operator.backends.kubernetes.labels import PORT
from tuning_operator.cli.convert.report import Fields, Report

SERVE: Final = f"the trainer must serve its metrics at :{PORT}/metrics; tuning_trainer.Client does so in five lines"
_DIRECTIONS: Final = {"minimize": "Minimize", "maximize": "Maximize"}
_NATURAL: Final = {"Minimize": "min", "Maximize": "max"}


def metric_name(path: str, name: str, report: Report) -> str:
    """Return a name that Prometheus allows; refuses an empty one."""
    if not name:
        report.refuse(path, "the metric has no name")
        return "objective"
    legal = re.sub(r"[^a-zA-Z0-9_:]", "_", name)
    legal = f"_{legal}" if legal[0].isdigit() else legal
    if legal == name:
        report.converted(path, f"objective.metric: {name}")
    else:
        report.warn(
            path, f"objective.metric: {legal}", f"Prometheus allows no such name as {name}; rename it in the trainer"
        )
    return legal[:128]


def direction(path: str, text: str, report: Report) -> str:
    """Return Minimize or Maximize."""
    found = _DIRECTIONS.get(text.lower())
    if found is None:
        report.refuse(path, f"{text or 'nothing'} is not minimize or maximize")
        return "Minimize"
    report.converted(path, f"objective.direction: {found}")
    return found


def katib_objective(objective: Fields) -> dict[str, Any]:
    """Return ``spec.objective``."""
    report, name = objective.report, objective.text("objectiveMetricName")
    found: dict[str, Any] = {
        "metric": metric_name(objective.at("objectiveMetricName"), name, report),
        "direction": direction(objective.at("type"), objective.text("type"), report),
    }
    goal = objective.take("goal")
    if goal is not None:
        found["target"] = float(goal)
        report.converted(objective.at("goal"), f"objective.target: {found['target']:g}")
    reduce, natural = "Best", _NATURAL[found["direction"]]
    for strategy in objective.entries("metricStrategies"):
        metric, value = strategy.text("name"), strategy.text("value")
        strategy.finish()
        if metric != name:
            continue
        if value not in ("latest", natural):
            report.refuse(
                strategy.path, f"{value} with {found['direction']}: a trial's result is its best value or its last"
            )
        else:
            reduce = "Last" if value == "latest" else "Best"
            report.converted(strategy.path, f"objective.reduce: {reduce}")
    found["reduce"] = reduce
    others = objective.take("additionalMetricNames")
    if others:
        note = "only the objective is recorded; whatever a trial serves, a Prometheus server may keep"
        report.warn(objective.at("additionalMetricNames"), "", note)
    objective.finish()
    return found


def collector(spec: Fields) -> None:
    """Say what the metrics collector's work becomes."""
    collecting = spec.fields("metricsCollectorSpec")
    chosen, source = collecting.fields("collector"), collecting.take("source") or {}
    kind = chosen.text("kind") or "StdOut"
    chosen.take("customCollector")
    path = chosen.at("kind")
    match kind:
        case "StdOut" | "File" | "TensorFlowEvent" | "Push":
            spec.report.warn(path, "", f"{kind}: {SERVE}")
        case "PrometheusMetric":
            where = source.get("httpGet") or {}
            place = f":{where.get('port', 8080)}{where.get('path', '/metrics')}"
            note = "" if place == f":{PORT}/metrics" else f"it is read at :{PORT}/metrics, no longer at {place}"
            if note:
                spec.report.warn(path, f":{PORT}/metrics", f"{note}; the port is in TUNING_PORT")
            else:
                spec.report.converted(path, place)
        case _:
            spec.report.refuse(path, f"a collector of the kind {kind} cannot be taken over; {SERVE}")
    chosen.finish()
    collecting.finish()
