"""Checks a running trial against the contract, whatever language it is written in::

    python -m trial_protocol.conformance http://127.0.0.1:8080 --trial digits-0001 --key key.pem

The trial must be training meanwhile: some checks wait for its next step. It is steered on the way and left as it was,
but for its control revision.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from trial_protocol.conformance import reading, steering
from trial_protocol.conformance.client import Failed, TrialClient
from trial_protocol.conformance.subject import Subject
from trial_protocol.errors import ProtocolError

__all__ = ["CHECKS", "CheckResult", "check_trial"]


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What one check found."""

    name: str
    passed: bool
    sentence: str


CHECKS: Final[dict[str, Callable[[Subject], str]]] = {
    "metrics": reading.check_metrics,
    "openmetrics": reading.check_open_metrics,
    "name filter": reading.check_name_filter,
    "loss windows": reading.check_windows,
    "history": reading.check_history,
    "history pages": reading.check_pages,
    "history's end": reading.check_end,
    "consistency": reading.check_consistency,
    "control": steering.check_control,
    "refusals": steering.check_refusals,
    "unknown path": reading.check_unknown_path,
    "slow client": reading.check_slow_client,
}
"""Every check by its name, in the order in which they run."""


def check_trial(
    base_url: str,
    *,
    trial: str,
    private_key: str,
    objective: str | None = None,
    patience: float = 10.0,
    timeout: float = 10.0,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> list[CheckResult]:
    """Run every check against the trial at `base_url`; none stops at the failure of another.

    Args:
        trial: Its identity (`TrialEnvironment.audience`).
        private_key: PEM of the Ed25519 key whose public half the trial was given.
        objective: Metric that must be exported and recorded; None takes any.
        timeout: Seconds for one answer.
    """
    subject = Subject(
        client=TrialClient(base_url, timeout=timeout),
        trial=trial,
        private_key=private_key,
        objective=objective,
        patience=patience,
        clock=clock,
        sleep=sleep,
    )
    return [_run(name, check, subject) for name, check in CHECKS.items()]


def _run(name: str, check: Callable[[Subject], str], subject: Subject) -> CheckResult:
    try:
        return CheckResult(name=name, passed=True, sentence=check(subject))
    except (Failed, ProtocolError) as failure:
        return CheckResult(name=name, passed=False, sentence=str(failure))
