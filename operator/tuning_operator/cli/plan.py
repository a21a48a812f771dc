"""What a job will do, told before it does it: the space, the budget, and at which steps each rule may act."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, TypeAlias

from tuning_operator.api.tuning_job import TuningJob, TuningJobSpec
from tuning_operator.cli import words
from tuning_operator.control.base import ControlRule
from tuning_operator.control.cool_down import CoolDownSettings
from tuning_operator.control.registry import CONTROL_RULES
from tuning_operator.curves.marks import MARKS
from tuning_operator.schema import Mode, RuleSettings, format_duration
from tuning_operator.search.space import Space
from tuning_operator.stopping.base import StoppingRule
from tuning_operator.stopping.registry import STOPPING_RULES

_ROUNDING: Final = 1e-9
_Rule: TypeAlias = type[StoppingRule] | type[ControlRule]


def plan(job: TuningJob) -> list[str]:
    """Return the plan as plain lines."""
    spec = job.spec
    lines = [
        f"{job.metadata.name}: {spec.objective.direction.value.lower()} {spec.objective.metric}{_target(spec)}",
        f"  search    {_space(spec)}",
        f"  budget    {_budget(spec)}",
        f"  schedule  {_amount(spec.axis.total)} {spec.axis.metric} a trial, judged at {MARKS} marks, "
        f"one every {_amount(spec.axis.total / MARKS)}",
    ]
    if spec.audit and spec.stopping:
        lines.append(
            f"  audit     {words.percent(spec.audit)} of the trials are never stopped: how often is a stop wrong?"
        )
    if spec.evaluation is not None:
        top, seeds = spec.evaluation.top, len(spec.evaluation.seeds)
        lines.append(
            f"  evaluate  the {words.count(top, 'best trial')} again with {words.count(seeds, 'new seed')}: "
            f"{top * seeds} more trainings"
        )
    return [*lines, "", *_rules(spec)]


def _target(spec: TuningJobSpec) -> str:
    return "" if spec.objective.target is None else f", done at {words.number(spec.objective.target)}"


def _space(spec: TuningJobSpec) -> str:
    size = Space(spec.parameters).size
    amount = "continuous" if size is None else words.count(size, "configuration")
    names = ", ".join(parameter.name for parameter in spec.parameters)
    return f"{names}: {amount}; {spec.search.algorithm.value} from seed {spec.search.seed}"


def _budget(spec: TuningJobSpec) -> str:
    budget = spec.budget
    parts = [f"{words.count(budget.trials, 'trial')}, {budget.parallel} at once"]
    if budget.duration is not None:
        parts.append(f"at most {format_duration(budget.duration)}")
    if budget.gpu_hours is not None:
        parts.append(f"at most {words.number(budget.gpu_hours)} GPU-hours")
    parts.append(f"fails after more than {words.count(budget.failed_trials, 'failed trial')}")
    return "; ".join(parts)


def _rules(spec: TuningJobSpec) -> list[str]:
    if not spec.stopping and not spec.control:
        return ["No rules: every trial runs to the end of its schedule."]
    known: dict[str, _Rule] = {rule.name: rule for rule in CONTROL_RULES}
    known.update({rule.name: rule for rule in STOPPING_RULES})
    lines = ["Rules, in the order in which they are asked; ● marks where one may act, · where it is silent:", ""]
    for settings in (*spec.control, *spec.stopping):
        rule = known[str(getattr(settings, "rule", ""))]
        allowed = acting_marks(settings)
        lines.append(f"  {rule.name:<12} {_strip(allowed)}  {_when(rule, settings, allowed, spec)}")
        lines.append(f"  {'':<12} {_purpose(settings)}")
        if settings.mode is Mode.OBSERVE:
            lines.append(f"  {'':<12} Mode Observe: it only writes down what it would have done.")
    return lines


def acting_marks(settings: RuleSettings) -> list[int]:
    """Return the marks (1 to `MARKS` - 1) at or just before which a rule may act."""
    first = max(math.ceil(first_fraction(settings) * MARKS - _ROUNDING), 1)
    return list(range(first, MARKS))


def first_fraction(settings: RuleSettings) -> float:
    """Return the fraction of the schedule before which a rule never acts."""
    if isinstance(settings, CoolDownSettings):
        return 1 - settings.fraction
    return float(getattr(settings, "after", 0.0))


def _when(rule: _Rule, settings: RuleSettings, allowed: Sequence[int], spec: TuningJobSpec) -> str:
    if not allowed:
        return "never"
    first = _amount(spec.axis.total * allowed[0] / MARKS)
    last = _amount(spec.axis.total * allowed[-1] / MARKS)
    if issubclass(rule, StoppingRule) and rule.monitor is not StoppingRule.monitor:
        every = format_duration(spec.metrics.interval)
        return f"at every look ({every}), explosions from {spec.axis.metric} {first} on"
    if rule.judge in (StoppingRule.judge, ControlRule.judge):
        return "whenever an alarm is raised"
    needed = getattr(settings, "minimum_trials", None)
    condition = "" if needed is None else f", once {words.count(needed, 'trial')} completed"
    return f"{spec.axis.metric} {first} to {last}{condition}"


def _purpose(settings: RuleSettings) -> str:
    return " ".join((type(settings).__doc__ or "").split())


def _strip(allowed: Sequence[int]) -> str:
    """Draw every second mark, so that a line fits a terminal."""
    return "".join("●" if mark in allowed or mark - 1 in allowed else "·" for mark in range(2, MARKS + 1, 2))


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else words.number(value)
