"""The end of a job: the ledger's line for it, and what becomes of the trials that are still there.

A job that is over (`Job.over`) proposes nothing any more and wants every trial stopped. It is finished once the last of
them has ended. What the other trials end as:

=================  ====================================================================
job is over by     running trials end as
=================  ====================================================================
TargetReached      TargetReached (the trial that reached it), Cancelled (the others)
BudgetExhausted    BudgetExhausted
TooManyFailures    Cancelled
Cancelled          Cancelled
=================  ====================================================================

A job that has no more to do (``TrialsCompleted``, ``SearchSpaceExhausted``) lets running trials go on to their end.
"""

from __future__ import annotations

from tuning_operator.engine.decisions import Action, Decision
from tuning_operator.engine.events import EndReason, Event
from tuning_operator.engine.judge import ROOM
from tuning_operator.engine.proposals import evaluations_left
from tuning_operator.engine.state import Job, Trial
from tuning_operator.schema import Mode


def finished(job: Job) -> str | None:
    """Return why the job is over and done, or None while it goes on."""
    if job.active:
        return None
    if job.over is not None:
        return job.over
    if not job.is_searched or evaluations_left(job):
        return None
    return "SearchSpaceExhausted" if job.searched < job.spec.budget.trials else "TrialsCompleted"


def finish_decision(job: Job, event: Event) -> Decision | None:
    """Return the line that ends the job, unless the ledger has it already; `event` is the newest one."""
    reason = job.over
    if reason is None or reason == "Cancelled" or job.announced == reason:
        return None
    budget = job.spec.budget
    trial, rule, inputs = None, "Target", {}
    if reason == "TargetReached":
        assert job.target_trial is not None
        trial = job.target_trial
        reached = job.trials[trial]
        loss = reached.curve.best if reached.loss is None else reached.loss
        target = float(job.spec.objective.target or 0.0)
        inputs = {"value": job.sign * loss, "target": target}
        sentence = f"trial {trial} reached the target {target:.4g} with {job.sign * loss:.4g}"
    elif reason == "TooManyFailures":
        rule, inputs = "Budget.failedTrials", {"failed": float(job.failures), "allowed": float(budget.failed_trials)}
        sentence = f"{job.failures} trials failed; budget.failedTrials allows {budget.failed_trials}"
    elif budget.duration is not None and job.limits.get("duration", -1.0) >= budget.duration.total_seconds():
        used, allowed = job.limits["duration"], budget.duration.total_seconds()
        rule, inputs = "Budget.duration", {"used": used, "allowed": allowed}
        sentence = f"the job has run for {used:.0f} s; budget.duration allows {allowed:.0f} s"
    else:
        used, allowed = job.limits["gpuHours"], float(budget.gpu_hours or 0.0)
        rule, inputs = "Budget.gpuHours", {"used": used, "allowed": allowed}
        sentence = f"{used:.3g} GPU-hours are used; budget.gpuHours allows {allowed:.3g}"
    return Decision(
        sequence=event.sequence + ROOM - 1,
        time=event.time,
        because=event.sequence,
        trial=trial,
        rule=rule,
        action=Action.FINISH,
        mode=Mode.ACT,
        enforced=True,
        sentence=sentence,
        reason=reason,
        inputs=inputs,
    )


def end_of(job: Job, trial: Trial) -> tuple[EndReason, str]:
    """Return what a running trial of a job that is over is to end as, and why for a person."""
    match job.over:
        case "TargetReached" if trial.number == job.target_trial:
            return EndReason.TARGET_REACHED, "it reached the target"
        case "TargetReached":
            return EndReason.CANCELLED, f"trial {job.target_trial} reached the target"
        case "BudgetExhausted":
            return EndReason.BUDGET_EXHAUSTED, "the budget of the job is used up"
        case "TooManyFailures":
            return EndReason.CANCELLED, "too many trials of the job failed"
        case _:
            return EndReason.CANCELLED, "the job was cancelled"
