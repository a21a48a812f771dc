"""Asks the rules about one recorded mark or alarm, and writes what they say as decisions.

Order: the target and the end of the job come first (they are found while folding, `Job.over`), then control rules, then
stopping rules, each in the order of the manifest. The first enforced answer ends the round: a trial whose learning rate
has just been changed is not stopped for what it did before. Rules that only observe, and stopping rules on an audited
trial, write their decision once a trial and change nothing, so the round goes on.

Gates: trials that are to stop and jobs that are over are not judged, and finalists that are retrained are steered as
they were in the search, or their results would not be the same, but no stopping rule is asked. Nor is the last mark
judged: the schedule is done, so there is nothing left to save or to steer. Inside the quiet window after a change no
stopping rule judges a mark. Alarms have no quiet window: their monitors forget everything at a change and see only what
the trial did since it was applied.
"""

from __future__ import annotations

from sys import intern
from typing import Any, Final

from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.control.base import ControlRule, ControlVerdict
from tuning_operator.control.registry import CONTROL_RULES
from tuning_operator.curves.alarm import Alarm
from tuning_operator.curves.marks import MARKS
from tuning_operator.engine.decisions import Action, Decision
from tuning_operator.engine.events import AlarmRaised, Event, MarkReached, Role
from tuning_operator.engine.state import Job, Trial
from tuning_operator.schema import Mode
from tuning_operator.stopping.base import Monitor, StoppingRule, StopVerdict
from tuning_operator.stopping.registry import STOPPING_RULES

ROOM: Final = 40
"""Distance of the sequence numbers of two events. A decision's number is its event's plus its place in the round, so
that judging again after a crash gives the same records. A manifest has at most 16 rules of either kind."""

_ROUNDING: Final = 1e-9


class Judge:
    """The rules of one job."""

    def __init__(self, spec: TuningJobSpec) -> None:
        controls = {rule.Settings: rule for rule in CONTROL_RULES}
        stoppings = {rule.Settings: rule for rule in STOPPING_RULES}
        self._control: list[tuple[ControlRule, Mode]] = [
            (controls[type(settings)](settings), settings.mode) for settings in spec.control
        ]
        self._stopping: list[tuple[StoppingRule, Mode]] = [
            (stoppings[type(settings)](settings), settings.mode) for settings in spec.stopping
        ]
        self._total = spec.axis.total

    def monitors(self) -> list[tuple[str, Monitor]]:
        """Return new watchers for one trial, each with the name of its rule."""
        made = ((rule.name, rule.monitor(total=self._total)) for rule, _ in self._stopping)
        return [(name, monitor) for name, monitor in made if monitor is not None]

    def judge(self, job: Job, event: Event) -> list[Decision]:
        """Return the decisions about an event that has just been folded; nothing changes by it."""
        if type(event) is MarkReached:
            trial = job.trials[event.trial]
            curve, mark = trial.curve, event.at.mark
            # A mark that the fold left out (a late one, of an attempt that is over) is not judged either.
            is_newest = mark == curve.mark and event.attempt == curve.attempt
            if is_newest and mark < MARKS and _may_judge(job, trial):
                return self._mark(job, trial, event)
        elif type(event) is AlarmRaised:
            trial = job.trials[event.trial]
            if event.attempt >= trial.attempt and _may_judge(job, trial):
                return self._alarm(job, trial, event)
        return []

    def _mark(self, job: Job, trial: Trial, event: MarkReached) -> list[Decision]:
        curve, fraction = trial.curve, event.at.mark / MARKS
        round_: _Round | None = None  # Nearly all marks pass without a word, so nothing is made for them.
        for control, mode in self._control:
            change = control.judge(curve, trial.control)
            if change is not None:
                round_ = round_ or _Round(trial, event, fraction, job.sign)
                if round_.change(control.name, mode, change):
                    return round_.decisions
        if trial.role is Role.SEARCH and fraction >= trial.quiet_until - _ROUNDING:
            for rule, mode in self._stopping:
                verdict = rule.judge(curve, job.study)
                if verdict is not None:
                    round_ = round_ or _Round(trial, event, fraction, job.sign)
                    if round_.stop(rule.name, mode, verdict):
                        break
        return [] if round_ is None else round_.decisions

    def _alarm(self, job: Job, trial: Trial, event: AlarmRaised) -> list[Decision]:
        round_ = _Round(trial, event, event.fraction, job.sign)
        alarm = Alarm(kind=event.alarm, position=event.fraction * self._total, numbers=event.numbers)
        for control, mode in self._control:
            change = control.judge_alarm(alarm, trial.curve, trial.control)
            if change is not None and round_.change(control.name, mode, change):
                return round_.decisions
        for rule, mode in self._stopping:
            if rule.name != event.rule or trial.role is not Role.SEARCH:
                continue
            verdict = rule.judge_alarm(alarm, trial.curve)
            if verdict is not None and round_.stop(rule.name, mode, verdict):
                break
        return round_.decisions


class _Round:
    """The decisions about one event, in order.

    Sentences are interned: rules say the same of many trials, and the ledger keeps it all.
    """

    __slots__ = ("_event", "_said", "_sign", "_trial", "decisions", "fraction")

    def __init__(self, trial: Trial, event: MarkReached | AlarmRaised, fraction: float, sign: float) -> None:
        self._trial = trial
        self._event = event
        self._said = trial.observed
        self._sign = sign
        self.fraction = fraction
        self.decisions: list[Decision] = []

    def change(self, rule: str, mode: Mode, verdict: ControlVerdict) -> bool:
        """Write a change of the learning rate; return whether it ends the round."""
        enforced = mode is Mode.ACT
        if not enforced and self._is_said(rule):
            return False
        control = self._trial.control
        begins = verdict.begin_decay and not control.begin_decay
        self._write(
            rule=rule,
            action=Action.BEGIN_DECAY if begins else Action.CHANGE_LEARNING_RATE,
            mode=mode,
            enforced=enforced,
            sentence=intern(verdict.sentence),
            inputs=verdict.inputs,
            revision=control.revision + 1 if enforced else 0,
            scale=control.scale if verdict.scale is None else verdict.scale,
            begin_decay=verdict.begin_decay or control.begin_decay,
            restore=verdict.restore,
            quiet=verdict.quiet,
        )
        return enforced

    def stop(self, rule: str, mode: Mode, verdict: StopVerdict) -> bool:
        """Write a stop; return whether it ends the round."""
        enforced = mode is Mode.ACT and not self._trial.audited
        if not enforced and self._is_said(rule):
            return False
        sentence, inputs = verdict.tell(sign=self._sign)
        self._write(
            rule=rule,
            action=Action.STOP,
            mode=mode,
            enforced=enforced,
            sentence=intern(sentence),
            reason=verdict.reason,
            inputs=inputs,
            compared=verdict.compared,
            saved=1.0 - self.fraction if enforced else 0.0,
        )
        return enforced

    def _is_said(self, rule: str) -> bool:
        if rule in self._said:
            return True
        self._said = (*self._said, rule)
        return False

    def _write(self, **fields: Any) -> None:
        event = self._event
        self.decisions.append(
            Decision(
                sequence=event.sequence + len(self.decisions) + 1,
                time=event.time,
                because=event.sequence,
                trial=self._trial.number,
                fraction=self.fraction,
                **fields,
            )
        )


def _may_judge(job: Job, trial: Trial) -> bool:
    return trial.stopped is None and trial.ended is None and job.over is None
