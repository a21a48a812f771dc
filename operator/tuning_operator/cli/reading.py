"""Questions that every view, table and report asks of a `JobView`, answered once."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tuning_operator.api.tuning_job import Direction
from tuning_operator.engine.decisions import Action, Decision
from tuning_operator.engine.events import Role
from tuning_operator.engine.view import JobView, TrialState, TrialView

_CONTROL = frozenset({Action.CHANGE_LEARNING_RATE, Action.BEGIN_DECAY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalist:
    """A trial retrained with seeds that the search never saw.

    Attributes:
        values: Result of every retraining that ended with a finite one.
        gap: Mean of `values` minus the result of tuning, turned so that positive means: worse than tuning promised.
    """

    trial: TrialView
    values: tuple[float, ...]
    mean: float
    deviation: float
    gap: float


def maximises(view: JobView) -> bool:
    """Whether more is better."""
    return view.spec.objective.direction is Direction.MAXIMIZE


def elapsed(view: JobView) -> float:
    """Seconds from the start of the job to this picture of it."""
    if view.started is None or view.updated is None:
        return 0.0
    return max(view.updated - view.started, 0.0)


def score(trial: TrialView) -> float | None:
    """The finite number by which a trial is ranked: its result, or its best value so far."""
    value = trial.result if trial.result is not None else trial.best
    return value if value is not None and math.isfinite(value) else None


def loss(view: JobView, value: float) -> float:
    """Turn a value so that lower is better."""
    return -value if maximises(view) else value


def ranked(view: JobView, trials: Iterable[TrialView]) -> list[TrialView]:
    """Order trials from best to worst; those without a finite value come last, by number."""

    def key(trial: TrialView) -> tuple[bool, float, int]:
        value = score(trial)
        return (value is None, 0.0 if value is None else loss(view, value), trial.number)

    return sorted(trials, key=key)


def search_trials(view: JobView) -> list[TrialView]:
    """Trials of the search, finalists' retrainings left out."""
    return [trial for trial in view.trials if trial.role is Role.SEARCH]


def with_result(view: JobView) -> list[TrialView]:
    """Search trials that ended with a finite result, in the order of their numbers."""
    return [
        trial
        for trial in search_trials(view)
        if trial.state is TrialState.ENDED and trial.result is not None and math.isfinite(trial.result)
    ]


def decisions_on(view: JobView, trial: int) -> list[Decision]:
    """Every decision on one trial, oldest first."""
    return sorted((one for one in view.decisions if one.trial == trial), key=lambda one: one.sequence)


def numbers(decision: Decision) -> list[tuple[str, float]]:
    """Return the numbers behind a decision by name: objects on a cluster know no other order."""
    return sorted(decision.inputs.items())


def changes_learning_rate(decision: Decision) -> bool:
    """Whether the decision steers rather than stops."""
    return decision.action in _CONTROL


def learning_rate_changes(view: JobView, trial: int) -> list[Decision]:
    """Carried-out changes of one trial's learning rate, oldest first."""
    return [one for one in decisions_on(view, trial) if one.enforced and changes_learning_rate(one)]


def stopped_by(view: JobView, trial: TrialView) -> str | None:
    """Return the rule (or the budget) that ended this trial; None if it ended by itself or goes on."""
    if trial.state is not TrialState.ENDED:
        return None
    stops = [one for one in decisions_on(view, trial.number) if one.enforced and one.action is Action.STOP]
    return stops[-1].rule if stops else None


def message(view: JobView, trial: TrialView) -> str:
    """Return what is said about a trial's end, unless a decision on it says so already."""
    told = trial.message
    return "" if any(told in one.sentence for one in decisions_on(view, trial.number)) else told


def saved_share(view: JobView) -> float:
    """Part of the compute that would have been used without stops, between 0 and 1."""
    whole = view.compute_seconds + view.compute_seconds_saved
    return view.compute_seconds_saved / whole if whole > 0 else 0.0


def finalists(view: JobView) -> list[Finalist]:
    """Compare each finalist's result in tuning with its retrainings, best retraining first."""
    by_number = {trial.number: trial for trial in view.trials}
    values: dict[int, list[float]] = {}
    for trial in view.trials:
        if trial.role is Role.EVALUATION and trial.candidate in by_number and trial.result is not None:
            found = values.setdefault(trial.candidate, [])
            if math.isfinite(trial.result):
                found.append(trial.result)
    found_finalists = [
        _finalist(view, by_number[number], results)
        for number, results in values.items()
        if results and by_number[number].result is not None
    ]
    return sorted(found_finalists, key=lambda finalist: loss(view, finalist.mean))


def _finalist(view: JobView, trial: TrialView, values: Sequence[float]) -> Finalist:
    mean = statistics.fmean(values)
    promised = score(trial)
    return Finalist(
        trial=trial,
        values=tuple(values),
        mean=mean,
        deviation=statistics.stdev(values) if len(values) > 1 else 0.0,
        gap=0.0 if promised is None else loss(view, mean) - loss(view, promised),
    )
