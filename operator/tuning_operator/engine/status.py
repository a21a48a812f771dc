"""From the picture of a job to what is written into its status: bounded, and stable while nothing changes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from tuning_operator.api.status import (
    Condition,
    ConditionStatus,
    TrialCounts,
    TrialSummary,
    TuningJobStatus,
)
from tuning_operator.engine.events import EndReason, Role
from tuning_operator.engine.view import JobView, TrialState, TrialView

TOP: Final = 10
_LONGEST_CHECKPOINT: Final = 1024

_SENTENCES: Final[Mapping[str, str]] = {
    "TrialsCompleted": "All trials are done.",
    "TargetReached": "A trial reached the target.",
    "BudgetExhausted": "The budget is used up; raise spec.budget to go on.",
    "SearchSpaceExhausted": "Every configuration of the search space was tried.",
    "TooManyFailures": "More trials failed than spec.budget.failedTrials allows.",
    "Cancelled": "The job was cancelled.",
}


def job_status(
    view: JobView, *, time: float, generation: int | None = None, before: TuningJobStatus | None = None
) -> TuningJobStatus:
    """Return the status of a job whose manifest was accepted.

    Args:
        view: The job.
        time: Now; the transition time of conditions whose status changed.
        generation: Of the manifest that the view was made with.
        before: The status so far; conditions that did not change keep their transition time.
    """
    ranked = [view.trials[place] for place in _places(view)]
    finished_time = max((trial.ended for trial in view.trials if trial.ended is not None), default=view.updated)
    return TuningJobStatus(
        observed_generation=generation,
        conditions=_conditions(view, time=time, generation=generation, before=before),
        trials=_counts(view),
        best=None if view.best is None else _summary(view.best),
        top=tuple(_summary(trial) for trial in ranked[:TOP]),
        gpu_hours_used=_text(view.gpu_hours),
        gpu_hours_saved=_text(view.gpu_hours_saved),
        learning_rate_changes=view.learning_rate_changes,
        rank_correlation=_text(view.rank_correlation),
        wrong_stop_rate=_text(view.wrong_stop_rate),
        start_time=_moment(view.started),
        completion_time=_moment(finished_time) if view.finished is not None else None,
    )


def _conditions(
    view: JobView, *, time: float, generation: int | None, before: TuningJobStatus | None
) -> tuple[Condition, ...]:
    """Return all conditions; the ones that tell most come first, for readers that show the first true one."""
    finished = view.finished
    ended = "" if finished is None else _SENTENCES.get(finished, "")
    is_failed = finished == "TooManyFailures"
    is_running = finished is None and not view.suspended
    is_evaluating = any(trial.role is Role.EVALUATION for trial in view.trials)
    doing = "Evaluating" if is_evaluating else "Searching"
    rows = [
        ("Complete", finished is not None and not is_failed, finished or "InProgress", ended),
        ("Failed", is_failed, finished if is_failed and finished else "NoFailure", ended if is_failed else ""),
        ("Suspended", finished is None and view.suspended, "Suspended" if view.suspended else "NotSuspended", ""),
        ("Running", is_running, doing if is_running else finished or "Suspended", ""),
        ("Accepted", True, "Valid", "The manifest is valid."),
    ]
    known = {} if before is None else {condition.type: condition for condition in before.conditions}
    moment = datetime.fromtimestamp(math.floor(time), tz=UTC)
    found = []
    for name, is_true, reason, message in rows:
        status = ConditionStatus.TRUE if is_true else ConditionStatus.FALSE
        old = known.get(name)
        since = old.last_transition_time if old is not None and old.status is status else moment
        found.append(
            Condition(
                type=name,
                status=status,
                reason=reason,
                message=message,
                last_transition_time=since,
                observed_generation=generation,
            )
        )
    return tuple(found)


def _counts(view: JobView) -> TrialCounts:
    def ended(*reasons: EndReason) -> int:
        return sum(view.reasons.get(reason.value, 0) for reason in reasons)

    return TrialCounts(
        pending=view.states.get(TrialState.PENDING.value, 0),
        running=view.states.get(TrialState.RUNNING.value, 0),
        paused=view.states.get(TrialState.PAUSED.value, 0),
        completed=ended(EndReason.COMPLETED, EndReason.TARGET_REACHED),
        stopped_early=ended(EndReason.STOPPED_EARLY, EndReason.NON_FINITE),
        failed=ended(*(reason for reason in EndReason if reason.is_failure)),
    )


def _places(view: JobView) -> list[int]:
    place = {trial.number: index for index, trial in enumerate(view.trials)}
    return [place[number] for number in view.ranking[:TOP]]


def _summary(trial: TrialView) -> TrialSummary:
    return TrialSummary(
        name=trial.name,
        value=_text(trial.result),
        parameters=dict(trial.parameters),
        checkpoint=trial.checkpoint if 0 < len(trial.checkpoint) <= _LONGEST_CHECKPOINT else None,
    )


def shown_text(value: float) -> str:
    """Return a number as people read it in a table, to six digits; records have all of them."""
    if math.isnan(value):
        return "NaN"
    return repr(float(f"{value:.6g}")).replace("inf", "Infinity")


def _text(value: float | None) -> str | None:
    return None if value is None else shown_text(value)


def _moment(time: float | None) -> datetime | None:
    return None if time is None else datetime.fromtimestamp(math.floor(time), tz=UTC)
