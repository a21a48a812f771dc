"""What ``-o json`` and ``-o yaml`` print: stable names, plain types, NaN and infinity as words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from trial_protocol.numbers import encode_number
from tuning_operator.cli import reading
from tuning_operator.engine.decisions import Decision
from tuning_operator.engine.view import JobView, TrialView

Document = dict[str, Any]


def render(document: Document, style: str) -> str:
    """Return the document as text."""
    if style == "json":
        return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    import yaml

    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def status_document(view: JobView) -> Document:
    """Counts, best trial, changes, compute."""
    return {
        "name": view.name,
        "finished": view.finished,
        "suspended": view.suspended,
        "notice": view.notice,
        "elapsedSeconds": reading.elapsed(view),
        "objective": {"metric": view.spec.objective.metric, "direction": view.spec.objective.direction.value},
        "trials": {
            "total": len(view.trials),
            "states": {name: count for name, count in sorted(view.states.items()) if count},
            "reasons": {name: count for name, count in sorted(view.reasons.items()) if count},
        },
        "best": None if view.best is None else trial_document(view.best),
        "evaluated": [
            {
                "trial": finalist.trial.number,
                "tuned": number(reading.score(finalist.trial)),
                "values": list(finalist.values),
                "mean": finalist.mean,
                "deviation": finalist.deviation,
                "gap": finalist.gap,
            }
            for finalist in reading.finalists(view)
        ],
        "learningRateChanges": view.learning_rate_changes,
        "computeSeconds": view.compute_seconds,
        "computeSecondsSaved": view.compute_seconds_saved,
        "gpuHours": view.gpu_hours,
        "gpuHoursSaved": view.gpu_hours_saved,
        "rankCorrelation": number(view.rank_correlation),
        "wrongStopRate": number(view.wrong_stop_rate),
    }


def trial_document(trial: TrialView) -> Document:
    """One trial without its curve."""
    return {
        "trial": trial.number,
        "name": trial.name,
        "role": trial.role.value,
        "audited": trial.audited,
        "parameters": plain_mapping(trial.parameters),
        "state": trial.state.value,
        "reason": trial.reason.value if trial.reason else None,
        "message": trial.message,
        "fraction": trial.fraction,
        "value": number(trial.value),
        "best": number(trial.best),
        "result": number(trial.result),
        "learningRate": number(trial.learning_rate),
        "learningRateScale": trial.scale,
        "attempt": trial.attempt,
        "checkpoint": trial.checkpoint,
        "computeSeconds": trial.compute_seconds,
        "gpuSeconds": trial.gpu_seconds,
    }


def decision_document(decision: Decision) -> Document:
    """One line of the ledger."""
    return {
        "sequence": decision.sequence,
        "because": decision.because,
        "time": decision.time,
        "trial": decision.trial,
        "rule": decision.rule,
        "action": decision.action.value,
        "mode": decision.mode.value,
        "enforced": decision.enforced,
        "reason": decision.reason,
        "fraction": decision.fraction,
        "sentence": decision.sentence,
        "inputs": {name: encode_number(value) for name, value in reading.numbers(decision)},
        "compared": decision.compared,
        "saved": decision.saved,
        "revision": decision.revision,
        "scale": decision.scale,
    }


def number(value: float | None) -> float | str | None:
    """Return a number as JSON can say it."""
    return None if value is None else encode_number(value)


def plain_mapping(values: Mapping[str, Any]) -> Document:
    """Return parameters as plain types; a float that is not finite becomes its word."""
    return {name: encode_number(value) if isinstance(value, float) else value for name, value in values.items()}
