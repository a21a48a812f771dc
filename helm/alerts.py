"""The alerts, each with its runbook in `docs/runbooks/`; `helm.generate` writes them into the chart.

What carries a job's name stays as long as the TuningJob does, so what only matters while it runs asks for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from tuning_operator.backends.kubernetes import metrics

_RUNBOOKS: Final = "docs/runbooks"
_JOB: Final = "{{ $labels.namespace }}/{{ $labels.tuning_job }}"
_RUNS: Final = (
    f'and on (namespace, tuning_job) sum by (namespace, tuning_job) ({metrics.TRIALS.name}{{state="Running"}}) > 0'
)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """From where on something is wrong; seconds and parts of one.

    Attributes:
        patience: Seconds for which an expression must hold before its alert fires.
        stuck: Seconds in which a running trial must move on its axis.
        waiting: Seconds in which a trial that is to run, and is not queued, must have its pods.
        acknowledged: Seconds in which a trial must take a control message.
        diverging: Part of the ended trials (three at least) that diverged.
        budget: Used part of the duration, the GPU-hours or the failures.
    """

    patience: int = 300
    stuck: float = 1800
    waiting: float = 1800
    acknowledged: float = 300
    diverging: float = 0.5
    budget: float = 0.9


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One alert; `name` is also the name of its runbook's page."""

    name: str
    expression: str
    summary: str
    severity: str = "warning"
    patience: int = 0


def alerts(limits: Limits = Limits()) -> tuple[Alert, ...]:
    """Return all alerts."""
    stops = f'{metrics.DECISIONS.name}{{rule="Divergence", verdict="Stop", enforced="true"}}'
    diverged = f"sum by (namespace, tuning_job) ({stops})"
    ended = f"sum by (namespace, tuning_job) ({metrics.TRIALS_ENDED.name})"
    return (
        Alert(
            name="TuningOperatorDown",
            expression=f"absent({metrics.LEADER.name} == 1)",
            summary="No tuning operator leads: running trials go on, but none is judged, started or stopped.",
            severity="critical",
            patience=limits.patience,
        ),
        Alert(
            name="TuningScrapesFailing",
            expression=f"{metrics.UNREADABLE.name} > 0",
            summary=f"{{{{ $value }}}} running trials of {_JOB} cannot be read.",
            patience=limits.patience,
        ),
        Alert(
            name="TuningTrialStuck",
            expression=f"{metrics.STALL.name} > {limits.stuck:g} or {metrics.WAIT.name} > {limits.waiting:g}",
            summary=f"A trial of {_JOB} has not moved, or has waited for its pods, for "
            "{{ $value | humanizeDuration }}.",
        ),
        Alert(
            name="TuningControlNotAcknowledged",
            expression=f"{metrics.CONTROL_WAIT.name} > {limits.acknowledged:g}",
            summary=f"A trial of {_JOB} has not taken a change of its learning rate for "
            "{{ $value | humanizeDuration }}.",
        ),
        Alert(
            name="TuningTrialsDiverging",
            expression=f"{diverged} / {ended} >= {limits.diverging:g} and {ended} >= 3 {_RUNS}",
            summary=f"{{{{ $value | humanizePercentage }}}} of the ended trials of {_JOB} diverged.",
        ),
        Alert(
            name="TuningBudgetNearlyUsed",
            expression=f'{metrics.BUDGET_USED.name}{{budget!="trials"}} >= {limits.budget:g} {_RUNS}',
            summary=f"{_JOB} has used {{{{ $value | humanizePercentage }}}} of its budget {{{{ $labels.budget }}}}.",
        ),
    )


def rule_file(limits: Limits = Limits()) -> dict[str, Any]:
    """Return the alerts as Prometheus reads them."""
    rules = []
    for alert in alerts(limits):
        rule: dict[str, Any] = {"alert": alert.name, "expr": alert.expression}
        if alert.patience:
            rule["for"] = f"{alert.patience}s"
        rule["labels"] = {"severity": alert.severity}
        rule["annotations"] = {"summary": alert.summary, "runbook": f"{_RUNBOOKS}/{alert.name}.md"}
        rules.append(rule)
    return {"groups": [{"name": "tuning-operator", "rules": rules}]}
