"""What the operator renders into a process's environment is what the trial reads from it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trial_protocol import names
from trial_protocol.environment import TrialEnvironment, parameter_variable
from trial_protocol.errors import ProtocolError

TEXT = st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), max_size=20)
SOME_TEXT = TEXT.filter(bool)
SCALARS = st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT


@given(
    st.builds(
        TrialEnvironment,
        job=TEXT,
        trial=SOME_TEXT,
        identity=TEXT,
        attempt=st.integers(1, 1000),
        parameters=st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), SCALARS, max_size=5),
        seed=st.integers(0, 2**64),
        port=st.integers(0, 65535),
        axis=SOME_TEXT,
        total=st.none() | st.floats(min_value=0, exclude_min=True, allow_infinity=False),
        checkpoint_uri=TEXT,
        control=TEXT,
        public_key=TEXT,
        termination_path=SOME_TEXT,
    )
)
def test_an_environment_is_read_back_exactly(environment: TrialEnvironment) -> None:
    assert TrialEnvironment.from_variables(environment.variables()) == environment


def test_an_environment_survives_a_real_process() -> None:
    environment = TrialEnvironment(job="jöb", trial="t-1", parameters={"lr": 1e-4, "name": "a b\n", "on": True})
    shown = subprocess.run(
        [sys.executable, "-c", "import os; print(ascii(dict(os.environ)))"],
        env={**os.environ, **environment.variables()},
        capture_output=True,
        text=True,
        check=True,
    )
    variables = eval(shown.stdout, {"__builtins__": {}})
    assert TrialEnvironment.from_variables(variables) == environment
    assert variables["TUNING_PARAM_LR"] == "0.0001"
    assert variables["TUNING_PARAM_NAME"] == "a b\n"
    assert variables["TUNING_PARAM_ON"] == "true"


def test_outside_a_tuning_job_there_is_no_environment() -> None:
    assert TrialEnvironment.from_variables({}) is None
    assert TrialEnvironment.from_variables({names.ENV_JOB: "digits", names.ENV_TRIAL: ""}) is None


def test_a_parameter_with_odd_characters_has_a_plain_variable() -> None:
    assert parameter_variable("optimizer.weight-decay") == "TUNING_PARAM_OPTIMIZER_WEIGHT_DECAY"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (names.ENV_ATTEMPT, "first"),
        (names.ENV_SEED, "1.5"),
        (names.ENV_PORT, "http"),
        (names.ENV_TOTAL, "long"),
        (names.ENV_TOTAL, "nan"),
        (names.ENV_TOTAL, "inf"),
        (names.ENV_TOTAL, "0"),
        (names.ENV_TOTAL, "-1"),
        (names.ENV_PARAMETERS, "{"),
        (names.ENV_PARAMETERS, "[1]"),
    ],
)
def test_an_unreadable_variable_is_named(name: str, text: str) -> None:
    with pytest.raises(ProtocolError, match=name):
        TrialEnvironment.from_variables({names.ENV_TRIAL: "t", name: text})
