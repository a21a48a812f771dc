"""Fixtures that every test may ask for; nothing starts before a test asks."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings
from tests.nursery import Nursery

pytest_plugins = ["tests.side_by_side", "tests.testbed.pytest_plugin"]

settings.register_profile("patient", deadline=None)  # A slow machine is no failure.
settings.load_profile("patient")

# A shell starts what runs in the background with interrupts ignored, and programs under test would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Operators as processes that start in a moment."""
    with Nursery.opened() as opened:
        yield opened
