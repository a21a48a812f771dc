"""What every algorithm must do, whatever it is."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tuning_operator.api.parameters import Parameter
from tuning_operator.api.tuning_job import Algorithm, Search
from tuning_operator.errors import LogError, SearchSpaceExhausted
from tuning_operator.schema import Scalar
from tuning_operator.search.proposer import Proposer

ALL = list(Algorithm)
NO_GRID = [algorithm for algorithm in ALL if algorithm is not Algorithm.GRID]
MIXED = [algorithm for algorithm in NO_GRID if algorithm is not Algorithm.CMAES]


def parameter(**fields: Any) -> Parameter:
    return Parameter.model_validate(fields)


NUMBERS = [
    parameter(name="lr", type="Float", min=1e-5, max=0.1, scale="Log"),
    parameter(name="width", type="Int", min=32, max=512, scale="Log"),
    parameter(name="depth", type="Int", min=1, max=9, step=2),
    parameter(name="drop", type="Float", min=-0.5, max=0.5),
]
STEPPED = [
    parameter(name="lr", type="Float", min=0, max=0.9, step=0.1),
    parameter(name="width", type="Int", min=1, max=8, scale="Log"),
]
CONDITIONAL = [
    parameter(name="momentum", type="Float", min=0, max=0.9, step=0.1, when={"optimizer": ["sgd"]}),
    parameter(name="optimizer", type="Categorical", choices=["adamw", "sgd"]),
    parameter(name="nesterov", type="Categorical", choices=[True, False], when={"momentum": [0.5, 0.6, 0.7, 0.8, 0.9]}),
    parameter(name="one", type="Categorical", choices=[1.0]),
]


def space_for(algorithm: Algorithm) -> list[Parameter]:
    if algorithm is Algorithm.GRID:
        return [*STEPPED, *CONDITIONAL]
    if algorithm is Algorithm.GP:
        return [NUMBERS[0], *CONDITIONAL]
    return NUMBERS if algorithm is Algorithm.CMAES else [*NUMBERS, *CONDITIONAL]


def make(algorithm: Algorithm, parameters: Sequence[Parameter] | None = None, **search: Any) -> Proposer:
    space = space_for(algorithm) if parameters is None else parameters
    return Proposer(space, Search(algorithm=algorithm, **{"seed": 3, **search}))


def loss_of(configuration: dict[str, Scalar]) -> float:
    return sum(abs(math.log(abs(value) + 1e-6) + 3) for value in configuration.values() if isinstance(value, float))


Step = tuple[str, int, Any]


# GP fits a model only after ten results, and takes a second for each proposal then: sixteen trials are what it needs.
def play(proposer: Proposer, trials: int, *, parallel: int = 3) -> tuple[list[dict[str, Scalar]], list[Step]]:
    """Run a job with `parallel` trials at once and every way to end; return the proposals and what was recorded."""
    proposals: list[dict[str, Scalar]] = []
    steps: list[Step] = []
    for number in range(trials):
        configuration = proposer.propose(number=number)
        proposals.append(configuration)
        steps.append(("add", number, configuration))
        take(proposer, steps[-1])
        if number >= parallel:
            steps.append(("tell", number - parallel, ending(number - parallel, proposals[number - parallel])))
            take(proposer, steps[-1])
    return proposals, steps


def ending(number: int, configuration: dict[str, Scalar]) -> dict[str, Any]:
    loss = loss_of(configuration)
    endings: list[dict[str, Any]] = [
        {"value": loss, "state": "completed"},
        {"value": loss, "state": "completed", "marks": [(4, loss + 1), (8, loss)]},
        {"value": None, "state": "stopped", "marks": [(4, loss + 1)]},
        {"value": math.nan, "state": "stopped", "marks": [(2, math.nan)]},
        {"value": None, "state": "failed"},
        {"value": loss, "state": "completed"},
    ]
    return endings[number % 6]


def take(proposer: Proposer, step: Step) -> None:
    kind, number, what = step
    if kind == "add":
        proposer.add_proposed(number, what)
    else:
        proposer.tell(number, **what)


@pytest.mark.parametrize("algorithm", ALL)
def test_values_are_allowed_and_have_their_types(algorithm: Algorithm) -> None:
    space = {made.name: made for made in space_for(algorithm)}
    proposals, _ = play(make(algorithm), 16)
    for configuration in proposals:
        for name, value in configuration.items():
            made = space[name]
            if made.choices is not None:
                assert any(type(choice) is type(value) and choice == value for choice in made.choices)
                continue
            assert type(value) is (int if made.type == "Int" else float)
            assert made.min is not None
            assert made.max is not None
            assert made.min <= value <= made.max
            if made.step is not None:
                steps = (value - made.min) / made.step
                assert steps == pytest.approx(round(steps))


@pytest.mark.parametrize("algorithm", [*MIXED, Algorithm.GRID])
def test_a_parameter_exists_exactly_where_its_condition_holds(algorithm: Algorithm) -> None:
    proposals, _ = play(make(algorithm), 16)
    for configuration in proposals:
        assert ("momentum" in configuration) == (configuration["optimizer"] == "sgd")
        assert ("nesterov" in configuration) == (configuration.get("momentum", 0) >= 0.5)  # type: ignore[operator]
    assert {"adamw", "sgd"} == {configuration["optimizer"] for configuration in proposals}


@pytest.mark.parametrize("algorithm", ALL)
def test_a_restored_job_goes_on_as_if_nothing_had_happened(algorithm: Algorithm) -> None:
    trials = 18 if algorithm is Algorithm.GP else 30
    proposals, steps = play(make(algorithm), trials)
    expensive = algorithm is Algorithm.GP
    cuts = [
        index for index, step in enumerate(steps) if step[0] == "add" and (not expensive or step[1] in (0, 7, 15, 17))
    ]
    for cut in cuts:
        restored = make(algorithm)
        for step in steps[:cut]:
            take(restored, step)
        assert restored.propose(number=steps[cut][1]) == proposals[steps[cut][1]], f"after {cut} records"


@pytest.mark.parametrize("algorithm", ALL)
def test_asking_changes_nothing(algorithm: Algorithm) -> None:
    proposer, quiet = make(algorithm), make(algorithm)
    _, steps = play(proposer, 17)
    for step in steps:
        take(quiet, step)
    first = proposer.propose(number=17)
    proposer.propose(number=99)
    assert proposer.propose(number=17) == first == quiet.propose(number=17)


@pytest.mark.parametrize("algorithm", ALL)
def test_the_order_of_arrival_leaves_no_trace(algorithm: Algorithm) -> None:
    proposer = make(algorithm)
    _, steps = play(proposer, 17)
    expected = proposer.propose(number=17)
    backwards = make(algorithm)
    for step in reversed([step for step in steps if step[0] == "add"]):
        take(backwards, step)
    for step in reversed([step for step in steps if step[0] == "tell"]):
        take(backwards, step)
    assert backwards.propose(number=17) == expected


@pytest.mark.parametrize("algorithm", ALL)
def test_seeds_matter(algorithm: Algorithm) -> None:
    assert play(make(algorithm, seed=1), 6)[0] != play(make(algorithm, seed=2), 6)[0]


def test_another_process_proposes_the_same() -> None:
    """Python's own hashes differ between processes; nothing may depend on them."""
    code = (
        "import sys, json; sys.path.insert(0, sys.argv[1]);"
        "import test_search_conformance as t;"
        "print(json.dumps([t.play(t.make(algorithm), 20)[0] for algorithm in t.ALL if algorithm != 'GP']))"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=100)
    here = [play(make(algorithm), 20)[0] for algorithm in ALL if algorithm is not Algorithm.GP]
    assert json.loads(done.stdout) == here


