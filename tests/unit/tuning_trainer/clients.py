"""Trials over real loopback HTTP, for the tests of the client and of the conformance suite."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from trial_protocol.control import ControlMessage, generate_key_pair, sign_control
from trial_protocol.environment import TrialEnvironment
from tuning_trainer.client import Trial

KEYS = generate_key_pair()
NAME = "digits-0001"


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@contextmanager
def serving(tmp_path: Path, **fields: Any) -> Iterator[Trial]:
    """Start a trial inside this process, and close it whatever happens."""
    given = {"public_key": KEYS.public_pem, "termination_path": str(tmp_path / "result.json"), **fields}
    trial = Trial(TrialEnvironment(job="digits", trial=NAME, **given))
    try:
        yield trial
    finally:
        trial.close()


def ask(trial: Trial | int, path: str, *, method: str = "GET", body: str | None = None, **headers: str) -> Reply:
    port = trial if isinstance(trial, int) else trial.port
    assert port is not None
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        return Reply(response.status, dict(response.getheaders()), response.read().decode())
    finally:
        connection.close()


def scrape(trial: Trial | int, query: str = "") -> dict[str, float]:
    """Return the samples by name; a label's value is put behind a colon."""
    reply = ask(trial, f"/metrics{query}")
    assert reply.status == 200
    return {
        ":".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(reply.body)
        for sample in family.samples
    }


def token(revision: int, scale: float = 0.5, **fields: Any) -> str:
    message = ControlMessage(trial=NAME, revision=revision, learning_rate_scale=scale, **fields)
    return sign_control(message, private_key=KEYS.private_pem, now=time.time(), lifetime=60.0)


def put(trial: Trial | int, text: str) -> Reply:
    return ask(trial, "/control", method="PUT", body=text)
