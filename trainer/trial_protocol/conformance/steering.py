"""Checks of what a trial takes: control messages, and those that it must refuse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import jwt

from trial_protocol import names
from trial_protocol.conformance.client import Failed
from trial_protocol.conformance.subject import LIFETIME, Subject
from trial_protocol.control import (
    ISSUER,
    MAX_CLOCK_SKEW,
    MAX_LEARNING_RATE_SCALE,
    MAX_TOKEN_BYTES,
    REFUSAL_STATUS,
    ControlMessage,
    generate_key_pair,
    sign_control,
)
from trial_protocol.errors import RefusalReason


def check_control(subject: Subject) -> str:
    """A valid message comes into force, and sending it twice does no harm."""
    before = subject.client.metrics()
    scale, revision = before.value(names.METRIC_LEARNING_RATE_SCALE), int(before.value(names.METRIC_CONTROL_REVISION))
    for change, wanted in enumerate((scale * 0.5, scale), start=1):
        message = ControlMessage(trial=subject.trial, revision=revision + change, learning_rate_scale=wanted)
        token = subject.token(message)
        for attempt in ("sent", "sent again"):
            answer = subject.client.put_control(token)
            if answer.status != 200 or answer.body.get("revision") != message.revision:
                raise Failed(f"a valid message, {attempt}, was answered with {answer}")
        if not subject.wait(lambda message=message: _in_force(subject, message)):  # type: ignore[misc]
            found = subject.client.metrics()
            raise Failed(
                f"revision {message.revision} with scale {wanted:g} was accepted but not in force within "
                f"{subject.patience:g} s; in force: revision {found.value(names.METRIC_CONTROL_REVISION):g}, scale "
                f"{found.value(names.METRIC_LEARNING_RATE_SCALE):g}"
            )
    return f"followed to revision {revision + 2}, and took every message twice"


def _in_force(subject: Subject, message: ControlMessage) -> bool:
    found = subject.client.metrics()
    return (
        found.value(names.METRIC_CONTROL_REVISION) == message.revision
        and found.value(names.METRIC_LEARNING_RATE_SCALE) == message.learning_rate_scale
    )


def check_refusals(subject: Subject) -> str:
    """What must not be applied is refused, each with its reason."""
    before = subject.client.metrics()
    current = int(before.value(names.METRIC_CONTROL_REVISION))
    failures: list[str] = []
    attempts = 0
    for what, token, reason in _unwelcome(subject, current, before.value(names.METRIC_LEARNING_RATE_SCALE)):
        attempts += 1
        answer = subject.client.put_control(token)
        expected = {REFUSAL_STATUS[reason], 413} if reason is RefusalReason.TOO_LARGE else {REFUSAL_STATUS[reason]}
        if answer.status not in expected or answer.body.get("reason") != reason or not answer.body.get("message"):
            failures.append(f"{what} was answered with {answer}, not with {REFUSAL_STATUS[reason]} {reason}")
    subject.wait(lambda: subject.client.metrics().value(names.METRIC_STEP) > before.value(names.METRIC_STEP))
    if (now := subject.client.metrics().value(names.METRIC_CONTROL_REVISION)) != current:
        failures.append(f"the trial went to revision {now:g} by a message that it must refuse")
    if failures:
        raise Failed("; ".join(failures))
    return f"refused {attempts} messages, each for its reason"


def _unwelcome(subject: Subject, current: int, scale: float) -> Iterator[tuple[str, str, RefusalReason]]:
    good = ControlMessage(trial=subject.trial, revision=current + 1, learning_rate_scale=scale)
    now = subject.clock()
    claims = {"iss": ISSUER, "aud": subject.trial, "iat": now, "exp": now + LIFETIME}
    control = {"revision": good.revision}
    stranger = generate_key_pair()

    def forge(change: dict[str, object]) -> str:
        return jwt.encode({**claims, "control": {**control, **change}}, subject.private_key, algorithm="EdDSA")

    foreign = sign_control(good, private_key=stranger.private_pem, now=now, lifetime=LIFETIME)
    yield "another key's signature", foreign, RefusalReason.BAD_SIGNATURE
    header, _, signature = subject.token(good).split(".")
    _, payload, _ = subject.token(replace(good, learning_rate_scale=9.0)).split(".")
    yield "a changed payload", f"{header}.{payload}.{signature}", RefusalReason.BAD_SIGNATURE
    unsigned = jwt.encode({**claims, "control": control}, "", algorithm="none")
    yield "a token without signature", unsigned, RefusalReason.WRONG_ALGORITHM
    shared = jwt.encode({**claims, "control": control}, "s" * 32, algorithm="HS256")
    yield "a token signed with a shared secret", shared, RefusalReason.WRONG_ALGORITHM
    other = replace(good, trial=f"{subject.trial}-other")
    yield "a message for another trial", subject.token(other), RefusalReason.WRONG_TRIAL
    if current > 1:
        yield "an old revision", subject.token(replace(good, revision=current - 1)), RefusalReason.OLD_REVISION
    late = LIFETIME + MAX_CLOCK_SKEW * 4
    yield "an expired message", subject.token(good, age=late), RefusalReason.EXPIRED
    yield "a message from the future", subject.token(good, age=-MAX_CLOCK_SKEW * 4), RefusalReason.ISSUED_IN_FUTURE
    for wrong in (0, -1, MAX_LEARNING_RATE_SCALE * 1.01):
        yield f"the scale {wrong:g}", forge({"learningRateScale": wrong}), RefusalReason.OUT_OF_BOUNDS
    yield "the revision 0", forge({"revision": 0}), RefusalReason.OUT_OF_BOUNDS
    yield "the batch size 0", forge({"batchSize": 0}), RefusalReason.OUT_OF_BOUNDS
    yield "a scale that is a text", forge({"learningRateScale": "1"}), RefusalReason.MALFORMED
    yield "an unknown field", forge({"surprise": 1}), RefusalReason.MALFORMED
    yield "no token at all", "hello", RefusalReason.MALFORMED
    yield "a token that is too large", "x" * (MAX_TOKEN_BYTES + 1), RefusalReason.TOO_LARGE
