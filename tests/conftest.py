"""Fixtures that every test may ask for; nothing starts before a test asks."""

import signal

from hypothesis import settings

pytest_plugins = ["tests.testbed.pytest_plugin"]

settings.register_profile("patient", deadline=None)  # A slow machine is no failure.
settings.load_profile("patient")

# A shell starts what runs in the background with interrupts ignored, and programs under test would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