@pytest.mark.parametrize("algorithm", ALL)
@pytest.mark.parametrize("value", [1.0, math.nan, math.inf, -math.inf, None])
def test_constant_and_unusable_results_are_survived(algorithm: Algorithm, value: float | None) -> None:
    proposer = make(algorithm)
    for number in range(12):
        proposer.add_proposed(number, proposer.propose(number=number))
        proposer.tell(number, value=value, state="completed")
    assert proposer.propose(number=12)


@pytest.mark.parametrize("algorithm", ALL)
def test_a_finite_space_ends_after_exactly_its_size(algorithm: Algorithm) -> None:
    space = STEPPED[1:] if algorithm is Algorithm.GP else CONDITIONAL
    if algorithm is Algorithm.CMAES:
        space = [parameter(name="a", type="Int", min=0, max=3), parameter(name="b", type="Int", min=0, max=2)]
    proposer = make(algorithm, space)
    size = {Algorithm.GP: 8, Algorithm.CMAES: 12}.get(algorithm, 1 + 5 + 5 * 2)
    assert proposer.size == size
    proposals, _ = play(proposer, size)
    assert len({json.dumps(configuration, sort_keys=True) for configuration in proposals}) == size
    with pytest.raises(SearchSpaceExhausted, match=f"all {size} configurations"):
        proposer.propose(number=size)


