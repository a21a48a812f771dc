from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.strategies import parameters, spaces

from tuning_operator.api.parameters import Parameter
from tuning_operator.search.dimension import Dimension
from tuning_operator.search.space import Space


def parameter(**fields: Any) -> Parameter:
    return Parameter.model_validate(fields)


def every_configuration(space: Space) -> set[Any]:
    """All configurations by brute force: every combination, with what does not exist taken out."""
    found = set()
    for combination in product(*(range(dimension.count or 0) for dimension in space.dimensions)):
        codes: dict[str, Any] = {}
        for dimension, position in zip(space.dimensions, combination, strict=True):
            if space.is_active(dimension, codes):
                codes[dimension.name] = dimension.nth(position)
        found.add(space.key(codes))
    return found


@settings(deadline=None)
@given(spaces(finite_only=True))
def test_a_finite_space_is_counted_and_numbered_exactly(space_parameters: tuple[Parameter, ...]) -> None:
    space = Space(space_parameters)
    combinations = 1
    for dimension in space.dimensions:
        combinations *= dimension.count or 1
    assume(combinations <= 3000)
    expected = every_configuration(space)
    assert space.size == len(expected)
    assert {space.key(space.nth(rank)) for rank in range(space.size)} == expected


def test_independent_conditions_do_not_make_counting_slow() -> None:
    switches = [parameter(name=f"use{i}", type="Categorical", choices=[True, False]) for i in range(30)]
    guarded = [parameter(name=f"x{i}", type="Int", min=1, max=9, when={f"use{i}": [True]}) for i in range(30)]
    space = Space([*switches, *guarded])
    assert space.size == 10**30
    assert len(space.nth(10**30 - 1)) in range(30, 61)


def test_a_chain_of_conditions_needs_every_link() -> None:
    space = Space(
        [
            parameter(name="c", type="Int", min=1, max=5, when={"b": [2]}),
            parameter(name="b", type="Int", min=1, max=3, when={"a": ["yes"]}),
            parameter(name="a", type="Categorical", choices=["yes", "no"]),
        ]
    )
    assert [dimension.name for dimension in space.dimensions] == ["a", "b", "c"]
    assert space.size == 1 + 2 + 5


@settings(deadline=None)
@given(parameters(), st.floats(0, 1, exclude_max=True))
def test_values_are_in_bounds_and_find_their_code_again(made: Parameter, unit: float) -> None:
    dimension = Dimension(made)
    code = dimension.from_unit(unit)
    value = dimension.decode(code)
    if made.choices is not None:
        assert any(type(choice) is type(value) and choice == value for choice in made.choices)
    else:
        assert made.min is not None
        assert made.max is not None
        assert not isinstance(value, str)
        assert made.min <= value <= made.max
        assert type(value) is (int if made.type == "Int" else float)
    assert dimension.decode(dimension.encode(value)) == value
    assert 0 <= dimension.to_unit(code) <= 1


@settings(deadline=None)
@given(parameters(finite_only=True))
def test_the_middle_of_a_stretch_leads_back(made: Parameter) -> None:
    dimension = Dimension(made)
    codes = [dimension.nth(position) for position in range(dimension.count or 0)]
    assert [dimension.from_unit(dimension.to_unit(code)) for code in codes] == codes
    assert [dimension.position(code) for code in codes] == list(range(len(codes)))


def test_a_step_reaches_the_end_despite_binary_fractions() -> None:
    dimension = Dimension(parameter(name="x", type="Float", min=0, max=1, step=0.1))
    values = [dimension.decode(code) for code in range(dimension.count or 0)]
    assert values == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


def test_choices_that_python_takes_for_equal_stay_apart() -> None:
    dimension = Dimension(parameter(name="x", type="Categorical", choices=[1, True, 1.0, "1"]))
    assert [dimension.encode(choice) for choice in (1, True, 1.0, "1")] == [0, 1, 2, 3]
    assert [repr(dimension.decode(code)) for code in range(4)] == ["1", "True", "1.0", "'1'"]


def test_a_number_that_lost_its_fraction_on_the_way_is_still_that_choice() -> None:
    dimension = Dimension(parameter(name="x", type="Categorical", choices=[True, 1.0]))
    assert dimension.encode(1) == 1


@pytest.mark.parametrize("value", ["a", 0, 10, 2.5, True, float("nan"), 3])
def test_a_value_outside_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"from 2 to 8|multiple of the step 2, such as 2 or 4"):
        Dimension(parameter(name="x", type="Int", min=2, max=8, step=2)).encode(value)
