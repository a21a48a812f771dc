"""Which trial comes next: search trials up to the budget, then the finalists with seeds that the search never saw.

One proposal at a time: each may depend on the one before it, so the next is known only when this one is recorded.
"""

from __future__ import annotations

from typing import Any, Final

from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.engine.events import EndReason, JobStarted, Role, SpaceExhausted, TrialEnded, TrialProposed
from tuning_operator.engine.identity import fixed_parts
from tuning_operator.engine.results import ranking
from tuning_operator.engine.state import Job, Trial
from tuning_operator.errors import SearchSpaceExhausted
from tuning_operator.search.proposer import Ending, Proposer
from tuning_operator.search.sampler import derive_seed

_SEEDS: Final = 2.0**31

_STOPPED: Final = frozenset(
    {EndReason.STOPPED_EARLY, EndReason.BUDGET_EXHAUSTED, EndReason.CANCELLED, EndReason.PREEMPTED}
)


class Proposals:
    """Knows the next trial of one job.

    The proposer is made when it is first needed, from the recorded trials: its library takes a second to import, and
    a process that only shows a job needs no proposals.
    """

    def __init__(self, spec: TuningJobSpec) -> None:
        self._spec = spec
        self._proposer: Proposer | None = None

    def proposed(self, event: TrialProposed) -> None:
        """Take in a recorded proposal."""
        if self._proposer is not None and event.role is Role.SEARCH:
            self._proposer.add_proposed(event.trial, event.parameters)

    def ended(self, trial: Trial) -> None:
        """Take in the end of a trial."""
        if self._proposer is not None and trial.role is Role.SEARCH and trial.ended is not None:
            _tell(self._proposer, trial, trial.ended)

    def next(self, job: Job) -> tuple[type, dict[str, Any]] | None:
        """Return class and fields of the event that is to be recorded next, or None; nothing changes by it."""
        if not job.is_started:
            return JobStarted, {"fixed": fixed_parts(self._spec)}
        if job.over is not None or job.suspended or len(job.active) >= self._spec.budget.parallel:
            return None
        number = len(job.trials) if len(job.trials) not in job.trials else max(job.trials) + 1
        if not job.is_searched:
            return self._search(job, number)
        left = evaluations_left(job)
        if not left:
            return None
        candidate, seed = left[0]
        return TrialProposed, {
            "trial": number,
            "parameters": candidate.parameters,
            "seed": seed,
            "role": Role.EVALUATION,
            "candidate": candidate.number,
        }

    def _search(self, job: Job, number: int) -> tuple[type, dict[str, Any]]:
        proposer = self._proposer
        if proposer is None:
            proposer = self._proposer = self._told(job)
        try:
            parameters = proposer.propose(number=number)
        except SearchSpaceExhausted:
            return SpaceExhausted, {}
        seed = self._spec.search.seed
        return TrialProposed, {
            "trial": number,
            "parameters": parameters,
            "seed": self._training_seed(number),
            "audited": derive_seed(seed, number, "audit") / _SEEDS < self._spec.audit,
        }

    def _told(self, job: Job) -> Proposer:
        proposer = Proposer(self._spec.parameters, self._spec.search)
        for trial in job.trials.values():
            if trial.role is Role.SEARCH:
                proposer.add_proposed(trial.number, trial.parameters)
                if trial.ended is not None:
                    _tell(proposer, trial, trial.ended)
        return proposer

    def _training_seed(self, number: int) -> int:
        """Return the seed a trial trains with; never one that is kept for the evaluation."""
        kept = () if self._spec.evaluation is None else self._spec.evaluation.seeds
        attempt = 0
        while (seed := derive_seed(self._spec.search.seed, number, "training", attempt)) in kept:
            attempt += 1
        return seed


def evaluations_left(job: Job) -> list[tuple[Trial, int]]:
    """Return finalist and seed of every evaluation that is still to be proposed, once the search is over."""
    evaluation = job.spec.evaluation
    if evaluation is None or not job.is_searched:
        return []
    if any(trial.role is Role.SEARCH for trial in job.active.values()):
        return []
    finalists = ranking(job.trials.values(), reduce=job.spec.objective.reduce, whole_only=True)[: evaluation.top]
    return [
        (trial, seed) for trial in finalists for seed in evaluation.seeds if (trial.number, seed) not in job.evaluated
    ]


def _tell(proposer: Proposer, trial: Trial, ended: TrialEnded) -> None:
    """Say how a trial ended.

    A stopped trial teaches what its curve showed. A diverged one is the worst of results, whatever it was before.
    Failures say nothing about the configuration, nor do trials that were ended before their first mark.
    """
    state: Ending = "failed"
    value, marks = trial.loss, [(trial.curve.mark, trial.curve.value)] if trial.curve.mark else []
    if ended.reason in (EndReason.COMPLETED, EndReason.TARGET_REACHED):
        state = "completed"
    elif ended.reason is EndReason.NON_FINITE:
        state, value, marks = "stopped", None, []
    elif ended.reason in _STOPPED and marks:
        state = "stopped"
    proposer.tell(trial.number, value=value, marks=marks, state=state)