@pytest.mark.parametrize("algorithm", ALL)
def test_duplicates_come_only_when_allowed(algorithm: Algorithm) -> None:
    space = [parameter(name="a", type="Int", min=0, max=1), parameter(name="b", type="Int", min=0, max=1)]
    proposals, _ = play(make(algorithm, space, allow_duplicates=True), 9)
    assert len({json.dumps(configuration, sort_keys=True) for configuration in proposals}) <= 4


@pytest.mark.parametrize("algorithm", ALL)
def test_enqueued_points_come_first_and_are_completed(algorithm: Algorithm) -> None:
    space = STEPPED if algorithm is Algorithm.GRID else NUMBERS[:2]
    lr = 0.3 if algorithm is Algorithm.GRID else 0.001
    proposer = make(algorithm, space, initial=({"lr": lr}, {"lr": lr, "width": 8 if lr == 0.3 else 64}, {}))
    proposals, _ = play(proposer, 12)
    assert [configuration["lr"] for configuration in proposals[:2]] == [lr, lr]
    assert proposals[1]["width"] == (8 if lr == 0.3 else 64)
    assert proposals[0] != proposals[1]
    assert len({json.dumps(configuration) for configuration in proposals}) == 12


@pytest.mark.parametrize("algorithm", [algorithm for algorithm in ALL if algorithm is not Algorithm.GP])
def test_two_hundred_proposals_are_quick(algorithm: Algorithm) -> None:
    began = time.process_time()
    play(make(algorithm), 200, parallel=8)
    assert time.process_time() - began < 20


def test_five_thousand_trials_are_restored_in_a_moment() -> None:
    random = make(Algorithm.RANDOM)
    configurations = [random.propose(number=number) for number in range(5000)]
    marks = [(mark, 1.0) for mark in range(1, 51)]
    began = time.process_time()
    restored = make(Algorithm.TPE)
    for number, configuration in enumerate(configurations):
        restored.add_proposed(number, configuration)
        restored.tell(number, value=loss_of(configuration), marks=marks, state="completed")
    assert time.process_time() - began < 1.0
    assert restored.propose(number=5000)


@pytest.mark.parametrize("algorithm", [Algorithm.TPE, Algorithm.GP, Algorithm.CMAES])
def test_learning_beats_chance(algorithm: Algorithm) -> None:
    def best(proposer: Proposer, trials: int) -> float:
        found = []
        for number in range(trials):
            configuration = proposer.propose(number=number)
            x, y = float(configuration["x"]), float(configuration["y"])
            found.append((x - 0.62) ** 2 + (y + 0.31) ** 2)
            proposer.add_proposed(number, configuration)
            proposer.tell(number, value=found[-1], state="completed")
        return min(found)

    space = [parameter(name=name, type="Float", min=-1, max=1) for name in ("x", "y")]
    trials = 16 if algorithm is Algorithm.GP else 60
    seeds = (1,) if algorithm is Algorithm.GP else (1, 2, 3)
    learned = sum(best(make(algorithm, space, seed=seed), trials) for seed in seeds)
    chance = sum(best(make(Algorithm.RANDOM, space, seed=seed), trials) for seed in seeds)
    assert learned < chance / 2


@pytest.mark.parametrize("algorithm", [Algorithm.TPE, Algorithm.CMAES])
def test_nobody_goes_back_to_where_training_diverges(algorithm: Algorithm) -> None:
    space = [parameter(name=name, type="Float", min=0, max=1) for name in ("x", "y")]
    proposer = make(algorithm, space)
    late = []
    for number in range(80):
        configuration = proposer.propose(number=number)
        x = float(configuration["x"])
        late.append(x > 0.5)
        proposer.add_proposed(number, configuration)
        if x > 0.5:
            proposer.tell(number, value=None, marks=[(1, math.nan)], state="stopped")
        else:
            proposer.tell(number, value=(float(configuration["y"]) - 0.5) ** 2, state="completed")
    assert sum(late[40:]) <= 10


def test_a_recorded_number_gives_its_recorded_configuration() -> None:
    proposer = make(Algorithm.TPE, NUMBERS[:1])
    proposer.add_proposed(4, {"lr": 0.01})
    assert proposer.propose(number=4) == {"lr": 0.01}


def test_records_of_another_job_are_refused() -> None:
    proposer = make(Algorithm.RANDOM, NUMBERS[:1])
    with pytest.raises(LogError, match="trial 0 was recorded with another search space: the job has no parameter rate"):
        proposer.add_proposed(0, {"rate": 0.1})
    with pytest.raises(LogError, match=r"lr is 7, but must be a number from 1e-05 to 0\.1"):
        proposer.add_proposed(0, {"lr": 7})
    with pytest.raises(LogError, match="trial 3 ended, but its proposal is not in the log"):
        proposer.tell(3, value=1.0, state="completed")
