"""Optuna's model-based samplers, TPE and GP, as pure functions of the recorded trials.

Optuna's samplers read a study from a storage. A storage that only shows our own history, and a new sampler with the
proposal's own seed each time, leave nothing that a restart could lose and make a restart free: the study is never
replayed. (TPE keeps only a random state between proposals; GP keeps its last fit, which it uses as a starting point.)

Only whole configurations that were recorded reach the model; a running trial counts by the constant liar (TPE) or by
the expected improvement over it (GP).
"""

from __future__ import annotations

import importlib.util
import warnings
from abc import ABC, abstractmethod
from collections.abc import Container, Iterable
from datetime import UTC, datetime
from typing import Any, Final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tuning_operator.api.parameters import ParameterType
from tuning_operator.errors import SamplerUnavailable
from tuning_operator.search.dimension import Code, Dimension
from tuning_operator.search.history import History, Recorded, Standing
from tuning_operator.search.sampler import Draw
from tuning_operator.search.space import Space

_STUDY: Final = "job"
_EPOCH: Final = datetime.fromtimestamp(0, tz=UTC)


class OptunaSampler(ABC):
    """Drives one of Optuna's samplers from our history."""

    def __init__(self, space: Space) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._distributions = {dimension.name: _distribution(dimension) for dimension in space.dimensions}
        self._conditional = space.is_conditional
        self._storage = _Shown()
        self._storage.create_new_study([StudyDirection.MINIMIZE], _STUDY)
        self._cache: dict[int, tuple[Recorded, float | None, FrozenTrial]] = {}

    @abstractmethod
    def _sampler(self, *, seed: int) -> BaseSampler: ...

    @abstractmethod
    def _shown(self, history: History) -> Iterable[FrozenTrial]: ...

    def begin(self, history: History, *, number: int, seed: int) -> Draw:
        """Fit the model; parameters that it does not cover are drawn one by one."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._storage.trials = list(self._shown(history))
            study = optuna.Study(_STUDY, self._storage, pruner=optuna.pruners.NopPruner())
            sampler = self._sampler(seed=seed)
            trial = _frozen(number, {}, {}, TrialState.RUNNING)
            sampler.before_trial(study, trial)
            space = sampler.infer_relative_search_space(study, trial)
            together = sampler.sample_relative(study, trial, space)

        def draw(dimension: Dimension) -> Code:
            distribution = self._distributions[dimension.name]
            if distribution.single():
                return dimension.nth(0)
            code: Code
            if dimension.name in together:
                code = together[dimension.name]
            else:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    code = sampler.sample_independent(study, trial, dimension.name, distribution)
            return code

        return draw

    def _show(self, trial: Recorded, state: TrialState, loss: float | None) -> FrozenTrial:
        known = self._cache.get(trial.number)
        if known is not None and known[0] is trial and known[1] == loss:
            return known[2]
        distributions = {name: self._distributions[name] for name in trial.codes}
        frozen = _frozen(trial.number, trial.codes, distributions, state, loss=loss, mark=trial.mark)
        self._cache[trial.number] = (trial, loss, frozen)
        return frozen


class TPE(OptunaSampler):
    """Tree-structured Parzen estimator over all parameters together (Bergstra 2011; multivariate: Falkner 2018).

    Stopped trials are shown as pruned at their last mark, so they rank behind completed ones, later stops first.
    """

    def _sampler(self, *, seed: int) -> BaseSampler:
        return TPESampler(seed=seed, multivariate=True, group=self._conditional, constant_liar=True)

    def _shown(self, history: History) -> Iterable[FrozenTrial]:
        for trial in history.trials():
            if trial.standing is Standing.RUNNING:
                yield self._show(trial, TrialState.RUNNING, None)
            elif trial.standing is Standing.COMPLETED and trial.loss is not None:
                yield self._show(trial, TrialState.COMPLETE, trial.loss)
            elif trial.standing is not Standing.FAILED:
                yield self._show(trial, TrialState.PRUNED, trial.loss)


class GP(OptunaSampler):
    """Gaussian process with expected improvement; best below 200 trials, and needs torch.

    It learns from completed trials only, so all that ended with something to learn from are shown as completed
    (`History.losses`). Parameters under a condition are drawn at random.

    Raises:
        SamplerUnavailable: torch is not installed.
    """

    def __init__(self, space: Space) -> None:
        if importlib.util.find_spec("torch") is None:
            raise SamplerUnavailable(
                "spec.search.algorithm GP needs torch, which is not installed here; "
                "install torch, or use algorithm: TPE"
            )
        super().__init__(space)

    def _sampler(self, *, seed: int) -> BaseSampler:
        return GPSampler(seed=seed)

    def _shown(self, history: History) -> Iterable[FrozenTrial]:
        losses = {trial.number: loss for trial, loss in history.losses()}
        for trial in history.trials():
            if trial.standing is Standing.RUNNING:
                yield self._show(trial, TrialState.RUNNING, None)
            elif trial.number in losses:
                yield self._show(trial, TrialState.COMPLETE, losses[trial.number])


class _Shown(InMemoryStorage):
    """A storage that shows the trials it was given, and forgets what a sampler notes on the one it is working on."""

    def __init__(self) -> None:
        super().__init__()
        self.trials: list[FrozenTrial] = []

    def get_all_trials(
        self,
        study_id: int,  # noqa: ARG002
        deepcopy: bool = True,  # noqa: ARG002
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        return [trial for trial in self.trials if states is None or trial.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        pass


def _distribution(dimension: Dimension) -> BaseDistribution:
    if dimension.type is ParameterType.CATEGORICAL:
        return CategoricalDistribution(range(dimension.count or 1))
    if dimension.positional:
        return IntDistribution(0, (dimension.count or 1) - 1)
    if dimension.type is ParameterType.INT:
        return IntDistribution(int(dimension.low), int(dimension.high), log=True)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.is_log)


def _frozen(
    number: int,
    codes: dict[str, Code],
    distributions: dict[str, BaseDistribution],
    state: TrialState,
    *,
    loss: float | None = None,
    mark: int = 0,
) -> FrozenTrial:
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=state,
        value=loss if state is TrialState.COMPLETE else None,
        datetime_start=_EPOCH,
        datetime_complete=None if state is TrialState.RUNNING else _EPOCH,
        params=codes,
        distributions=distributions,
        user_attrs={},
        system_attrs={},
        intermediate_values={mark: loss} if state is TrialState.PRUNED and loss is not None else {},
    )
