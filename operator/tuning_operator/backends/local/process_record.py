"""What is kept beside the log about the processes of one trial, so that a killed runner can be followed by another."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tuning_operator.backends.local.event_log import write_whole


@dataclass(frozen=True, kw_only=True)
class ProcessRecord:
    """One trial's account, written before each start and once the process is there.

    Attributes:
        attempt: The newest attempt.
        pid: Its process, which leads its own session and process group; None before the start.
        started: Seconds since the epoch; 0 once the attempt is accounted for.
        failures: Attempts that failed; an interruption is none.
        compute_seconds: Used by all earlier attempts together; so also `gpu_seconds`.
        gpus: GPUs of this attempt.
    """

    attempt: int = 0
    pid: int | None = None
    started: float = 0.0
    failures: int = 0
    compute_seconds: float = 0.0
    gpu_seconds: float = 0.0
    gpus: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Replace the file.

        Raises:
            BackendError: It cannot be written.
        """
        write_whole(path, json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> ProcessRecord:
        """Return what the file says; the empty record when there is none, or none that can be read."""
        try:
            parsed = json.loads(path.read_text())
            return cls(
                attempt=int(parsed["attempt"]),
                pid=None if parsed["pid"] is None else int(parsed["pid"]),
                started=float(parsed["started"]),
                failures=int(parsed["failures"]),
                compute_seconds=float(parsed["compute_seconds"]),
                gpu_seconds=float(parsed["gpu_seconds"]),
                gpus=tuple(str(gpu) for gpu in parsed["gpus"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return cls()
