"""Katib's algorithms and its early stopping, as samplers and stopping rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tuning_operator.cli.convert.report import Fields

_SAME: Final[Mapping[str, str]] = {
    "random": "Random",
    "grid": "Grid",
    "sobol": "Sobol",
    "tpe": "TPE",
    "multivariate-tpe": "TPE",
    "cmaes": "CMAES",
}
_CHANGED: Final[Mapping[str, tuple[str, str]]] = {
    "bayesianoptimization": ("TPE", "a Gaussian process is algorithm GP, which needs torch in the operator's image"),
    "hyperband": (
        "Random",
        "trials that do badly are stopped at any time, and none starts again from zero on a larger rung",
    ),
    "pbt": (
        "TPE",
        "nothing copies weights between trials; BackOff and CoolDown in spec.control change learning rates live",
    ),
}
_STOPPED_LATER: Final = frozenset({"hyperband", "pbt"})
_NO_COUNTERPART: Final = frozenset({"enas", "darts"})
_RULE: Final = {"rule": "Percentile"}


@dataclass(kw_only=True)
class Chosen:
    """How configurations are proposed and stopped.

    Attributes:
        resource: Parameter that Hyperband sets itself; it is the axis and no parameter here.
        longest: Its greatest value.
    """

    search: dict[str, Any] = field(default_factory=lambda: {"algorithm": "TPE"})
    stopping: list[dict[str, Any]] = field(default_factory=list)
    resource: str = ""
    longest: float | None = None


def read_algorithm(algorithm: Fields) -> Chosen | None:
    """Return what an ``algorithm`` becomes; None if nothing could."""
    name, report, found = algorithm.text("algorithmName"), algorithm.report, Chosen()
    settings = {entry.text("name"): (entry, entry.take("value")) for entry in algorithm.entries("algorithmSettings")}
    algorithm.finish()
    path = algorithm.at("algorithmName")
    if name in _NO_COUNTERPART:
        report.refuse(path, f"{name} searches architectures; there is nothing of the kind here")
        return None
    if name in _SAME:
        found.search = {"algorithm": _SAME[name]}
        report.converted(path, f"search.algorithm: {_SAME[name]}")
    elif name in _CHANGED:
        became, note = _CHANGED[name]
        found.search = {"algorithm": became}
        report.warn(path, f"search.algorithm: {became}", f"{name}: {note}")
    else:
        report.refuse(path, f"{name or 'no algorithm'} is not known; take TPE, which suits most")
    if name in _STOPPED_LATER:
        found.stopping = [dict(_RULE)]
        report.warn(path, "stopping: Percentile", "stops what is worse at its best than others on average")
    for key, (entry, value) in settings.items():
        if key == "random_state":
            found.search["seed"] = int(value) % 2**31
            report.converted(entry.path, f"search.seed: {found.search['seed']}", "the draws are others all the same")
        elif name == "hyperband" and key == "resource_name":
            found.resource = str(value)
        elif name == "hyperband" and key == "r_l":
            found.longest = float(value)
        else:
            report.warn(entry.path, "", f"{became_of(found)} has no such setting")
        entry.finish()
    return found


def became_of(found: Chosen) -> str:
    """Return the name of the sampler."""
    return str(found.search["algorithm"])


def read_early_stopping(stopping: Fields, found: Chosen) -> None:
    """Add the rule that ``earlyStopping`` becomes."""
    name, report = stopping.text("algorithmName"), stopping.report
    if not name:
        stopping.finish()
        return
    if name != "medianstop":
        report.refuse(stopping.at("algorithmName"), f"{name} is not known; Percentile is the nearest rule here")
    rule: dict[str, Any] = {"rule": "Percentile", "percentile": 50}
    for entry in stopping.entries("algorithmSettings"):
        key, value = entry.text("name"), entry.take("value")
        if key == "min_trials_required":
            rule["minimumTrials"] = max(int(value), 1)
            report.converted(entry.path, f"stopping.minimumTrials: {rule['minimumTrials']}")
        elif key == "start_step":
            report.warn(entry.path, "stopping.after: 0.1", f"{value} reports; here it is a part of the schedule")
        else:
            report.warn(entry.path, "", "Percentile has no such setting")
        entry.finish()
    found.stopping = [rule]
    note = "the median of running averages, asked at every mark and not only once"
    report.warn(stopping.at("algorithmName"), "stopping: Percentile, percentile 50", note)
    stopping.finish()
