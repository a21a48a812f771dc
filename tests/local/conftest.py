"""What every test of real processes needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.local.jobs import live_processes


@pytest.fixture(autouse=True)
def _nobody_is_left(tmp_path: Path) -> Iterator[None]:
    """End what a failed test has left running."""
    yield
    for pid in live_processes(tmp_path):
        psutil.Process(pid).kill()
