from __future__ import annotations

from typing import Any

import pytest

from tuning_operator.api.tuning_job import TuningJob
from tuning_operator.errors import ManifestError, SamplerUnavailable
from tuning_operator.search.check import check_space, load_job
from tuning_operator.search.proposer import Proposer

LR = {"name": "lr", "type": "Float", "min": 0.001, "max": 0.1, "scale": "Log"}
WIDTH = {"name": "width", "type": "Int", "min": 8, "max": 64, "step": 8}
OPTIMIZER = {"name": "optimizer", "type": "Categorical", "choices": ["adamw", "sgd"]}
MOMENTUM = {"name": "momentum", "type": "Float", "min": 0, "max": 0.9, "when": {"optimizer": ["sgd"]}}


def manifest(parameters: list[dict[str, Any]], **search: Any) -> dict[str, Any]:
    return {
        "apiVersion": "tuning-operator.io/v1alpha1",
        "kind": "TuningJob",
        "metadata": {"name": "digits"},
        "spec": {
            "objective": {"metric": "eval_loss"},
            "axis": {"total": 100},
            "parameters": parameters,
            "search": search,
        },
    }


def mistakes(parameters: list[dict[str, Any]], **search: Any) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        load_job(manifest(parameters, **search))
    return [str(problem) for problem in caught.value.problems]


def test_a_right_space_has_no_mistakes() -> None:
    job = load_job(manifest([LR, WIDTH, OPTIMIZER, MOMENTUM], initial=[{"optimizer": "sgd", "momentum": 0.5}]))
    assert isinstance(job, TuningJob)
    assert check_space(job.spec.parameters, job.spec.search) == []


@pytest.mark.parametrize(
    ("parameters", "search", "expected"),
    [
        (
            [LR, LR],
            {},
            [
                "spec.parameters[1].name: lr is also the name of spec.parameters[0]; each parameter needs "
                "a name of its own"
            ],
        ),
        (
            [OPTIMIZER, {**MOMENTUM, "when": {"optimiser": ["sgd"]}}],
            {},
            [
                "spec.parameters[momentum].when.optimiser: found a parameter that does not exist, expected one of "
                "optimizer, momentum; did you mean optimizer?"
            ],
        ),
        (
            [OPTIMIZER, {**MOMENTUM, "when": {"optimizer": ["SGD"]}}],
            {},
            [
                'spec.parameters[momentum].when.optimizer[0]: found "SGD", expected a value of optimizer: '
                "one of adamw, "
                "sgd; did you mean sgd?"
            ],
        ),
        (
            [{**OPTIMIZER, "when": {"momentum": [0.5]}}, MOMENTUM],
            {},
            [
                "spec.parameters[optimizer].when: the conditions form a circle, so none can be met: "
                "optimizer -> momentum -> optimizer"
            ],
        ),
        (
            [LR, {"name": "drop", "type": "Float", "min": 0, "max": 1}],
            {"algorithm": "Grid"},
            [
                "spec.parameters[lr].step: found no step, expected a step, because spec.search.algorithm is Grid and a "
                "Float has no end of values; write the values as choices of a Categorical",
                "spec.parameters[drop].step: found no step, expected a step, because spec.search.algorithm "
                "is Grid and a "
                "Float has no end of values",
            ],
        ),
        (
            [LR, OPTIMIZER, MOMENTUM],
            {"algorithm": "CMAES"},
            [
                "spec.parameters[optimizer].type: found Categorical, expected Float or Int, because "
                "spec.search.algorithm CMAES moves through numbers only; use algorithm: TPE, which takes every kind of "
                "parameter",
                "spec.parameters[momentum].when: spec.search.algorithm CMAES needs parameters that always exist; use "
                "algorithm: TPE, which takes every kind of parameter",
            ],
        ),
        (
            [LR],
            {"algorithm": "CMAES"},
            [
                "spec.search.algorithm: CMAES needs at least two parameters with more than one value; use algorithm: "
                "TPE, which takes one"
            ],
        ),
        (
            [LR, WIDTH, OPTIMIZER, MOMENTUM],
            {
                "initial": [
                    {"lr": 1, "width": 9, "optimizer": "sgdd"},
                    {"rate": 0.1},
                    {"momentum": 0.5},
                    {"momentum": 0.5, "optimizer": "adamw"},
                    {"lr": 0.01},
                    {"lr": 0.01},
                ]
            },
            [
                "spec.search.initial[0].lr: found 1, expected a number from 0.001 to 0.1",
                "spec.search.initial[0].width: found 9, expected 8 plus a multiple of the step 8, such as 8 or 16",
                'spec.search.initial[0].optimizer: found "sgdd", expected one of adamw, sgd; did you mean sgd?',
                "spec.search.initial[1].rate: found a parameter that does not exist, expected one of lr, width, "
                "optimizer, momentum",
                "spec.search.initial[2].momentum: momentum exists only where optimizer is sgd, and here "
                "optimizer is not "
                "given; add optimizer: sgd",
                "spec.search.initial[3].momentum: momentum exists only where optimizer is sgd, and here optimizer is "
                "adamw; leave momentum out",
                "spec.search.initial[5]: repeats spec.search.initial[4]; leave it out, or set "
                "spec.search.allowDuplicates: true",
            ],
        ),
    ],
)
def test_mistakes_between_fields(parameters: list[dict[str, Any]], search: dict[str, Any], expected: list[str]) -> None:
    assert mistakes(parameters, **search) == expected


def test_mistakes_in_fields_and_between_them_come_together() -> None:
    found = mistakes([{**LR, "min": "low"}, WIDTH], algorithm="CMAEZ", initial=[{"lr": 5, "width": 65}])
    assert found == [
        'spec.parameters[lr].min: found "low", expected a number',
        'spec.search.algorithm: found "CMAEZ", expected one of Random, Grid, Sobol, TPE, GP, '
        "CMAES; did you mean CMAES?",
        "spec.search.initial[0].width: found 65, expected a whole number from 8 to 64",
    ]


def test_gp_says_that_torch_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    job = load_job(manifest([LR], algorithm="GP"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SamplerUnavailable, match="GP needs torch, which is not installed here; install torch, or use"):
        Proposer(job.spec.parameters, job.spec.search)
