"""How the command ends: one number for each thing that a script may want to tell apart."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from tuning_operator.errors import RunNotFound, TuningError, WrongState


class ExitCode(IntEnum):
    """Exit status of ``tuning``."""

    OK = 0
    NO_RESULT = 1
    """The job ended, or is read, without a single usable result."""
    USAGE = 2
    """A mistake in the command line or in the manifest, a job that is not there or not in the state that is needed."""
    ENVIRONMENT = 3
    """It cannot run here: a directory that is locked or cannot be read, a cluster that does not answer or refuses."""
    INTERNAL = 70
    """A mistake of this program (BSD's EX_SOFTWARE)."""
    INTERRUPTED = 130
    """Ended by Ctrl-C; what was done is kept, and ``run --resume`` continues a run."""


EXIT_CODES: Final = """\
Exit status: 0 success; 1 no usable result; 2 mistake in the command line or the manifest, or no such job; 3 it cannot \
run here (directory locked, log unreadable, cluster out of reach or not allowed); 70 a mistake of this program; 130 \
interrupted (tuning run continues with --resume)."""


def exit_code(error: TuningError) -> ExitCode:
    """Return the status that fits an error."""
    if isinstance(error, RunNotFound | WrongState) or type(error).__name__ == "ManifestError":
        return ExitCode.USAGE
    return ExitCode.ENVIRONMENT
