"""Numbers survive JSON, also those that JSON cannot say."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trial_protocol.numbers import decode_number, encode_number


@given(st.floats())
def test_a_number_survives_strict_json(value: float) -> None:
    text = json.dumps(encode_number(value), allow_nan=False)
    decoded = decode_number(json.loads(text))
    assert decoded == value or (math.isnan(decoded) and math.isnan(value))


@pytest.mark.parametrize("value", [True, None, [], {}, "1.5", "nan", "inf", "", 10**400])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="expected a number"):
        decode_number(value)
