"""Optuna's MedianPruner and Ray Tune's ASHA, each driven through its own classes with the same curves."""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from benchmarks.engine.driven import curve
from benchmarks.engine.measures import per_decision

from tuning_operator.curves.marks import MARKS


def optuna_study(trials: int) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=5))
    study.add_trials(
        optuna.trial.create_trial(
            value=min(values), intermediate_values=dict(enumerate(values, start=1)), params={}, distributions={}
        )
        for values in map(curve, range(trials))
    )
    return study


def optuna_result(trial: Any, step: int, value: float) -> None:
    trial.report(value, step)
    trial.should_prune()


def optuna_decision(trials: int) -> float:
    study = optuna_study(trials)

    def looks() -> Iterator[Callable[[], Any]]:
        for number in range(4):
            trial = study.ask()
            for step, value in enumerate(curve(number), start=1):
                yield partial(optuna_result, trial, step, value)
            study.tell(trial, 1.0)

    return per_decision(looks)


def ray_scheduler(trials: int) -> Any:
    from ray.tune.schedulers import AsyncHyperBandScheduler

    scheduler = AsyncHyperBandScheduler(metric="loss", mode="min", max_t=MARKS)
    for number in range(trials):
        ray_trial(scheduler, number)
        for step, value in enumerate(curve(number), start=1):
            ray_result(scheduler, number, step, value)
    return scheduler


def ray_trial(scheduler: Any, number: int) -> None:
    scheduler.on_trial_add(None, types.SimpleNamespace(trial_id=str(number)))


def ray_result(scheduler: Any, number: int, step: int, value: float) -> None:
    result = {"training_iteration": step, "loss": value}
    scheduler.on_trial_result(None, types.SimpleNamespace(trial_id=str(number)), result)


def ray_decision(trials: int) -> float:
    scheduler = ray_scheduler(trials)
    numbers = iter(range(trials, trials + 1000))

    def looks() -> Iterator[Callable[[], Any]]:
        for _ in range(20):
            number = next(numbers)
            ray_trial(scheduler, number)
            for step, value in enumerate(curve(number), start=1):
                yield partial(ray_result, scheduler, number, step, value)

    return per_decision(looks)


def is_installed(module: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            __import__(module)
    except ImportError:
        return False
    return True
