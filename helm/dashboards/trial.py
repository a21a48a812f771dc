"""Trial: what one training says of itself, beside what is wanted of it."""

from __future__ import annotations

from typing import Final

from helm.dashboards.panel import Dashboard, Row, Variable, lines

from trial_protocol import names
from tuning_operator.backends.kubernetes import metrics

_ONE: Final = 'namespace="$namespace", tuning_job="$tuning_job", trial="$trial"'

TRIAL: Final = Dashboard(
    uid="tuning-trial",
    title="Trial",
    description="One trial: loss, gradients, learning rate wanted and in force, throughput, memory.",
    variables=(
        Variable(name="namespace", metric=metrics.TRIAL_PROGRESS.name),
        Variable(name="tuning_job", metric=metrics.TRIAL_PROGRESS.name, narrowed_by=("namespace",)),
        Variable(name="trial", metric=metrics.TRIAL_PROGRESS.name, narrowed_by=("namespace", "tuning_job")),
    ),
    rows=(
        Row(
            title="Training",
            panels=(
                lines(
                    "Training loss",
                    "Mean, least and greatest since the last scrape. A greatest far above the mean: single bad "
                    "batches; all three rising: the learning rate is too high.",
                    (f"{names.METRIC_LOSS_MEAN}{{{_ONE}}}", "mean"),
                    (f"{names.METRIC_LOSS_MIN}{{{_ONE}}}", "least"),
                    (f"{names.METRIC_LOSS_MAX}{{{_ONE}}}", "greatest"),
                ),
                lines(
                    "Objective",
                    "Newest and best value, as the operator recorded them.",
                    (f"{metrics.TRIAL_VALUE.name}{{{_ONE}}}", "newest"),
                    (f"{metrics.TRIAL_BEST.name}{{{_ONE}}}", "best"),
                ),
                lines(
                    "Gradient norm",
                    "Rising without end before the loss does: the training is about to diverge; add the rule BackOff.",
                    (f"{names.METRIC_GRADIENT_NORM}{{{_ONE}}}", "norm"),
                    logarithmic=True,
                ),
                lines(
                    "Losses that were not finite",
                    "Any at all: overflow (try bf16 or a lower learning rate) or bad data.",
                    (f"{names.METRIC_LOSS_NONFINITE}{{{_ONE}}}", "NaN or infinite"),
                ),
            ),
        ),
        Row(
            title="Learning rate",
            panels=(
                lines(
                    "Learning rate in force",
                    "The schedule's own, times the scale that rules have set.",
                    (f"{names.METRIC_LEARNING_RATE}{{{_ONE}}}", "in force"),
                    logarithmic=True,
                ),
                lines(
                    "Scale wanted and in force",
                    "Apart for more than a scrape: the trial does not take control messages. Is its port reachable "
                    "from the operator (NetworkPolicy), and does it call poll or report?",
                    (f"{metrics.TRIAL_SCALE.name}{{{_ONE}}}", "wanted"),
                    (f"{names.METRIC_LEARNING_RATE_SCALE}{{{_ONE}}}", "in force"),
                ),
                lines(
                    "Control revision wanted and applied",
                    "The same as counts: each change has the next number.",
                    (f"{metrics.TRIAL_REVISION.name}{{{_ONE}}}", "wanted"),
                    (f"{names.METRIC_CONTROL_REVISION}{{{_ONE}}}", "applied"),
                ),
                lines(
                    "Done",
                    "Part of the schedule. A step back: the trial was restored, or started again from its checkpoint.",
                    (f"{names.METRIC_SCHEDULE_FRACTION}{{{_ONE}}}", "done"),
                    unit="percentunit",
                ),
            ),
        ),
        Row(
            title="Speed and memory",
            panels=(
                lines(
                    "Steps a second",
                    "Falling: input is too slow, or the node is shared. Zero: the training hangs.",
                    (f"rate({names.METRIC_STEP}{{{_ONE}}}[$__rate_interval])", "steps a second"),
                ),
                lines(
                    "Seconds a step",
                    "Mean since the last scrape.",
                    (f"{names.METRIC_STEP_SECONDS}{{{_ONE}}}", "seconds"),
                    unit="s",
                ),
                lines(
                    "Memory",
                    "Of the process, and on its GPU if it has one. Rising steadily: a leak, ending in OutOfMemory.",
                    (f"process_resident_memory_bytes{{{_ONE}}}", "resident"),
                    (f"{names.METRIC_GPU_MEMORY}{{{_ONE}}}", "on the GPU"),
                    unit="bytes",
                ),
                lines(
                    "Attempt",
                    "Rises when the trial starts again: preempted, or failed and retried.",
                    (f"{names.METRIC_ATTEMPT}{{{_ONE}}}", "attempt"),
                ),
            ),
        ),
    ),
)
