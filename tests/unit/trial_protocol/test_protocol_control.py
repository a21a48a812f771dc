"""Only the operator's own, current, sensible message steers a trial."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from hypothesis import given
from hypothesis import strategies as st

from trial_protocol.control import (
    ISSUER,
    MAX_CLOCK_SKEW,
    MAX_TOKEN_BYTES,
    REFUSAL_STATUS,
    ControlMessage,
    generate_key_pair,
    message_from_json,
    message_to_json,
    sign_control,
    verify_control,
)
from trial_protocol.errors import ControlRefused, ProtocolError, RefusalReason

NOW = 1_800_000_000.0
KEYS = generate_key_pair()
MESSAGE = ControlMessage(trial="digits-0001", revision=3, learning_rate_scale=0.5)
CLAIMS: dict[str, Any] = {"iss": ISSUER, "aud": "digits-0001", "iat": NOW, "exp": NOW + 60}

MESSAGES = st.builds(
    ControlMessage,
    trial=st.text(min_size=1, max_size=20, alphabet=st.characters(exclude_categories=("Cs",))),
    revision=st.integers(1, 2**53),
    learning_rate_scale=st.floats(min_value=0, max_value=100, exclude_min=True),
    begin_decay=st.booleans(),
    restore=st.booleans(),
    batch_size=st.none() | st.integers(1, 2**31 - 1),
    values=st.dictionaries(
        st.text(max_size=5),
        st.booleans()
        | st.integers(-(2**63), 2**63)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=5),
        max_size=3,
    ),
)


def verify(
    token: str, *, current: int = 2, now: float | None = NOW, public_key: str = KEYS.public_pem
) -> ControlMessage:
    return verify_control(token, public_key=public_key, trial="digits-0001", current_revision=current, now=now)


def sign(message: ControlMessage = MESSAGE) -> str:
    return sign_control(message, private_key=KEYS.private_pem, now=NOW, lifetime=60)


def forge(claims: dict[str, Any] | None = None, **control: object) -> str:
    """Sign with the right key what `sign_control` would not."""
    full = {**CLAIMS, "control": {"revision": 3, **control}, **(claims or {})}
    return jwt.encode(full, KEYS.private_pem, algorithm="EdDSA")


def refused(token: str, **how: Any) -> RefusalReason:
    with pytest.raises(ControlRefused) as refusal:
        verify(token, **how)
    assert len(str(refusal.value)) > 10
    assert isinstance(refusal.value, ProtocolError)
    return refusal.value.reason


@given(MESSAGES)
def test_a_signed_message_arrives_as_it_was_sent(message: ControlMessage) -> None:
    token = sign_control(message, private_key=KEYS.private_pem, now=NOW, lifetime=60)
    read = verify_control(token, public_key=KEYS.public_pem, trial=message.trial, current_revision=0, now=NOW)
    assert read == message


@given(MESSAGES)
def test_a_message_survives_a_checkpoint(message: ControlMessage) -> None:
    text = json.dumps(message_to_json(message))
    assert message_from_json(json.loads(text), trial=message.trial) == message


def test_fields_at_their_default_are_left_out() -> None:
    assert message_to_json(ControlMessage(trial="t", revision=1)) == {"revision": 1}


def test_another_key_is_refused() -> None:
    other = generate_key_pair()
    token = sign_control(MESSAGE, private_key=other.private_pem, now=NOW, lifetime=60)
    assert refused(token) is RefusalReason.BAD_SIGNATURE


def test_a_changed_payload_is_refused() -> None:
    header, _, signature = sign().split(".")
    payload = (
        base64.urlsafe_b64encode(json.dumps({**CLAIMS, "control": {"revision": 9}}).encode()).rstrip(b"=").decode()
    )
    assert refused(f"{header}.{payload}.{signature}") is RefusalReason.BAD_SIGNATURE


def test_a_token_without_signature_is_refused() -> None:
    token = jwt.encode({**CLAIMS, "control": {"revision": 3}}, "", algorithm="none")
    assert refused(token) is RefusalReason.WRONG_ALGORITHM


def test_the_public_key_is_no_shared_secret() -> None:
    """The attack on verifiers that believe the header: sign with HMAC, keyed with the public PEM."""
    import hashlib
    import hmac

    def encode(part: bytes) -> str:
        return base64.urlsafe_b64encode(part).rstrip(b"=").decode()

    head = encode(b'{"alg":"HS256","typ":"JWT"}')
    body = f"{head}.{encode(json.dumps({**CLAIMS, 'control': {'revision': 3}}).encode())}"
    signature = encode(hmac.new(KEYS.public_pem.encode(), body.encode(), hashlib.sha256).digest())
    assert refused(f"{body}.{signature}") is RefusalReason.WRONG_ALGORITHM


def test_another_curve_is_refused() -> None:
    token = jwt.encode({**CLAIMS, "control": {"revision": 3}}, generate_private_key(SECP256R1()), algorithm="ES256")
    assert refused(token) is RefusalReason.WRONG_ALGORITHM


def test_another_trial_is_refused() -> None:
    assert refused(sign(replace(MESSAGE, trial="digits-0002"))) is RefusalReason.WRONG_TRIAL
    assert refused(forge({"aud": ["digits-0001", "digits-0002"]})) is RefusalReason.WRONG_TRIAL


def test_revisions_only_rise() -> None:
    assert refused(sign(), current=4) is RefusalReason.OLD_REVISION
    assert refused(sign(), current=3) is RefusalReason.ALREADY_APPLIED
    assert verify(sign(), current=2) == MESSAGE


def test_a_message_lives_as_long_as_it_says() -> None:
    end = NOW + 60 + MAX_CLOCK_SKEW
    assert verify(sign(), now=end) == MESSAGE
    assert refused(sign(), now=end + 1) is RefusalReason.EXPIRED


def test_a_message_from_the_future_is_refused() -> None:
    assert verify(sign(), now=NOW - MAX_CLOCK_SKEW) == MESSAGE
    assert refused(sign(), now=NOW - MAX_CLOCK_SKEW - 1) is RefusalReason.ISSUED_IN_FUTURE


def test_without_a_clock_the_times_are_not_judged() -> None:
    assert verify(sign(), now=None) == MESSAGE


@pytest.mark.parametrize(
    "control",
    [
        {"learningRateScale": 0},
        {"learningRateScale": -0.5},
        {"learningRateScale": 100.1},
        {"learningRateScale": float("inf")},
        {"learningRateScale": float("nan")},
        {"revision": 0},
        {"revision": -1},
        {"revision": 2**60},
        {"batchSize": 0},
        {"batchSize": 2**40},
    ],
)
def test_numbers_out_of_bounds_are_refused(control: dict[str, object]) -> None:
    assert refused(forge(**control)) is RefusalReason.OUT_OF_BOUNDS


@pytest.mark.parametrize(
    "token",
    [
        "",
        "hello",
        "a.b.c",
        "é",
        sign() + "é",
        sign()[:-20],
        forge(revision=None),
        forge(revision=1.5),
        forge(revision=True),
        forge(learningRateScale="1"),
        forge(learningRateScale=True),
        forge(beginDecay="no"),
        forge(restore=1),
        forge(values=[1]),
        forge(values={"a": None}),
        forge(values={"a": float("nan")}),
        forge(surprise=1),
        forge({"control": [1]}),
        forge({"iss": "somebody"}),
        forge({"iat": True}),
        forge({"exp": 10**400}),
        forge({"iat": float("nan")}),
        base64.urlsafe_b64encode(b"[" * 5000).decode() + ".e30.e30",
    ],
)
def test_malformed_tokens_are_refused(token: str) -> None:
    assert refused(token) in (RefusalReason.MALFORMED, RefusalReason.BAD_SIGNATURE)


@pytest.mark.parametrize("claim", ["iss", "aud", "iat", "exp"])
def test_every_claim_is_required(claim: str) -> None:
    claims = {name: value for name, value in CLAIMS.items() if name != claim}
    token = jwt.encode({**claims, "control": {"revision": 3}}, KEYS.private_pem, algorithm="EdDSA")
    assert refused(token) is RefusalReason.MALFORMED


def test_a_large_token_is_refused_unread() -> None:
    assert refused("x" * (MAX_TOKEN_BYTES + 1)) is RefusalReason.TOO_LARGE
    with pytest.raises(ControlRefused, match="8192"):
        sign(replace(MESSAGE, values={"note": "x" * 8000}))


def test_what_no_trial_would_take_is_not_signed() -> None:
    with pytest.raises(ControlRefused, match="learningRateScale"):
        sign(replace(MESSAGE, learning_rate_scale=0.0))
    with pytest.raises(ControlRefused, match="revision"):
        sign(replace(MESSAGE, revision=0))


@pytest.mark.parametrize("key", ["", "not a key"])
def test_without_a_key_nothing_is_taken(key: str) -> None:
    assert refused(sign(), public_key=key) is RefusalReason.NO_PUBLIC_KEY


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_no_text_breaks_the_check(token: str) -> None:
    with pytest.raises(ControlRefused):
        verify(token)


def test_the_private_key_is_kept_out_of_logs() -> None:
    assert "PRIVATE" not in repr(KEYS)
    assert "PRIVATE" in KEYS.private_pem


def test_every_reason_has_a_status() -> None:
    assert set(REFUSAL_STATUS) == set(RefusalReason)
