"""What can go wrong in the test bed, told apart by what the reader should do about it."""

from __future__ import annotations


class TestbedError(Exception):
    """Something failed that should have worked; the message says what, and where its log is."""

    __test__ = False  # the name begins as pytest's test classes do


class Unavailable(TestbedError):
    """This machine cannot run what was asked for; tests that need it are skipped with this reason."""
