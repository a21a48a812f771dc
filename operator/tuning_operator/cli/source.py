"""Where a job's picture comes from: a run directory of this machine, or a cluster, behind the same few methods."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final, Protocol

from tuning_operator.engine.view import JobView
from tuning_operator.errors import BackendError, RunNotFound

LOG = "events.jsonl"
_LOOK_SECONDS: Final = 0.5


class Source(Protocol):
    """Finds jobs by name."""

    def load(self, name: str) -> JobView:
        """Return the newest picture of a job.

        Raises:
            RunNotFound: No job of this name; the text suggests the nearest.
        """
        ...

    def follow(self, name: str) -> AsyncGenerator[JobView, None]:
        """Yield pictures of a job as it goes on, until it is over; errors as for `load`."""
        ...

    def where(self, name: str) -> str:
        """Return where a job is kept, for people."""
        ...

    def report_path(self, name: str) -> Path:
        """Return where the report of a job is written unless somebody says otherwise."""
        ...


class LocalRuns:
    """Run directories below one folder; a name may also be the path of a run directory."""

    def __init__(self, root: Path = Path("runs")) -> None:
        self.root: Final = root

    def find(self, name: str) -> Path | None:
        """Return the run directory that `name` means, if there is one."""
        for candidate in (Path(name), self.root / name):
            if (candidate / LOG).is_file() or (candidate / "job.yaml").is_file():
                return candidate
        return None

    def directory(self, name: str) -> Path:
        """Return the run directory that `name` means.

        Raises:
            RunNotFound: There is none.
        """
        found = self.find(name)
        if found is not None:
            return found
        known = self.names()
        near = difflib.get_close_matches(Path(name).name, known, n=1, cutoff=0.4)
        if near:
            hint = f"Did you mean {near[0]}?"
        elif known:
            hint = f"There is: {', '.join(known[:10])}{', ...' if len(known) > 10 else ''}."
        else:
            hint = f"{self.root}/ holds no runs yet; start one with: tuning run FILE"
        raise RunNotFound(f"no run named {name} here, and no run directory at that path. {hint}")

    def load(self, name: str) -> JobView:
        """Return the picture that the run's own log gives."""
        directory = self.directory(name)
        from tuning_operator.backends.local.run_directory import RunDirectory

        return RunDirectory(directory).view()

    async def follow(self, name: str) -> AsyncGenerator[JobView, None]:
        """Yield a new picture whenever the run's log has grown, until the run is over.

        Raises:
            BackendError: Nobody drives the run any more, and it is not over.
        """
        directory = self.directory(name)
        from tuning_operator.backends.local.lock import is_driven

        seen: float | None = None
        while True:
            driven = is_driven(directory / "lock")
            written = (directory / LOG).stat().st_mtime if (directory / LOG).exists() else 0.0
            if written != seen:
                seen = written
                view = self.load(name)
                yield view
                if view.finished is not None:
                    return
            elif not driven:
                raise BackendError(
                    f"no process drives {directory}; go on with: tuning run FILE --directory {directory} --resume"
                )
            await asyncio.sleep(_LOOK_SECONDS)

    def where(self, name: str) -> str:
        """Return the run directory."""
        return str(self.directory(name))

    def report_path(self, name: str) -> Path:
        """Return the report's place in the run directory."""
        return self.directory(name) / "report.html"

    def names(self) -> list[str]:
        """Return the names of all runs, newest first."""
        logs = [path for path in self.root.glob(f"*/{LOG}") if path.is_file()]
        return [path.parent.name for path in sorted(logs, key=lambda path: path.stat().st_mtime, reverse=True)]
