"""The conformance suite passes a trial that keeps the contract and finds every way in which one breaks it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.trial_protocol import broken_trials as broken
from tests.unit.trial_protocol.broken_trials import NAME

from trial_protocol import names
from trial_protocol.conformance import CHECKS, CheckResult, check_trial
from trial_protocol.control import generate_key_pair
from trial_protocol.environment import TrialEnvironment
from trial_protocol.errors import ProtocolError

KEYS = generate_key_pair()

FOUND_BY = {
    "no attempt": {"metrics", "name filter"},
    "unreadable": set(CHECKS) - {"history", "history pages", "unknown path"},
    "always OpenMetrics": {"openmetrics"},
    "lying content type": {"openmetrics"},
    "ignores name[]": {"name filter", "loss windows"},
    "one window for all": {"loss windows"},
    "mean of other losses": {"loss windows"},
    "ignores after": {"history"},
    "leaves a record out": {"history", "consistency"},
    "ignores limit": {"history pages"},
    "no cursor": {"history pages"},
    "never anything new": {"history's end"},
    "no objective": {"history", "consistency"},
    "value of no step": {"consistency"},
    "no evaluation step": {"consistency"},
    "accepts everything": {"refusals"},
    "wrong reasons": {"refusals"},
    "carries out nothing": {"control", "refusals"},
    "refuses a repetition": {"control"},
    "answers everything": {"unknown path"},
}
"""Which checks find which breach."""

PLAIN_LOOP = """
    import time, tuning_trainer
    with tuning_trainer.start() as trial:
        step = 0
        while not trial.should_stop:
            step += 1
            time.sleep(0.002)
            trial.record_step(step=step, loss=1 / step)
            trial.report(step=step, eval_loss=1 / step, learning_rate=0.1 * trial.learning_rate_scale)
"""


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with broken.training(tmp_path, KEYS.public_pem) as port:
        yield port


def check(
    url: str, *, objective: str | None = "eval_loss", patience: float = 1.0, timeout: float = 10.0
) -> list[CheckResult]:
    return check_trial(
        url, trial=NAME, private_key=KEYS.private_pem, objective=objective, patience=patience, timeout=timeout
    )


def test_a_trial_through_an_honest_middleman_passes(port: int) -> None:
    with broken.in_front_of(port, broken.honest) as url:
        results = check(url, patience=10.0)
    assert [result.name for result in results] == list(CHECKS)
    assert [result for result in results if not result.passed] == []


@pytest.mark.parametrize(("breach", "failing"), FOUND_BY.items())
def test_every_breach_is_found_by_its_check(port: int, breach: str, failing: set[str]) -> None:
    with broken.in_front_of(port, broken.BREACHES[breach]) as url:
        results = check(url)
    failed = {result.name: result.sentence for result in results if not result.passed}
    assert set(failed) == failing, failed
    assert all(len(result.sentence) > 20 for result in results)


def test_every_breach_has_its_check() -> None:
    assert set(FOUND_BY) == set(broken.BREACHES)
    assert set().union(*FOUND_BY.values()) == set(CHECKS)


def test_a_server_that_waits_for_one_client_at_a_time_is_found(port: int) -> None:
    with broken.in_front_of(port, broken.honest, threads=False) as url:
        results = check(url, timeout=2.0)
    assert {result.name for result in results if not result.passed} == {"slow client"}


def test_nobody_there_fails_every_check_with_a_sentence() -> None:
    results = check("http://127.0.0.1:1", patience=0.1)
    assert not any(result.passed for result in results)
    assert "ConnectionRefusedError" in results[0].sentence


def test_a_wrong_address_is_refused() -> None:
    with pytest.raises(ProtocolError, match="http://127"):
        check("ftp://somewhere")


def test_the_command_judges_a_plain_loop_in_a_process_of_its_own(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text(KEYS.private_pem)
    environment = TrialEnvironment(
        job="digits", trial=NAME, public_key=KEYS.public_pem, termination_path=str(tmp_path / "result.json")
    )
    trial = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PLAIN_LOOP)],
        env={**os.environ, **environment.variables()},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert trial.stdout is not None
        announcement = trial.stdout.readline()
        assert announcement.startswith(names.ANNOUNCEMENT)
        address = f"http://127.0.0.1:{announcement.split()[-1]}"
        command = [sys.executable, "-m", "trial_protocol.conformance", address, "--trial", NAME, "--key", str(key)]
        passed = subprocess.run(
            [*command, "--objective", "eval_loss"], capture_output=True, text=True, timeout=60, check=False
        )
        assert (passed.returncode, passed.stderr) == (0, ""), passed.stdout
        assert passed.stdout.count("ok     ") == len(CHECKS)
        failed = subprocess.run(
            [*command, "--objective", "accuracy", "--patience", "0.1"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert failed.returncode == 1
        assert "FAILED metrics: GET /metrics did not export the objective accuracy" in failed.stdout
        trial.terminate()
        assert trial.wait(timeout=20) == 0
    finally:
        if trial.poll() is None:
            trial.kill()
            trial.wait()
        if trial.stdout is not None:
            trial.stdout.close()
    assert '"outcome": "Interrupted"' in (tmp_path / "result.json").read_text()
