"""Why a trial was treated as it was: every decision in order, or why there was none."""

from __future__ import annotations

import math

from tuning_operator.cli import documents, reading, words
from tuning_operator.cli.documents import Document
from tuning_operator.cli.plan import first_fraction
from tuning_operator.engine.decisions import Decision
from tuning_operator.engine.events import EndReason, Role
from tuning_operator.engine.view import JobView, TrialState, TrialView
from tuning_operator.errors import RunNotFound
from tuning_operator.schema import RuleSettings


def find_trial(view: JobView, wanted: str) -> TrialView:
    """Return the trial with this number or name.

    Raises:
        RunNotFound: The job has no such trial; the text says which there are.
    """
    for trial in view.trials:
        if wanted in (str(trial.number), trial.name) or (wanted.isdecimal() and int(wanted) == trial.number):
            return trial
    numbers = [trial.number for trial in view.trials]
    there = f"its trials are {min(numbers)} to {max(numbers)}" if numbers else "it has no trials yet"
    raise RunNotFound(f"{view.name} has no trial {wanted}; {there}")


def explain(view: JobView, trial: TrialView) -> list[str]:
    """Return the story of one trial as plain lines."""
    lines = [
        f"Trial {trial.number} of {view.name}: {words.parameters(trial.parameters, separator=', ')}",
        _standing(view, trial),
    ]
    if message := reading.message(view, trial):
        lines.append(f"It says: {message}")
    decisions = reading.decisions_on(view, trial.number)
    lines.append("")
    if not decisions:
        return [*lines, "No decision was made about it.", *(f"  {why}" for why in why_no_decision(view, trial))]
    acted = [one for one in decisions if one.enforced]
    observed = len(decisions) - len(acted)
    told = words.count(len(acted), "decision") + (
        f", and {observed} that a rule saw but did not carry out" if observed else ""
    )
    lines.append(f"{told}:")
    for decision in decisions:
        lines += _story(view, decision)
    return lines


def explain_document(view: JobView, trial: TrialView) -> Document:
    """Return the same for programs."""
    decisions = reading.decisions_on(view, trial.number)
    return {
        "job": view.name,
        **documents.trial_document(trial),
        "decisions": [documents.decision_document(one) for one in decisions],
        "whyNone": [] if decisions else why_no_decision(view, trial),
    }


def _standing(view: JobView, trial: TrialView) -> str:
    metric = view.spec.objective.metric
    if trial.state is TrialState.PENDING:
        return "It waits for its turn."
    value = words.number(trial.result if trial.result is not None else trial.value)
    if trial.state is not TrialState.ENDED:
        return f"It is {words.state(trial)} at {words.percent(trial.fraction)} of its schedule; {metric} is {value}."
    text = f"It ended as {words.state(trial)} at {words.percent(trial.fraction)} of its schedule; {metric} {value}"
    order = [one.number for one in reading.ranked(view, reading.with_result(view))]
    if trial.number in order:
        text += f", place {order.index(trial.number) + 1} of {len(order)}"
    return text + "."


def _story(view: JobView, decision: Decision) -> list[str]:
    at = words.clock(decision.time - view.started) if view.started is not None else ""
    place = f"  {at:>7}  at {words.percent(decision.fraction)}"
    if decision.enforced:
        lines = [f"{place}  {decision.rule}: {words.deed(decision)}: {decision.sentence}"]
    else:
        lines = [f"{place}  {decision.rule} would have {words.would(decision)}: {decision.sentence}"]
        lines.append(f"           Nothing was done: {why_not_enforced(view, decision)}.")
    numbers = [f"{name} {words.number(value)}" for name, value in reading.numbers(decision)]
    if decision.compared:
        numbers.append(f"compared with {words.count(decision.compared, 'trial')}")
    if reading.changes_learning_rate(decision):
        numbers.append(f"learning-rate scale {words.number(decision.scale)} as revision {decision.revision}")
    if decision.saved:
        numbers.append(f"saves {words.percent(decision.saved)} of its schedule")
    if numbers:
        lines.append("           from: " + "; ".join(numbers))
    return lines


def why_not_enforced(view: JobView, decision: Decision) -> str:
    """Return why a rule's decision was only written down."""
    if decision.mode.value == "Observe":
        return f"{decision.rule} has mode Observe"
    trial = next((one for one in view.trials if one.number == decision.trial), None)
    if trial is not None and trial.audited:
        return "this trial is audited, no rule may stop it"
    return "it was only observed"


def why_no_decision(view: JobView, trial: TrialView) -> list[str]:
    """Return the likely reasons, from the rules' settings and from what was there to compare."""
    if trial.role is Role.EVALUATION:
        return ["It retrains a finalist with a new seed; no rule may stop such trials."]
    rules = [*view.spec.control, *view.spec.stopping]
    if not rules:
        return ["The job has no rules: neither spec.stopping nor spec.control names one."]
    if trial.state is TrialState.PENDING or not trial.points:
        return ["It has reported nothing yet that a rule could judge."]
    completed = _completed_before(view, trial)
    reasons = [_why_silent(rule, trial, completed) for rule in rules]
    if trial.audited:
        reasons.append("It is audited: no rule may stop it, and none would have.")
    return reasons


def _completed_before(view: JobView, trial: TrialView) -> int:
    end = trial.ended if trial.ended is not None else math.inf
    return sum(
        1
        for other in view.trials
        if other.number != trial.number
        and other.reason in (EndReason.COMPLETED, EndReason.TARGET_REACHED)
        and (other.ended or 0.0) <= end
    )


def _why_silent(rule: RuleSettings, trial: TrialView, completed: int) -> str:
    name = str(getattr(rule, "rule", type(rule).__name__))
    after = first_fraction(rule)
    needed = getattr(rule, "minimum_trials", None)
    if trial.fraction < after:
        return f"{name} acts after {words.percent(after)} of the schedule; it was at {words.percent(trial.fraction)}."
    if needed is not None and completed < needed:
        return f"{name} needs {words.count(needed, 'completed trial')} to compare with; there were {completed}."
    judged = sum(1 for point in trial.points if point.fraction >= after)
    return f"{name} saw no reason to act at any of its {words.count(judged, 'mark')}."
