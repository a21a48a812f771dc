"""How a training ended, in the words of the contract, and where that is written."""

from __future__ import annotations

from pathlib import Path

from trial_protocol import names
from trial_protocol.result import Outcome, TrialResult


def outcome_of(error: BaseException | None, *, stopping: bool) -> tuple[Outcome, str]:
    """Return the outcome and its message for a training that ended with `error` (None: it ran to its end).

    Args:
        stopping: Whether the process had been asked to end.
    """
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return (Outcome.INTERRUPTED if stopping else Outcome.COMPLETED), ""
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, SystemExit):
        code = error.code
        return (Outcome.CONFIGURATION_ERROR if code == names.EXIT_CONFIGURATION_ERROR else Outcome.FAILED), message
    if isinstance(error, KeyboardInterrupt):
        return Outcome.INTERRUPTED, message
    # torch.OutOfMemoryError is known by its name: this package does not import torch.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return Outcome.OUT_OF_MEMORY, message
    return Outcome.FAILED, message


def write_termination_message(path: str, result: TrialResult) -> None:
    """Write the result in one write, into the file that is there: on Kubernetes it is a mount and cannot be replaced.

    Raises:
        OSError: The file cannot be written.
    """
    text = result.to_json()
    with Path(path).open("wb", buffering=0) as file:
        file.write(text.encode())
