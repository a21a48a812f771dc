"""``tuning watch``: the live view of a job that runs somewhere else; leaving it leaves the job alone."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from contextlib import aclosing

from tuning_operator.cli.exits import ExitCode
from tuning_operator.cli.output import Output
from tuning_operator.cli.run_job import LiveWatcher, PlainWatcher, Watcher
from tuning_operator.cli.source import Source
from tuning_operator.cli.summary import summary
from tuning_operator.engine.view import JobView


def watch_job(source: Source, name: str, *, plain: bool, output: Output) -> ExitCode:
    """Show a job until it is over.

    Raises:
        RunNotFound: There is no such job, or not any more.
        BackendError: It cannot be watched.
    """
    live = output.live and not plain
    watcher: Watcher = LiveWatcher(output, screen=True) if live else PlainWatcher(output, since=None)
    view: JobView | None = None
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError), watcher:
        view = asyncio.run(_show(source, name, watcher))
    if view is None:
        output.note(f"{name} goes on without this view; look again with tuning watch, end it with tuning stop")
        return ExitCode.INTERRUPTED
    output.line()
    for line in summary(view):
        output.line(line)
    return ExitCode.OK if view.best is not None else ExitCode.NO_RESULT


async def _show(source: Source, name: str, watcher: Watcher) -> JobView | None:
    view: JobView | None = None
    with _resized(watcher):
        async with aclosing(source.follow(name)) as views:
            async for view in views:
                watcher.update(view)
    return view


@contextlib.contextmanager
def _resized(watcher: Watcher) -> Iterator[None]:
    """Draw again at once when the terminal changes its size."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, watcher.redraw)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
