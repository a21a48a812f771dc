"""Tuning job: all curves of one job, what was done to them, and what they cost."""

from __future__ import annotations

from typing import Final

from helm.dashboards.panel import Annotation, Dashboard, Look, Panel, Query, Row, Variable, lines, number

from tuning_operator.backends.kubernetes import metrics

_ONE: Final = 'namespace="$namespace", tuning_job="$tuning_job"'
_DECISIONS: Final = metrics.DECISIONS.name
_PARAMETER: Final = metrics.TRIAL_PARAMETER.name


def _decided(verdicts: str) -> str:
    return f'sum by (rule) (increase({_DECISIONS}{{{_ONE}, verdict=~"{verdicts}", enforced="true"}}[$__interval])) > 0'


JOB: Final = Dashboard(
    uid="tuning-job",
    title="Tuning job",
    description="The curves of one job's trials, the stops and changes, the best result and its price.",
    variables=(
        Variable(name="namespace", metric=metrics.JOB_INFO.name),
        Variable(name="tuning_job", metric=metrics.JOB_INFO.name, narrowed_by=("namespace",)),
        Variable(name="parameter", metric=_PARAMETER, narrowed_by=("namespace", "tuning_job")),
    ),
    annotations=(
        Annotation(name="Stops", expression=_decided("Stop"), colour="red"),
        Annotation(
            name="Learning-rate changes",
            expression=_decided("ChangeLearningRate|BeginDecay"),
            colour="blue",
        ),
    ),
    rows=(
        Row(
            title="Now",
            panels=(
                number(
                    "Best result",
                    "Of the trials that have ended. Its parameters: `tuning best`, or kubectl get tuningjob -o yaml.",
                    f"{metrics.BEST_VALUE.name}{{{_ONE}}}",
                ),
                number(
                    "Trials running", "Trials whose pods train.", f'{metrics.TRIALS.name}{{{_ONE}, state="Running"}}'
                ),
                number(
                    "Stopped early",
                    "Trials that a rule stopped. All of them: the rule is too strict; try it with mode Observe.",
                    f'{metrics.TRIALS.name}{{{_ONE}, state="StoppedEarly"}}',
                ),
                number(
                    "Failed",
                    "At spec.budget.failedTrials the job fails. The Trials' messages name cause and fix.",
                    f'{metrics.TRIALS.name}{{{_ONE}, state="Failed"}}',
                ),
                number(
                    "Compute saved",
                    "Estimate: what stopped trials would still have used.",
                    f"{metrics.COMPUTE_SECONDS_SAVED.name}{{{_ONE}}}",
                    unit="s",
                ),
                number(
                    "Budget used",
                    "The largest used part of any budget; at 100 % the job ends and keeps what it found.",
                    f"max({metrics.BUDGET_USED.name}{{{_ONE}}})",
                    unit="percentunit",
                ),
            ),
        ),
        Row(
            title="Curves",
            panels=(
                lines(
                    "Objective",
                    "The newest value of each running trial (100 at most). Flat: the trial is stuck, or its metric "
                    "is not reported any more. Red marks are stops, blue ones changes of the learning rate.",
                    (f"{metrics.TRIAL_VALUE.name}{{{_ONE}}}", "{{trial}}"),
                    width=24,
                ),
                lines(
                    "Learning rate in force",
                    "As the trials report it. A change that does not show was not acknowledged: see dashboard Trial.",
                    (f"{metrics.TRIAL_LEARNING_RATE.name}{{{_ONE}}}", "{{trial}}"),
                    logarithmic=True,
                ),
                lines(
                    "Done",
                    "Part of the schedule that is trained. Lines that do not rise: the trial is stuck.",
                    (f"{metrics.TRIAL_PROGRESS.name}{{{_ONE}}}", "{{trial}}"),
                    unit="percentunit",
                ),
            ),
        ),
        Row(
            title="What was found, and its price",
            panels=(
                lines(
                    "Best result so far",
                    "Flat for most of the budget: the space is exhausted, or too small a part of it is good.",
                    (f"{metrics.BEST_VALUE.name}{{{_ONE}}}", "best"),
                ),
                lines(
                    "Compute used and saved",
                    "Used so far, and the estimate of what stops have saved. Read beside the best result: what the "
                    "last improvement cost.",
                    (f"{metrics.COMPUTE_SECONDS.name}{{{_ONE}}}", "used"),
                    (f"{metrics.COMPUTE_SECONDS_SAVED.name}{{{_ONE}}}", "saved"),
                    unit="s",
                ),
                Panel(
                    title="Best value against $parameter",
                    advice="Of running trials and those that ended in the last minutes; `tuning report` has all. Good "
                    "values at an edge of the range: widen the range in a new job.",
                    queries=(
                        Query(
                            expression=f'max by (trial) ({_PARAMETER}{{{_ONE}, parameter="$parameter"}})',
                            legend="$parameter",
                        ),
                        Query(expression=f"max by (trial) ({metrics.TRIAL_BEST.name}{{{_ONE}}})", legend="best value"),
                    ),
                    look=Look.SCATTER,
                    joined_by="trial",
                ),
                lines(
                    "Trials by state",
                    "Pending that stays: the cluster has no room, or images cannot be pulled.",
                    (f"{metrics.TRIALS.name}{{{_ONE}}}", "{{state}}"),
                ),
            ),
        ),
        Row(
            title="Can the decisions be trusted?",
            panels=(
                lines(
                    "Decisions",
                    "By rule and verdict; enforced=false: only observed, or audited. `tuning explain` has each.",
                    (f"{_DECISIONS}{{{_ONE}}}", "{{rule}} {{verdict}} enforced={{enforced}}"),
                ),
                lines(
                    "Early ranks and wrong stops",
                    "Rank correlation near 0: early values say little about final ones here, so stop later. Wrong "
                    "stops: audited trials that a rule would have stopped although they ended among the best.",
                    (f"{metrics.RANK_CORRELATION.name}{{{_ONE}}}", "rank correlation"),
                    (f"{metrics.WRONG_STOPS.name}{{{_ONE}}}", "wrong stops"),
                ),
            ),
        ),
    ),
)
