"""One reason for every way in which a process may end."""

from __future__ import annotations

import signal

import pytest

from trial_protocol.result import Outcome, TrialResult
from tuning_operator.backends.local.ending import Exit, count_out_of_memory_kills, judge_exit
from tuning_operator.engine.events import EndReason


def result(outcome: Outcome, message: str = "") -> TrialResult:
    return TrialResult(outcome=outcome, message=message)


@pytest.mark.parametrize(
    ("ended", "reason", "retry", "words"),
    [
        (Exit(code=0), EndReason.COMPLETED, False, ""),
        (Exit(code=0, result=result(Outcome.COMPLETED)), EndReason.COMPLETED, False, ""),
        (Exit(code=None, result=result(Outcome.COMPLETED)), EndReason.COMPLETED, False, ""),
        (
            Exit(code=-signal.SIGSEGV, result=result(Outcome.COMPLETED)),
            EndReason.COMPLETED,
            False,
            "then was ended by SIGSEGV",
        ),
        (Exit(code=64, tail="no lr"), EndReason.CONFIGURATION_ERROR, False, "it printed last: no lr"),
        (
            Exit(code=1, result=result(Outcome.CONFIGURATION_ERROR, "width must be even")),
            EndReason.CONFIGURATION_ERROR,
            False,
            "width must be even; it is not tried again",
        ),
        (Exit(code=0, result=result(Outcome.NON_FINITE)), EndReason.NON_FINITE, False, "not finite"),
        (Exit(code=1, result=result(Outcome.OUT_OF_MEMORY, "20 GiB")), EndReason.OUT_OF_MEMORY, True, "20 GiB"),
        (Exit(code=1, tail="torch.OutOfMemoryError: CUDA"), EndReason.OUT_OF_MEMORY, True, "smaller batches"),
        (Exit(code=-9, out_of_memory_kills=1), EndReason.OUT_OF_MEMORY, True, "the kernel ended the process"),
        (Exit(code=-9), EndReason.FAILED, True, "SIGKILL, which was not sent from here"),
        (Exit(code=-15), EndReason.PREEMPTED, True, "by somebody else"),
        (Exit(code=0, result=result(Outcome.INTERRUPTED)), EndReason.PREEMPTED, True, "by somebody else"),
        (Exit(code=3), EndReason.FAILED, True, "exit code 3; it printed nothing"),
        (Exit(code=1, result=result(Outcome.FAILED, "KeyError: 'x'")), EndReason.FAILED, True, "KeyError: 'x'"),
        (Exit(code=0, result=result(Outcome.FAILED, "odd")), EndReason.FAILED, True, "odd"),
        (Exit(code=0, tail="MemoryError was handled"), EndReason.COMPLETED, False, ""),
        (Exit(code=None), None, False, ""),
        (Exit(code=None, result=result(Outcome.FAILED)), None, False, ""),
    ],
)
def test_reasons(ended: Exit, reason: EndReason | None, retry: bool, words: str) -> None:
    ending = judge_exit(ended)
    assert (ending.reason, ending.retry) == (reason, retry)
    assert words in ending.message
    assert ending.failure == ending.retry


def test_the_kernel_is_asked_about_memory() -> None:
    assert count_out_of_memory_kills() >= 0
