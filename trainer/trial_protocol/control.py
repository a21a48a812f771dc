"""The signed control message: how the operator changes what a running trial trains with, and nobody else can.

A message is a JSON Web Token signed with Ed25519 (``EdDSA``, RFC 8037). The operator holds the private key; a trial
gets the public key only. The audience is the trial's identity (`TrialEnvironment.audience`), so a message for one trial
cannot be replayed to another, and the revision rises by one with every change, so an old message cannot be replayed to
the same trial. An identity must therefore be unique among the trials of one key: a name alone is not, where namespaces
share a key or a deleted job is applied again.

Claims: ``iss``, ``aud``, ``iat``, ``exp`` and ``control``, an object whose fields are camelCase. Fields at their
default are left out and unknown fields are refused: an older trial takes every message that it can carry out in full,
and no other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.types import Options

from trial_protocol.errors import ControlRefused, RefusalReason

ISSUER: Final = "tuning-operator"
ALGORITHM: Final = "EdDSA"

# The limits of a message, for both sides.
MAX_TOKEN_BYTES: Final = 8192
MAX_LEARNING_RATE_SCALE: Final = 100.0
"""A scale lies in (0, 100]."""
MAX_REVISION: Final = 2**53
MAX_BATCH_SIZE: Final = 2**31 - 1
MAX_CLOCK_SKEW: Final = 30.0
"""Seconds by which the clocks of operator and trial may differ."""

REFUSAL_STATUS: Final[Mapping[RefusalReason, int]] = {
    RefusalReason.NO_PUBLIC_KEY: 403,
    RefusalReason.TOO_LARGE: 400,
    RefusalReason.MALFORMED: 400,
    RefusalReason.WRONG_ALGORITHM: 403,
    RefusalReason.BAD_SIGNATURE: 403,
    RefusalReason.WRONG_TRIAL: 403,
    RefusalReason.EXPIRED: 403,
    RefusalReason.ISSUED_IN_FUTURE: 403,
    RefusalReason.OUT_OF_BOUNDS: 400,
    RefusalReason.OLD_REVISION: 409,
    RefusalReason.ALREADY_APPLIED: 200,
}
"""HTTP status of the answer to `PUT /control` for each reason."""

Value = bool | int | float | str
"""Another live parameter's value."""


@dataclass(frozen=True, kw_only=True)
class ControlMessage:
    """What a trial is to train with from its next step boundary on.

    Attributes:
        trial: Identity of the trial that it is for.
        revision: Rises by one with every change, from 1.
        learning_rate_scale: Factor on the schedule's own learning rate; absolute, not relative to the factor in force.
        begin_decay: Begin the final decay now, so that it ends at the end of the schedule.
        restore: Go back to the last good checkpoint first.
        batch_size: New batch size; None leaves it.
        values: Other live parameters by name.
    """

    trial: str
    revision: int
    learning_rate_scale: float = 1.0
    begin_decay: bool = False
    restore: bool = False
    batch_size: int | None = None
    values: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class KeyPair:
    """An Ed25519 key pair in PEM; the private half is kept out of logs."""

    private_pem: str = field(repr=False)
    public_pem: str


def generate_key_pair() -> KeyPair:
    """Draw a new key pair from the system's own randomness."""
    private = Ed25519PrivateKey.generate()
    return KeyPair(
        private_pem=private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        public_pem=private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
    )


def sign_control(message: ControlMessage, *, private_key: str, now: float, lifetime: float) -> str:
    """Return the token that carries `message`, valid from `now` for `lifetime` seconds.

    Raises:
        ControlRefused: No trial would take this message; the text names the field and its bounds.
    """
    control = message_to_json(message)
    message_from_json(control, trial=message.trial)
    claims = {"iss": ISSUER, "aud": message.trial, "iat": now, "exp": now + lifetime, "control": control}
    token = jwt.encode(claims, private_key, algorithm=ALGORITHM)
    _check_size(token)
    return token


def verify_control(
    token: str, *, public_key: str, trial: str, current_revision: int, now: float | None
) -> ControlMessage:
    """Return the message of a token that is to be applied.

    Args:
        token: As it arrived.
        public_key: PEM of the operator's Ed25519 public key; empty when the trial has none.
        trial: Identity of the trial that asks.
        current_revision: Newest revision that the trial has taken in; 0 before the first.
        now: Seconds since the epoch; None leaves the token's times unjudged, for a token that lay in a pod's
            environment and may have waited in a queue for hours.

    Raises:
        ControlRefused: It must not be applied; `reason` says why, ``AlreadyApplied`` for a repetition.
    """
    if not public_key:
        raise ControlRefused(
            RefusalReason.NO_PUBLIC_KEY, "this trial was started without a public key (TUNING_PUBLIC_KEY)"
        )
    _check_size(token)
    claims = _verified_claims(token, public_key)
    if claims.get("iss") != ISSUER:
        raise _malformed(f"the issuer must be {ISSUER!r}; it is {claims.get('iss')!r}")
    if claims.get("aud") != trial:
        raise ControlRefused(
            RefusalReason.WRONG_TRIAL, f"the message is for trial {claims.get('aud')!r}; this is {trial!r}"
        )
    issued, expires = _time(claims, "iat"), _time(claims, "exp")
    if now is not None and issued > now + MAX_CLOCK_SKEW:
        raise ControlRefused(
            RefusalReason.ISSUED_IN_FUTURE,
            f"the message was issued {issued - now:.0f} s in the future; check the clocks",
        )
    if now is not None and expires < now - MAX_CLOCK_SKEW:
        raise ControlRefused(RefusalReason.EXPIRED, f"the message expired {now - expires:.0f} s ago; sign it again")
    message = message_from_json(claims.get("control"), trial=trial)
    if message.revision == current_revision:
        raise ControlRefused(RefusalReason.ALREADY_APPLIED, f"revision {message.revision} has been taken in already")
    if message.revision < current_revision:
        raise ControlRefused(
            RefusalReason.OLD_REVISION, f"revision {message.revision} is older than revision {current_revision} here"
        )
    return message


