"""Tuning overview: every job of every namespace, what they use and what early stopping saves."""

from __future__ import annotations

from typing import Final

from helm.dashboards.panel import Dashboard, Look, Panel, Query, Row, Variable, lines, number

from tuning_operator.backends.kubernetes import metrics

_IN: Final = 'namespace=~"$namespace"'
_JOBS, _TRIALS = metrics.JOBS.name, metrics.TRIALS.name

FLEET: Final = Dashboard(
    uid="tuning-overview",
    title="Tuning overview",
    description="All tuning jobs: how many run, what they use and save, what fails.",
    variables=(Variable(name="namespace", metric=_JOBS, several=True),),
    rows=(
        Row(
            title="Now",
            panels=(
                number(
                    "Jobs running",
                    "TuningJobs with trials to run. None although you applied one: kubectl describe tuningjob.",
                    f'sum({_JOBS}{{{_IN}, state="Running"}}) or vector(0)',
                ),
                number(
                    "Trials running",
                    "Trials whose pods train. Far fewer than spec.budget.parallel: look at the trials that wait.",
                    f'sum({_TRIALS}{{{_IN}, state="Running"}}) or vector(0)',
                ),
                number(
                    "Trials waiting",
                    "Trials without pods: queued, or no node has room. Look at Events of their pods and at quotas.",
                    f'sum({_TRIALS}{{{_IN}, state=~"Pending|Queued"}}) or vector(0)',
                ),
                number(
                    "Compute used",
                    "Seconds that pods of trials ran, as hours, over all jobs that exist.",
                    f"sum({metrics.COMPUTE_SECONDS.name}{{{_IN}}})",
                    unit="s",
                ),
                number(
                    "Compute saved",
                    "Estimate: what trials stopped by rules would still have used. Nothing for days: the rules "
                    "never act; see `tuning explain` and mode Observe.",
                    f"sum({metrics.COMPUTE_SECONDS_SAVED.name}{{{_IN}}})",
                    unit="s",
                ),
                number(
                    "Trials failed",
                    "Trials ended by an error. Reasons are below; each Trial's message names the fix.",
                    f'sum({_TRIALS}{{{_IN}, state="Failed"}}) or vector(0)',
                ),
            ),
        ),
        Row(
            title="Trials",
            panels=(
                lines(
                    "Trials by state",
                    "Pending that grows while Running does not: the cluster is full, or images cannot be pulled.",
                    (f"sum by (state) ({_TRIALS}{{{_IN}}})", "{{state}}"),
                ),
                lines(
                    "Ended trials by reason",
                    "OutOfMemory: raise limits. NonFinite: narrow the learning rate or add the rule BackOff. "
                    "MetricsUnavailable: the trial does not export what spec.objective.metric names.",
                    (f"sum by (reason) ({metrics.TRIALS_ENDED.name}{{{_IN}}}) > 0", "{{reason}}"),
                ),
                lines(
                    "Pods busy",
                    "Pods of trials that ran on average, by namespace.",
                    (
                        f"sum by (namespace) (rate({metrics.COMPUTE_SECONDS.name}{{{_IN}}}[$__rate_interval]))",
                        "{{namespace}}",
                    ),
                ),
                lines(
                    "GPUs busy",
                    "GPUs that pods of trials held on average, by namespace; 0 where trials ask for none.",
                    (
                        f"sum by (namespace) (rate({metrics.GPU_SECONDS.name}{{{_IN}}}[$__rate_interval]))",
                        "{{namespace}}",
                    ),
                ),
            ),
        ),
        Row(
            title="Jobs",
            panels=(
                Panel(
                    title="Best result of each job",
                    advice="A job without a row has no completed trial yet. Open it in the dashboard Tuning job.",
                    queries=(
                        Query(expression=f"{metrics.BEST_VALUE.name}{{{_IN}}}", legend="{{namespace}}/{{tuning_job}}"),
                    ),
                    look=Look.TABLE,
                ),
                lines(
                    "Budget used",
                    "The largest used part of any budget of a job; at 100 % it ends. Raise it with kubectl edit.",
                    (
                        f"max by (namespace, tuning_job) ({metrics.BUDGET_USED.name}{{{_IN}}})",
                        "{{namespace}}/{{tuning_job}}",
                    ),
                    unit="percentunit",
                ),
            ),
        ),
    ),
)
