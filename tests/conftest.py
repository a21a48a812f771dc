"""Fixtures that every test may ask for; nothing starts before a test asks."""

pytest_plugins = ["tests.testbed.pytest_plugin", "tests.testbed.prometheus"]
