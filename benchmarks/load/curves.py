"""What the stand-in trials report: invented trainings, or recorded ones."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from tuning_operator.backends.simulation.course import Curves, RecordedCurves, Report
from tuning_operator.backends.simulation.synthetic import SyntheticCurves
from tuning_operator.curves.marks import MARKS
from tuning_operator.engine.events import TrialProposed

TOTAL = 1000
"""Length of every schedule, in steps."""
REPORTS = MARKS
"""Evaluations in one training: one for each mark."""


def load_curves(folder: Path | None) -> Curves:
    """Return the trainings: those recorded in a folder (the format of benchmarks/replay.py), or invented ones.

    Raises:
        ValueError: The folder has none of the known suites, or pandas and pyarrow are not installed.
    """
    if folder is None:
        return SyntheticCurves(total=TOTAL, seed=7, reports=REPORTS, best=3e-3)
    pool = _recorded(folder)

    def choose(trial: TrialProposed) -> list[Report]:
        return pool[trial.seed % len(pool)]

    return RecordedCurves(choose)


def _recorded(folder: Path) -> list[list[Report]]:
    replay: Any = importlib.import_module("benchmarks.replay")
    try:
        pandas = importlib.import_module("pandas")
        importlib.import_module("pyarrow")
    except ImportError as error:
        raise ValueError(f"{error}: the recorded curves are parquet files; install pandas and pyarrow") from None
    for name, suite in replay.SUITES.items():
        if (folder / name).is_dir():
            _, pool = next(iter(suite(folder / name, pandas)))
            return [_reports(marks) for marks in pool if len(marks) == MARKS]
    raise ValueError(f"{folder} has none of the suites {', '.join(replay.SUITES)}; name the folder that holds them")


def _reports(marks: Any) -> list[Report]:
    return [
        Report(seconds=0.0, position=one.mark / MARKS * TOTAL, value=one.value, steps=10, loss=one.value)
        for one in marks
    ]
