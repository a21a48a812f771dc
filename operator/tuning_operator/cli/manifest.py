"""Reading a manifest from a file, with all of its mistakes at once."""

from __future__ import annotations

from pathlib import Path

from tuning_operator.api.tuning_job import TuningJob
from tuning_operator.errors import ManifestError, Problem
from tuning_operator.search.check import load_job


def load(path: Path) -> TuningJob:
    """Return the job of a manifest.

    Raises:
        ManifestError: It cannot be read, or has mistakes: all of them.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ManifestError([Problem(path="", expected=f"the file cannot be read: {why}")], source=str(path)) from None
    return load_job(text, source=str(path))
