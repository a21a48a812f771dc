"""How far early results can be trusted in this very job, and how often its stopping rules are wrong.

Rank correlation: Spearman's, over completed search trials, between the value at the first mark at which a comparing
rule may judge and the final result. Halving rules are worth their risk only where it is high; on scheduled training it
often is not (about 0.5 on AlgoPerf's published runs at a tenth of training, 0.8 to 0.9 on LCBench and TaskSet).

Wrong-stop rate: audited trials train to the end whatever the rules say. Of those audited trials that completed although
an acting rule wanted to stop them, the share whose result is in the best third of all completed trials' results. The
completed trials are mostly those that no rule stopped, so the best third of them is a higher bar than the best third
of all: the rate is a cautious count of stops that cost something, and rests on few trials (``audit`` of them).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from tuning_operator.curves.marks import MARKS
from tuning_operator.engine.decisions import Action
from tuning_operator.engine.events import EndReason, Role
from tuning_operator.engine.state import Job, Trial
from tuning_operator.schema import Mode
from tuning_operator.stopping.base import StoppingRule
from tuning_operator.stopping.registry import STOPPING_RULES

MINIMUM: Final = 8
"""Completed trials below which no correlation is shown."""
_COMPARING: Final = frozenset(rule.Settings for rule in STOPPING_RULES if rule.monitor is StoppingRule.monitor)
_EARLY: Final = 0.1
_BEST_SHARE: Final = 3


def rank_correlation(job: Job) -> float | None:
    """Return Spearman's correlation of early and final results, or None while fewer than `MINIMUM` are complete."""
    mark = early_mark(job)
    pairs = [
        (_comparable(trial.curve.value_at(mark)), trial.loss)
        for trial in _completed(job)
        if trial.loss is not None and trial.curve.has(mark)
    ]
    if len(pairs) < MINIMUM:
        return None
    return spearman([early for early, _ in pairs], [final for _, final in pairs])


def wrong_stop_rate(job: Job) -> float | None:
    """Return the share of audited would-be stops that ended among the best, or None while there are none."""
    would_stop = {
        decision.trial
        for decision in job.ledger
        if decision.action is Action.STOP and decision.mode is Mode.ACT and not decision.enforced
    }
    if not would_stop:
        return None
    completed = _completed(job)
    losses = sorted(trial.loss for trial in completed if trial.loss is not None)
    audited = [trial for trial in completed if trial.audited and trial.number in would_stop]
    if not audited:
        return None
    wrong = sum(
        trial.loss is not None and _BEST_SHARE * bisect_left(losses, trial.loss) < len(losses) for trial in audited
    )
    return wrong / len(audited)


def early_mark(job: Job) -> int:
    """Return the first mark at which a comparing rule may judge; a tenth of the schedule without such a rule."""
    starts = [
        after
        for settings in job.spec.stopping
        if type(settings) in _COMPARING and isinstance(after := getattr(settings, "after", None), float)
    ]
    return min(max(math.ceil(min(starts, default=_EARLY) * MARKS - 1e-9), 1), MARKS)


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation, equal values sharing their mean rank; None if either side is constant."""
    ranks = _ranks(first), _ranks(second)
    middle = (len(first) - 1) / 2
    left, right = ([rank - middle for rank in side] for side in ranks)
    scale = math.sqrt(math.fsum(x * x for x in left) * math.fsum(y * y for y in right))
    if scale == 0:
        return None
    return math.fsum(x * y for x, y in zip(left, right, strict=True)) / scale


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for place in order[start:end]:
            ranks[place] = (start + end - 1) / 2
        start = end
    return ranks


def _completed(job: Job) -> list[Trial]:
    return [
        trial
        for trial in job.trials.values()
        if trial.role is Role.SEARCH and trial.ended is not None and trial.ended.reason is EndReason.COMPLETED
    ]


def _comparable(value: float) -> float:
    return value if math.isfinite(value) else math.inf
