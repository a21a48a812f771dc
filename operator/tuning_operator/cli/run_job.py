"""``tuning run``: the live view around the local runner, and what is left behind at the end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tuning_operator.cli.exits import ExitCode
from tuning_operator.cli.live import render
from tuning_operator.cli.manifest import load
from tuning_operator.cli.output import Output
from tuning_operator.cli.plain import PlainReporter
from tuning_operator.cli.results import results_csv
from tuning_operator.cli.source import LOG
from tuning_operator.cli.summary import summary
from tuning_operator.engine.view import JobView

_REDRAW_SECONDS: Final = 0.25


def run_job(file: Path, *, directory: Path | None, resume: bool, plain: bool, quiet: bool, output: Output) -> ExitCode:
    """Run a manifest to its end on this machine.

    Raises:
        ManifestError: The manifest has mistakes.
        BackendError: Trials cannot be run here, or the directory is in use.
    """
    from tuning_operator.backends.local.runner import run

    job = load(file)
    target = directory or Path("runs") / job.metadata.name
    shown = _known(target) if resume else None
    watcher: Watcher = (
        Watcher() if quiet else LiveWatcher(output) if output.live and not plain else PlainWatcher(output, since=shown)
    )
    view: JobView | None = None
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError), watcher:
        view = asyncio.run(run(job, directory=target, resume=resume, on_view=watcher.update))
    if view is None or view.suspended:
        output.note(f"Interrupted; nothing is lost. Continue with: tuning run {file} --directory {target} --resume")
        return ExitCode.INTERRUPTED
    finish(view, directory=target, output=output)
    return ExitCode.OK if view.best is not None else ExitCode.NO_RESULT


def finish(view: JobView, *, directory: Path, output: Output) -> None:
    """Write the report and the table, and say what was found."""
    from tuning_operator.cli.report.page import page

    report, table = directory / "report.html", directory / "results.csv"
    write_text(table, results_csv(view))
    write_text(report, page(view))
    output.line()
    for line in summary(view):
        output.line(line)
    output.line(f"Report:     {report}")
    output.line(f"Table:      {table}")


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8", newline="\n")
    part.replace(path)


def _known(directory: Path) -> JobView | None:
    from tuning_operator.backends.local.run_directory import RunDirectory

    return RunDirectory(directory).view() if (directory / LOG).is_file() else None


class Watcher:
    """Is shown every picture of a running job; this one says nothing."""

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *ending: object) -> None:
        """Leave the terminal as it should stay."""

    def update(self, view: JobView) -> None:
        """Take in the newest picture."""

    def redraw(self) -> None:
        """Show the newest picture again: the terminal has another size."""


class PlainWatcher(Watcher):
    """One line for each thing that happened."""

    def __init__(self, output: Output, *, since: JobView | None) -> None:
        self.update = PlainReporter(output.line, since=since).update  # type: ignore[method-assign]


class LiveWatcher(Watcher):
    """A view that redraws itself, at most four times a second; the last picture is always drawn.

    Args:
        screen: Take the whole terminal and give it back at the end, so that a change of its size leaves no traces.
    """

    def __init__(self, output: Output, *, screen: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.live import Live

        self._console = output.console
        self._live = Live(console=output.console, auto_refresh=False, vertical_overflow="crop", screen=screen)
        self._clock = clock
        self._drawn = -_REDRAW_SECONDS
        self._newest: JobView | None = None

    def __enter__(self) -> LiveWatcher:
        self._live.start()
        return self

    def __exit__(self, *ending: object) -> None:
        self.redraw()
        self._live.stop()

    def update(self, view: JobView) -> None:
        """Draw the picture, or keep it for a moment if one was drawn just now."""
        self._newest = view
        if self._clock() - self._drawn >= _REDRAW_SECONDS:
            self.redraw()

    def redraw(self) -> None:
        """Draw the newest picture now."""
        if self._newest is None:
            return
        size = self._console.size
        self._live.update(render(self._newest, width=size.width, height=size.height - 1), refresh=True)
        self._drawn = self._clock()
