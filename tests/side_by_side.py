"""Which tests run side by side when several processes share them: slow folders first, and one process has the node.

All tests that share the node go to one process, so that only one is started, and pods have it to themselves; every
other file is a unit of its own. Short files come last, so that no process ends long before another.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, Final

import pytest

_NODE: Final = "tests/cluster"
_APART: Final = (f"{_NODE}/test_trial_node_loss.py",)
"""Has a node of its own."""
_ORDER: Final = (_NODE, "tests/controlplane", "tests/chart", "tests/local", "tests/simulation", "tests/unit")
_FIRST: Final = ("test_operator_kills.py", "test_operator_faults.py")


def _rank(item: pytest.Item) -> tuple[int, int]:
    path = PurePosixPath(item.nodeid.partition("::")[0])
    folder = "/".join(path.parts[:2])
    return (
        _ORDER.index(folder) if folder in _ORDER else len(_ORDER),
        _FIRST.index(path.name) if path.name in _FIRST else len(_FIRST),
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the slow ones first, where processes share the tests."""
    if hasattr(config, "workerinput"):
        items.sort(key=_rank)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give out files in this order, and everything that needs the node at once."""
    from xdist.scheduler import LoadFileScheduling

    class NodeAtOnce(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = str(super()._split_scope(nodeid))
            return _NODE if file.startswith(f"{_NODE}/") and file not in _APART else file

    if config.getvalue("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return NodeAtOnce(config, log)
