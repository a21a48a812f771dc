"""The last words about a job: what was found, how the trials ended, what it cost and what was saved."""

from __future__ import annotations

from collections.abc import Mapping

from tuning_operator.cli import reading, words
from tuning_operator.engine.decisions import Action
from tuning_operator.engine.events import EndReason
from tuning_operator.engine.view import JobView, TrialState, TrialView


def summary(view: JobView) -> list[str]:
    """Return the summary as plain lines; ``status`` and the end of ``run`` show the same."""
    metric = view.spec.objective.metric
    lines = [_heading(view)]
    if view.notice:
        lines.append(f"Notice:     {view.notice}")
    if view.best is None:
        lines.append(f"Best:       no trial has a finite {metric} yet")
    else:
        lines.append(f"Best:       trial {view.best.number} with {metric} {words.number(reading.score(view.best))}")
        lines += [f"              {name}: {words.scalar(value)}" for name, value in view.best.parameters.items()]
        lines += [f"              {sentence}" for sentence in steering_sentences(view, view.best)]
        if view.best.checkpoint:
            lines.append(f"              checkpoint: {view.best.checkpoint}")
    lines += [f"Evaluated:  {sentence}" for sentence in evaluation_sentences(view)]
    lines.append(f"Trials:     {trial_counts(view)}")
    lines.append(f"Steering:   {words.count(view.learning_rate_changes, 'learning-rate change')}")
    lines.append(f"Compute:    {compute_sentence(view)}")
    if view.gpu_hours or view.gpu_hours_saved:
        used, saved = (words.number(hours, digits=3) for hours in (view.gpu_hours, view.gpu_hours_saved))
        lines.append(f"GPU-hours:  {used} used, about {saved} saved")
    lines += [f"Checked:    {sentence}" for sentence in trust_sentences(view)]
    return lines


def _heading(view: JobView) -> str:
    if view.finished:
        why = words.FINISHED_SENTENCES.get(view.finished, view.finished)
        return f"{view.name} finished after {words.duration(reading.elapsed(view))}: {why}"
    state = "is suspended" if view.suspended else "is not finished"
    return f"{view.name} {state}; {words.duration(reading.elapsed(view))} so far"


def trial_counts(view: JobView) -> str:
    """Return ``16: 9 completed, 7 stopped early``."""
    parts = [f"{amount} {REASON_TEXT.get(reason, reason)}" for reason, amount in _by_count(view.reasons)]
    parts += [
        f"{amount} {state.lower()}"
        for state, amount in _by_count(view.states)
        if amount and state != TrialState.ENDED.value
    ]
    return f"{len(view.trials)}: {', '.join(parts)}" if parts else str(len(view.trials))


REASON_TEXT: Mapping[str, str] = {reason.value: words.REASON_WORDS[reason] for reason in EndReason}


def _by_count(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(((name, amount) for name, amount in counts.items() if amount), key=lambda pair: (-pair[1], pair[0]))


def compute_sentence(view: JobView) -> str:
    """Return what was used and about how much the stops saved."""
    used = f"{words.duration(view.compute_seconds)} used"
    if not view.compute_seconds_saved:
        return f"{used}, nothing saved by stopping"
    share = words.percent(reading.saved_share(view))
    return f"{used}, about {words.duration(view.compute_seconds_saved)} saved by stopping early ({share} of the whole)"


def steering_sentences(view: JobView, trial: TrialView) -> list[str]:
    """Return what a reader of a trial's parameters must know besides: that its learning rate was changed."""
    scaled = [
        f"×{words.number(one.scale, digits=3)} at {words.percent(one.fraction)}"
        for one in reading.learning_rate_changes(view, trial.number)
        if one.action is Action.CHANGE_LEARNING_RATE
    ]
    if not scaled:
        return []
    return [f"its learning rate was changed while it trained: {', '.join(scaled)} of the schedule"]


def evaluation_sentences(view: JobView) -> list[str]:
    """Return one sentence for each retrained finalist: what tuning promised and what new seeds gave."""
    sentences = []
    for finalist in reading.finalists(view):
        spread = f" ± {words.number(finalist.deviation, digits=2)}" if len(finalist.values) > 1 else ""
        off = f"{words.number(abs(finalist.gap), digits=2)} {'worse' if finalist.gap > 0 else 'better'} than"
        sentences.append(
            f"trial {finalist.trial.number} gave {words.number(finalist.mean)}{spread} with "
            f"{words.count(len(finalist.values), 'new seed')}; tuning said "
            f"{words.number(reading.score(finalist.trial))}, so it is {off if finalist.gap else 'as good as'} it looked"
        )
    return sentences


def trust_sentences(view: JobView) -> list[str]:
    """Return how well early results predicted final ones, where that is known."""
    sentences = []
    if view.rank_correlation is not None:
        sentences.append(
            f"early and final results agree with a rank correlation of {words.number(view.rank_correlation, digits=2)} "
            "(1 is perfect, 0 is chance)"
        )
    if view.wrong_stop_rate is not None:
        sentences.append(
            f"{words.percent(view.wrong_stop_rate)} of the audited would-be stops ended among the best trials"
        )
    return sentences
