"""Every name that operator and trial must agree on, in one place.

Metrics that a trial reports keep the name that its author gave them (``eval_loss``); what the client adds on its own
is prefixed with ``tuning_``, so the two can never collide.
"""

from __future__ import annotations

from typing import Final

# Environment of a trial's process.
ENV_JOB: Final = "TUNING_JOB"
ENV_TRIAL: Final = "TUNING_TRIAL"
ENV_IDENTITY: Final = "TUNING_IDENTITY"
ENV_ATTEMPT: Final = "TUNING_ATTEMPT"
ENV_PARAMETERS: Final = "TUNING_PARAMETERS"
ENV_SEED: Final = "TUNING_SEED"
ENV_PORT: Final = "TUNING_PORT"
ENV_CHECKPOINT_URI: Final = "TUNING_CHECKPOINT_URI"
ENV_CONTROL: Final = "TUNING_CONTROL"
ENV_PUBLIC_KEY: Final = "TUNING_PUBLIC_KEY"
ENV_AXIS: Final = "TUNING_AXIS"
ENV_TOTAL: Final = "TUNING_TOTAL"
ENV_TERMINATION_PATH: Final = "TUNING_TERMINATION_PATH"
ENV_PARAMETER_PREFIX: Final = "TUNING_PARAM_"

DEFAULT_TERMINATION_PATH: Final = "/dev/termination-log"

# What the client exports beside the metrics that the author reports.
METRIC_STEP: Final = "train_step"
METRIC_TOKENS: Final = "train_tokens"
METRIC_SAMPLES: Final = "train_samples"
METRIC_EPOCHS: Final = "train_epochs"
METRIC_SECONDS: Final = "train_seconds"
METRIC_LOSS_MEAN: Final = "tuning_train_loss_window_mean"
METRIC_LOSS_MIN: Final = "tuning_train_loss_window_min"
METRIC_LOSS_MAX: Final = "tuning_train_loss_window_max"
METRIC_LOSS_COUNT: Final = "tuning_train_loss_window_count"
METRIC_LOSS_NONFINITE: Final = "tuning_train_loss_nonfinite_total"
METRIC_GRADIENT_NORM: Final = "tuning_gradient_norm"
METRIC_LEARNING_RATE: Final = "tuning_learning_rate"
METRIC_LEARNING_RATE_SCALE: Final = "tuning_learning_rate_scale"
METRIC_CONTROL_REVISION: Final = "tuning_control_revision"
METRIC_SCHEDULE_FRACTION: Final = "tuning_schedule_fraction"
METRIC_STEP_SECONDS: Final = "tuning_step_seconds"
METRIC_GPU_MEMORY: Final = "tuning_gpu_memory_bytes"
METRIC_ATTEMPT: Final = "tuning_attempt"
METRIC_EVALUATION_STEP: Final = "tuning_evaluation_step"
"""With the label ``metric``: the step at which the exported value of that reported metric was measured. ``train_step``
moves on with every training step, an evaluation's value does not."""
METRIC_EVALUATION_POSITION: Final = "tuning_evaluation_position"
METRIC_EVALUATION_TIME: Final = "tuning_evaluation_timestamp_seconds"
METRIC_EVALUATION_LEARNING_RATE: Final = "tuning_evaluation_learning_rate"
"""With the same label: where on the job's axis, when (seconds since the epoch, by the trial's clock) and with which
learning rate it was measured: the whole evaluation, for readers that have no `PATH_HISTORY`, as Prometheus."""
LABEL_METRIC: Final = "metric"

COUNTERS: Final = frozenset({METRIC_STEP, METRIC_TOKENS, METRIC_SAMPLES, METRIC_EPOCHS, METRIC_SECONDS})
"""Axes: what may say how far a training is."""
WINDOW_METRICS: Final = frozenset(
    {METRIC_LOSS_MEAN, METRIC_LOSS_MIN, METRIC_LOSS_MAX, METRIC_LOSS_COUNT, METRIC_STEP_SECONDS}
)
"""Asking for one of these (or for everything) ends the scraper's window and begins its next."""

# Requests a trial answers.
PATH_METRICS: Final = "/metrics"
PATH_HISTORY: Final = "/history"
PATH_CONTROL: Final = "/control"

#: ``GET /metrics?window=operator`` keeps its own loss window, so that a Prometheus server which scrapes the same
#: trial does not empty the window between two looks of the operator.
QUERY_WINDOW: Final = "window"
OPERATOR_WINDOW: Final = "operator"
QUERY_NAMES: Final = "name[]"

#: ``GET /history``: only records with ``step > after``; at most ``limit`` of them; only records that came after an
#: earlier answer, whose `HEADER_NEXT` is the ``cursor``. A trial that goes back to a checkpoint reports steps again:
#: ``after`` cannot see those, ``cursor`` misses none. An answer of ``/metrics`` may carry the header too, as a reader
#: has it who has read all of the history: whoever has it already need not ask for more.
QUERY_AFTER: Final = "after"
QUERY_LIMIT: Final = "limit"
QUERY_CURSOR: Final = "cursor"
HEADER_NEXT: Final = "Tuning-Next"

ANNOUNCEMENT: Final = "tuning: serving on port"
"""Start of the line on standard output that tells the port when `ENV_PORT` is 0."""

# Exit codes of a trial's process.
EXIT_CONFIGURATION_ERROR: Final = 64
"""The configuration cannot work (BSD's EX_USAGE): retrying would fail the same way."""
