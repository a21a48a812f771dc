"""Which tests run side by side when several processes share them: slow folders first, and one process has the node.

All tests that share the node go to one process, so that only one is started, and pods have it to themselves; every
other file is a unit of its own. Short files come last, so that no process ends long before another.

Tests on test beds wait for clusters more than they compute, and mind when the machine is too busy to answer them. So
the last of three or more processes is a filler, which computes when the others wait: it takes tests that need no test
bed, and then the chart's, which need no more than an API server.
"""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import Any, Final

import pytest

_NODE: Final = "tests/cluster"
_APART: Final = (f"{_NODE}/test_trial_node_loss.py",)
"""Has a node of its own."""
_ORDER: Final = (_NODE, "tests/controlplane", "tests/chart", "tests/local", "tests/simulation", "tests/unit")
_LIGHT: Final = ("tests/local/", "tests/simulation/", "tests/unit/", "tests/chart/")
"""What the filler takes, in this order."""
_NICENESS: Final = 5
_FIRST: Final = ("test_operator_kills.py", "test_operator_faults.py")


def _is_filler(worker: str, count: int) -> bool:
    return count > 2 and worker == f"gw{count - 1}"


def pytest_configure(config: pytest.Config) -> None:
    """Let the filler, and whatever it starts, wait for all others."""
    worker = getattr(config, "workerinput", None)
    if worker is not None and _is_filler(worker["workerid"], worker["workercount"]):
        os.nice(_NICENESS)


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

        def _assign_work_unit(self, node: Any) -> None:
            if _is_filler(node.gateway.id, self.numnodes):
                light = [scope for folder in _LIGHT for scope in self.workqueue if scope.startswith(folder)]
                if not light:
                    node.shutdown()
                    return
                self.workqueue.move_to_end(light[0], last=False)
            super()._assign_work_unit(node)

    if config.getvalue("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return NodeAtOnce(config, log)
