"""Fixtures that every test may ask for; nothing starts before a test asks."""

from hypothesis import settings

pytest_plugins = ["tests.testbed.pytest_plugin"]

settings.register_profile("patient", deadline=None)  # A slow machine is no failure.
settings.load_profile("patient")