def message_to_json(message: ControlMessage) -> dict[str, object]:
    """Return the message as a JSON object without the trial's name; fields at their default are left out."""
    rendered: dict[str, object] = {"revision": message.revision}
    if message.learning_rate_scale != 1.0:
        rendered["learningRateScale"] = message.learning_rate_scale
    if message.begin_decay:
        rendered["beginDecay"] = message.begin_decay
    if message.restore:
        rendered["restore"] = message.restore
    if message.batch_size is not None:
        rendered["batchSize"] = message.batch_size
    if message.values:
        rendered["values"] = dict(message.values)
    return rendered


def message_from_json(control: object, *, trial: str) -> ControlMessage:
    """Undo `message_to_json`; also how a checkpoint reads back the message in force.

    Raises:
        ControlRefused: ``Malformed`` or ``OutOfBounds``; the text names the field.
    """
    if not isinstance(control, Mapping):
        raise _malformed("the claim `control` must be an object")
    if unknown := sorted(set(control) - _FIELDS):
        raise _malformed(
            f"this trial does not know the control field {unknown[0]!r}; it was written for an older contract"
        )
    revision = _whole(control.get("revision"), "revision", MAX_REVISION)
    scale = control.get("learningRateScale", 1.0)
    if isinstance(scale, bool) or not isinstance(scale, int | float):
        raise _malformed(f"learningRateScale must be a number; it is {scale!r}")
    if not 0.0 < scale <= MAX_LEARNING_RATE_SCALE:
        raise _out_of_bounds(f"learningRateScale must lie in (0, {MAX_LEARNING_RATE_SCALE:g}]; it is {scale!r:.40}")
    batch_size = control.get("batchSize")
    values = control.get("values", {})
    if not isinstance(values, Mapping):
        raise _malformed("values must be an object")
    for name, value in values.items():
        if not isinstance(value, bool | int | float | str) or (isinstance(value, float) and not math.isfinite(value)):
            raise _malformed(f"values.{name} must be true, false, a finite number or a text")
    return ControlMessage(
        trial=trial,
        revision=revision,
        learning_rate_scale=float(scale),
        begin_decay=_flag(control, "beginDecay"),
        restore=_flag(control, "restore"),
        batch_size=None if batch_size is None else _whole(batch_size, "batchSize", MAX_BATCH_SIZE),
        values=dict(values),
    )


_MAX_TIME: Final = 1e12
_FIELDS: Final = frozenset({"revision", "learningRateScale", "beginDecay", "restore", "batchSize", "values"})


# The times, the audience and the issuer are judged by `verify_control`, against the time that was passed in.
_SIGNATURE_ONLY: Final[Options] = {
    "require": ["iss", "aud", "iat", "exp"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


def _verified_claims(token: str, public_key: str) -> Mapping[str, Any]:
    try:
        algorithm = jwt.get_unverified_header(token).get("alg")
        if algorithm != ALGORITHM:
            raise ControlRefused(
                RefusalReason.WRONG_ALGORITHM, f"the signature must be {ALGORITHM}; the token says {algorithm!r:.40}"
            )
        claims: Mapping[str, Any] = jwt.decode(token, public_key, algorithms=[ALGORITHM], options=_SIGNATURE_ONLY)
    except jwt.InvalidSignatureError:
        raise ControlRefused(
            RefusalReason.BAD_SIGNATURE, "the signature does not belong to this trial's public key"
        ) from None
    except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
        raise _malformed(f"not a control token: {error}") from None
    except jwt.InvalidKeyError as error:
        raise ControlRefused(
            RefusalReason.NO_PUBLIC_KEY, f"TUNING_PUBLIC_KEY is not the PEM of an Ed25519 public key: {error}"
        ) from None
    return claims


def _check_size(token: str) -> None:
    if (size := len(token.encode("utf-8", "replace"))) > MAX_TOKEN_BYTES:
        raise ControlRefused(
            RefusalReason.TOO_LARGE, f"a control token has at most {MAX_TOKEN_BYTES} bytes; this has {size}"
        )


def _time(claims: Mapping[str, object], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _MAX_TIME:
        raise _malformed(f"{name} must be a number of seconds since the epoch")
    return float(value)


def _whole(value: object, name: str, maximum: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _malformed(f"{name} must be a whole number; it is {value!r:.40}")
    if not 1 <= value <= maximum:
        raise _out_of_bounds(f"{name} must lie between 1 and {maximum}; it is {value!r:.40}")
    return value


def _flag(control: Mapping[str, object], name: str) -> bool:
    value = control.get(name, False)
    if not isinstance(value, bool):
        raise _malformed(f"{name} must be true or false; it is {value!r:.40}")
    return value


def _malformed(message: str) -> ControlRefused:
    return ControlRefused(RefusalReason.MALFORMED, message)


def _out_of_bounds(message: str) -> ControlRefused:
    return ControlRefused(RefusalReason.OUT_OF_BOUNDS, message)
