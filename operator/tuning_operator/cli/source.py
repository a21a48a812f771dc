"""Where a job's picture comes from: a run directory today, a cluster behind the same two methods."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Protocol

from tuning_operator.engine.view import JobView
from tuning_operator.errors import RunNotFound

LOG = "events.jsonl"


class Source(Protocol):
    """Finds jobs by name."""

    def load(self, name: str) -> JobView:
        """Return the newest picture of a job.

        Raises:
            RunNotFound: No job of this name; the text suggests the nearest.
        """
        ...


class LocalRuns:
    """Run directories below one folder; a name may also be the path of a run directory."""

    def __init__(self, root: Path = Path("runs")) -> None:
        self._root = root

    def directory(self, name: str) -> Path:
        """Return the run directory that `name` means.

        Raises:
            RunNotFound: There is none.
        """
        for candidate in (Path(name), self._root / name):
            if (candidate / LOG).is_file() or (candidate / "job.yaml").is_file():
                return candidate
        known = self.names()
        near = difflib.get_close_matches(Path(name).name, known, n=1, cutoff=0.4)
        if near:
            hint = f"Did you mean {near[0]}?"
        elif known:
            hint = f"There is: {', '.join(known[:10])}{', ...' if len(known) > 10 else ''}."
        else:
            hint = f"{self._root}/ holds no runs yet; start one with: tuning run FILE"
        raise RunNotFound(f"no run named {name} here, and no run directory at that path. {hint}")

    def load(self, name: str) -> JobView:
        """Return the picture that the run's own log gives."""
        directory = self.directory(name)
        from tuning_operator.backends.local.run_directory import RunDirectory

        return RunDirectory(directory).view()

    def names(self) -> list[str]:
        """Return the names of all runs, newest first."""
        logs = [path for path in self._root.glob(f"*/{LOG}") if path.is_file()]
        return [path.parent.name for path in sorted(logs, key=lambda path: path.stat().st_mtime, reverse=True)]
