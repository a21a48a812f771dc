"""What became of an attempt: one reason, whether to try again, and a message that names the cause and the fix.

What counts, in this order: a final result that the trial itself wrote, its exit code, and what it printed last.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trial_protocol import names
from trial_protocol.result import Outcome, TrialResult
from tuning_operator.engine.events import EndReason

_MEMORY_WORDS: Final = ("CUDA out of memory", "OutOfMemoryError", "MemoryError", "Cannot allocate memory")
_FIX_MEMORY: Final = "tune smaller batches or models, or lower budget.parallel"


@dataclass(frozen=True, kw_only=True)
class Exit:
    """How a process ended.

    Attributes:
        code: Exit status; minus the signal's number if one ended it; None if nobody saw it.
        was_ended: It was ended from here.
        result: What the trial wrote about this attempt.
        tail: The end of what it printed.
        out_of_memory_kills: How often the kernel ran out of memory while it ran.
    """

    code: int | None
    was_ended: bool = False
    result: TrialResult | None = None
    tail: str = ""
    out_of_memory_kills: int = 0


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What is made of it.

    Attributes:
        reason: None for an interruption, after which the trial goes on as a new attempt.
        retry: Whether another attempt could end differently.
        failure: Whether the attempt counts against ``spec.trial.retries``.
    """

    reason: EndReason | None
    message: str = ""
    retry: bool = False
    failure: bool = False


def judge_exit(ended: Exit) -> Ending:
    """Return what became of an attempt that nobody wanted to stop."""
    result, code = ended.result, ended.code
    outcome = result.outcome if result else None
    said = f": {result.message}" if result and result.message else ""
    if outcome is Outcome.COMPLETED:
        late = "" if code in (0, None) else f"it completed, and then {_how(code)} while it closed down"
        return Ending(reason=EndReason.COMPLETED, message=late)
    if code == names.EXIT_CONFIGURATION_ERROR or outcome is Outcome.CONFIGURATION_ERROR:
        return Ending(
            reason=EndReason.CONFIGURATION_ERROR,
            message=f"the trainer refused its configuration{said or _printed(ended)}; it is not tried again",
        )
    if outcome is Outcome.NON_FINITE:
        return Ending(reason=EndReason.NON_FINITE, message=f"the loss is not finite any more{said}")
    memory = _memory(ended)
    if memory:
        return Ending(reason=EndReason.OUT_OF_MEMORY, message=memory, retry=True, failure=True)
    if outcome is Outcome.INTERRUPTED or (code == -signal.SIGTERM and not ended.was_ended):
        return Ending(
            reason=EndReason.PREEMPTED,
            message="it was asked to end (SIGTERM) by somebody else",
            retry=True,
            failure=True,
        )
    if code is None:
        return Ending(reason=None)
    if code == 0 and outcome is None:
        return Ending(reason=EndReason.COMPLETED)
    return Ending(
        reason=EndReason.FAILED, message=f"the process {_how(code)}{said}{_printed(ended)}", retry=True, failure=True
    )


def count_out_of_memory_kills() -> int:
    """Return how many processes the kernel has ended for want of memory since it started; 0 if it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
    except (OSError, ValueError, IndexError):
        return 0


def _memory(ended: Exit) -> str:
    if ended.result and ended.result.outcome is Outcome.OUT_OF_MEMORY:
        return f"out of memory: {ended.result.message or _FIX_MEMORY}; {_FIX_MEMORY}"
    if ended.code == -signal.SIGKILL and not ended.was_ended and ended.out_of_memory_kills:
        return f"this machine ran out of memory and the kernel ended the process; {_FIX_MEMORY}"
    if ended.code not in (0, None) and any(word in ended.tail for word in _MEMORY_WORDS):
        return f"out of memory; {_FIX_MEMORY}{_printed(ended)}"
    return ""


def _how(code: int | None) -> str:
    if code is None:
        return "ended unseen"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = str(-code)
    return f"was ended by {name}, which was not sent from here"


def _printed(ended: Exit) -> str:
    return f"; it printed last: {ended.tail}" if ended.tail else "; it printed nothing"
