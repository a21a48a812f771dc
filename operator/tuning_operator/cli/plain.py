"""The log of a run for places that cannot redraw: one line for each thing worth reading, never twice."""

from __future__ import annotations

from collections.abc import Callable

from tuning_operator.cli import reading, words
from tuning_operator.engine.events import Role
from tuning_operator.engine.view import JobView, TrialState, TrialView


class PlainReporter:
    """Compares each picture of the job with the one before and writes what is new.

    Args:
        write: Takes one line.
        since: A picture that was shown already, when a run is resumed: what it holds is not said again.
    """

    def __init__(self, write: Callable[[str], None], *, since: JobView | None = None) -> None:
        self._write = write
        self._attempts: dict[int, int] = {}
        self._ended: set[int] = set()
        self._newest_decision = -1
        self._best: tuple[int, float | None] | None = None
        self._notice = ""
        self._remarks: dict[int, str] = {}
        if since is not None:
            self._remember(since)

    def update(self, view: JobView) -> None:
        """Write what happened since the picture before."""
        at = f"[{words.clock(reading.elapsed(view)):>7}]"
        if view.notice and view.notice != self._notice:
            self._write(f"{at} {view.notice}")
        for trial in view.trials:
            if trial.attempt > self._attempts.get(trial.number, 0) and trial.state is not TrialState.PENDING:
                self._write(f"{at} {_started(trial)}")
        for decision in sorted(view.decisions, key=lambda one: one.sequence):
            if decision.sequence > self._newest_decision:
                self._write(f"{at} {words.decision(decision)}")
        for trial in view.trials:
            remark = reading.message(view, trial)
            if trial.state is not TrialState.ENDED and remark and remark != self._remarks.get(trial.number):
                self._write(f"{at} trial {trial.number} {words.state(trial)}: {remark}")
            if trial.state is TrialState.ENDED and trial.number not in self._ended:
                self._write(f"{at} {_ended(view, trial)}")
        if view.best is not None and _identity(view.best) != self._best:
            self._write(
                f"{at} new best: trial {view.best.number} with {view.spec.objective.metric} "
                f"{words.number(reading.score(view.best))} ({words.parameters(view.best.parameters, separator=', ')})"
            )
        self._remember(view)

    def _remember(self, view: JobView) -> None:
        self._notice = view.notice
        for trial in view.trials:
            self._remarks[trial.number] = reading.message(view, trial)
            if trial.state is not TrialState.PENDING:
                self._attempts[trial.number] = max(trial.attempt, self._attempts.get(trial.number, 0))
            if trial.state is TrialState.ENDED:
                self._ended.add(trial.number)
        self._newest_decision = max([one.sequence for one in view.decisions] + [self._newest_decision])
        self._best = _identity(view.best) if view.best is not None else self._best


def _identity(trial: TrialView) -> tuple[int, float | None]:
    return trial.number, reading.score(trial)


def _started(trial: TrialView) -> str:
    if trial.attempt > 1:
        return f"trial {trial.number} started again (attempt {trial.attempt}) from {words.percent(trial.fraction)}"
    what = f"retrains trial {trial.candidate} with a new seed: " if trial.role is Role.EVALUATION else "started: "
    return f"trial {trial.number} {what}{words.parameters(trial.parameters, separator=', ')}"


def _ended(view: JobView, trial: TrialView) -> str:
    value = words.number(trial.result) if trial.result is not None else "no value"
    place = f"{words.state(trial)} at {words.percent(trial.fraction)}"
    line = f"trial {trial.number} {place}: {view.spec.objective.metric} {value}"
    message = reading.message(view, trial)
    return f"{line} ({message})" if message else line
