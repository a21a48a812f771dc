"""What records share in objects: numbers, which are texts there, and decisions.

Numbers are texts because JSON knows no NaN and an API server gives 1.0 back as 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tuning_operator.api import record as bounds
from tuning_operator.backends.kubernetes.resources import Object
from tuning_operator.engine.decisions import Action, Decision
from tuning_operator.schema import Mode


def number_text(value: float) -> str:
    """Return a number as text that reads back as the very same number."""
    value = float(value)
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def write_numbers(numbers: Mapping[str, float]) -> dict[str, str]:
    """Return named numbers as an object holds them, no more than its bound."""
    return {name: number_text(value) for name, value in list(numbers.items())[: bounds.MAX_NUMBERS]}


def read_numbers(numbers: Mapping[str, str] | None) -> dict[str, float]:
    """Undo `write_numbers`."""
    return {name: float(value) for name, value in (numbers or {}).items()}


def write_decision(decision: Decision, *, of_trial: bool) -> Object:
    """Return a decision as an object holds it; `of_trial`: in a Trial, which knows its own number."""
    out: Object = {
        "sequence": decision.sequence,
        "because": decision.because,
        "time": number_text(decision.time),
        "rule": decision.rule,
        "action": str(decision.action),
        "mode": str(decision.mode),
        "enforced": decision.enforced,
        "sentence": decision.sentence[: bounds.MAX_SENTENCE],
        "fraction": number_text(decision.fraction),
        "inputs": write_numbers(decision.inputs),
        "compared": decision.compared,
    }
    if decision.reason:
        out["reason"] = decision.reason
    if decision.saved:
        out["saved"] = number_text(decision.saved)
    if decision.action in (Action.CHANGE_LEARNING_RATE, Action.BEGIN_DECAY):
        out |= {
            "revision": decision.revision,
            "scale": number_text(decision.scale),
            "beginDecay": decision.begin_decay,
            "restore": decision.restore,
            "quiet": number_text(decision.quiet),
        }
    if not of_trial and decision.trial is not None:
        out["trial"] = decision.trial
    return out


def read_decision(found: Mapping[str, Any], trial: int | None) -> Decision:
    """Undo `write_decision`; `trial` is that of the Trial, None for the whole job."""
    return Decision(
        sequence=found["sequence"],
        time=float(found["time"]),
        because=found["because"],
        trial=found.get("trial", trial),
        rule=found["rule"],
        action=Action(found["action"]),
        mode=Mode(found["mode"]),
        enforced=found["enforced"],
        sentence=found["sentence"],
        reason=found.get("reason", ""),
        fraction=float(found.get("fraction", "0.0")),
        inputs=read_numbers(found.get("inputs")),
        compared=found.get("compared", 0),
        saved=float(found.get("saved", "0.0")),
        revision=found.get("revision", 0),
        scale=float(found.get("scale", "1.0")),
        begin_decay=found.get("beginDecay", False),
        restore=found.get("restore", False),
        quiet=float(found.get("quiet", "0.0")),
    )
