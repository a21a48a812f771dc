"""The root of the product's exception tree.

    TuningError
     ├─ ProtocolError                 the contract between operator and trial was broken
     │   └─ ControlRefused            a control message that must not be applied, with the reason
     └─ tuning_operator.errors.*      what the operator and the command line raise

It lives in the contract because that is the only package which both sides import.
"""

from __future__ import annotations


class TuningError(Exception):
    """Base of every error this product raises on purpose; its text is meant for the user."""


class ProtocolError(TuningError):
    """A trial or an operator said something that the contract does not allow."""
