"""The root of the product's exception tree.

    TuningError
     ├─ ProtocolError                 the contract between operator and trial was broken
     │   └─ ControlRefused            a control message that must not be applied, with the reason
     ├─ ConfigurationError            a trial's parameters cannot work; retrying would fail the same way
     └─ tuning_operator.errors.*      what the operator and the command line raise

It lives in the contract because that is the only package which both sides import.
"""

from __future__ import annotations

from enum import StrEnum


class TuningError(Exception):
    """Base of every error this product raises on purpose; its text is meant for the user."""


class ProtocolError(TuningError):
    """A trial or an operator said something that the contract does not allow."""


class ConfigurationError(TuningError):
    """A trial's parameters cannot work; retrying would fail the same way (exit code 64)."""


class RefusalReason(StrEnum):
    """Why a control message is not applied; the ``reason`` of the answer to `PUT /control`."""

    NO_PUBLIC_KEY = "NoPublicKey"
    """The trial was started without a key to check messages with, so it takes none."""
    TOO_LARGE = "TooLarge"
    MALFORMED = "Malformed"
    WRONG_ALGORITHM = "WrongAlgorithm"
    BAD_SIGNATURE = "BadSignature"
    WRONG_TRIAL = "WrongTrial"
    EXPIRED = "Expired"
    ISSUED_IN_FUTURE = "IssuedInFuture"
    OUT_OF_BOUNDS = "OutOfBounds"
    OLD_REVISION = "OldRevision"
    ALREADY_APPLIED = "AlreadyApplied"
    """Not an error between operator and trial: the trial answers it with success, so that sending twice is safe."""


class ControlRefused(ProtocolError):
    """A control message must not be applied."""

    def __init__(self, reason: RefusalReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
