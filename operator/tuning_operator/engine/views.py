"""The state as people see it: values in their own direction, newest values that are not recorded yet among them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from statistics import fmean

from tuning_operator.curves.marks import MARKS
from tuning_operator.engine.calibration import rank_correlation, wrong_stop_rate
from tuning_operator.engine.decisions import Action
from tuning_operator.engine.events import Role
from tuning_operator.engine.finish import finished
from tuning_operator.engine.live import Live
from tuning_operator.engine.proposals import evaluations_left
from tuning_operator.engine.results import ranking
from tuning_operator.engine.savings import estimate_saved
from tuning_operator.engine.state import Job, Trial
from tuning_operator.engine.view import CandidateView, CurvePoint, JobView, TrialState, TrialView


def view_job(
    job: Job, *, name: str, live: Mapping[int, Live], time: float, gpu_seconds: float, points: bool = True
) -> JobView:
    """Return the picture of a job.

    Args:
        job: The state.
        name: Of the job; trials are called after it.
        live: What was seen of running trials, by number.
        time: Now.
        gpu_seconds: Of the whole job so far as the meter says; ended trials' own account counts if it is more.
        points: Whether trials come with their curves, which take nearly all of the time.
    """
    trials = {
        trial.number: _view_trial(job, trial, name=name, live=live.get(trial.number), time=time, points=points)
        for trial in job.trials.values()
    }
    candidates = _candidates(job)
    ranked = ranking(job.trials.values(), reduce=job.spec.objective.reduce)
    is_evaluated = candidates and candidates[0].mean is not None and not _is_evaluating(job)
    best = candidates[0].candidate if is_evaluated else ranked[0].number if ranked else None
    ended_gpu_seconds = math.fsum(view.gpu_seconds for view in trials.values())
    return JobView(
        name=name,
        spec=job.spec,
        suspended=job.suspended,
        finished=finished(job),
        trials=tuple(trials.values()),
        decisions=tuple(job.ledger),
        best=None if best is None else trials[best],
        states=Counter(view.state.value for view in trials.values()),
        reasons=Counter(view.reason.value for view in trials.values() if view.reason is not None),
        learning_rate_changes=sum(
            one.enforced and one.action in (Action.CHANGE_LEARNING_RATE, Action.BEGIN_DECAY) for one in job.ledger
        ),
        compute_seconds=math.fsum(view.compute_seconds for view in trials.values()),
        compute_seconds_saved=estimate_saved(
            (one.reason, one.fraction, one.compute_seconds) for one in trials.values()
        ),
        gpu_hours=max(ended_gpu_seconds, gpu_seconds) / 3600,
        gpu_hours_saved=estimate_saved((one.reason, one.fraction, one.gpu_seconds) for one in trials.values()) / 3600,
        rank_correlation=rank_correlation(job),
        wrong_stop_rate=wrong_stop_rate(job),
        started=job.first_time,
        updated=job.last_time,
        candidates=candidates,
        ranking=tuple(trial.number for trial in ranked),
    )


def _view_trial(job: Job, trial: Trial, *, name: str, live: Live | None, time: float, points: bool) -> TrialView:
    sign, curve, ended = job.sign, trial.curve, trial.ended
    value = best = learning_rate = None
    if curve.mark:
        value, learning_rate = sign * curve.value, curve.learning_rate
    best_loss = curve.best
    fraction = curve.fraction
    if live is not None:
        value = value if math.isnan(live.value) and value is None else sign * live.value
        learning_rate = live.learning_rate
        best_loss = min(best_loss, live.best)
        fraction = min(max(live.position / job.spec.axis.total, 0.0), 1.0)
    if trial.loss is not None:
        best_loss = min(best_loss, trial.loss)
    if math.isfinite(best_loss):
        best = sign * best_loss
    if ended is None:
        state = TrialState.PENDING if trial.attempt == 0 else TrialState.RUNNING
        state = TrialState.PAUSED if job.suspended else state
        compute = 0.0 if trial.started is None else max(time - trial.started, 0.0)
    else:
        state, compute, fraction = TrialState.ENDED, ended.compute_seconds, ended.fraction
    return TrialView(
        number=trial.number,
        name=f"{name}-{trial.number:04d}",
        role=trial.role,
        candidate=trial.candidate,
        audited=trial.audited,
        parameters=trial.parameters,
        state=state,
        reason=None if ended is None else ended.reason,
        message=ended.message if ended else "" if trial.stopped is None else trial.stopped.sentence,
        attempt=trial.attempt,
        fraction=fraction,
        value=value,
        best=best,
        result=None if trial.loss is None else sign * trial.loss,
        learning_rate=learning_rate,
        scale=trial.control.scale,
        revision=trial.control.revision,
        applied_revision=0 if live is None else live.applied_revision,
        checkpoint="" if ended is None else ended.checkpoint,
        started=trial.started,
        ended=None if ended is None else ended.time,
        compute_seconds=compute,
        gpu_seconds=0.0 if ended is None else ended.gpu_seconds,
        points=tuple(
            CurvePoint(fraction=at.mark / MARKS, value=sign * at.value, learning_rate=at.learning_rate) for at in curve
        )
        if points
        else (),
    )


def _candidates(job: Job) -> tuple[CandidateView, ...]:
    """Return the finalists, best first: by their mean where every seed gave a value, else after those."""
    evaluation = job.spec.evaluation
    if evaluation is None:
        return ()
    losses: dict[int, list[float]] = {}
    for trial in job.trials.values():
        if trial.role is Role.EVALUATION and trial.candidate is not None:
            found = losses.setdefault(trial.candidate, [])
            if trial.loss is not None:
                found.append(trial.loss)
    whole = len(evaluation.seeds)
    order = sorted(
        losses, key=lambda number: (fmean(losses[number]) if len(losses[number]) >= whole else math.inf, number)
    )
    return tuple(
        CandidateView(
            candidate=number,
            results=tuple(job.sign * loss for loss in losses[number]),
            mean=job.sign * fmean(losses[number]) if len(losses[number]) >= whole else None,
        )
        for number in order
    )


def _is_evaluating(job: Job) -> bool:
    if any(trial.role is Role.EVALUATION for trial in job.active.values()):
        return True
    return job.over is None and bool(evaluations_left(job))
