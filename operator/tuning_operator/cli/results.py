"""``results.csv``: one row per trial, for spreadsheets and notebooks."""

from __future__ import annotations

import csv
import io

from tuning_operator.cli import reading
from tuning_operator.engine.view import JobView
from tuning_operator.schema import Scalar

_COLUMNS = (
    "trial",
    "name",
    "role",
    "candidate",
    "audited",
    "state",
    "reason",
    "result",
    "best",
    "last",
    "fraction",
    "attempts",
    "learning_rate_scale",
    "learning_rate_changes",
    "compute_seconds",
    "gpu_seconds",
    "started",
    "ended",
    "checkpoint",
    "message",
)


def results_csv(view: JobView) -> str:
    """Return the table; a parameter ``lr`` is the column ``parameter.lr``, empty where a trial has none."""
    names = [parameter.name for parameter in view.spec.parameters]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_COLUMNS, *(f"parameter.{name}" for name in names)])
    for trial in view.trials:
        row: list[Scalar | None] = [
            trial.number,
            trial.name,
            trial.role.value,
            trial.candidate,
            trial.audited,
            trial.state.value,
            trial.reason.value if trial.reason else None,
            trial.result,
            trial.best,
            trial.value,
            trial.fraction,
            trial.attempt,
            trial.scale,
            len(reading.learning_rate_changes(view, trial.number)),
            trial.compute_seconds,
            trial.gpu_seconds,
            trial.started,
            trial.ended,
            trial.checkpoint,
            trial.message,
        ]
        writer.writerow([*map(_cell, row), *(_cell(trial.parameters.get(name)) for name in names)])
    return text.getvalue()


def _cell(value: Scalar | None) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
