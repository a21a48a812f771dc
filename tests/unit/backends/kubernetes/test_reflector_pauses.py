"""A reflector outlives an API server that is away for days."""

from __future__ import annotations

import pytest
from kubernetes.aio.client import ApiClient, Configuration

from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.reflector import Reflector
from tuning_operator.backends.kubernetes.resources import LEASES
from tuning_operator.backends.kubernetes.retries import Retries

FAILURES = 1100


class Enough(Exception):
    """The test has seen what it wanted."""


async def test_pauses_stay_bounded_however_often_the_server_does_not_answer() -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == FAILURES:
            raise Enough

    nobody = ApiClient(Configuration(host="http://127.0.0.1:1"))
    async with Client(nobody, retries=Retries(attempts=1)) as client:
        with pytest.raises(Enough):
            await Reflector(client, LEASES, sleep=sleep).run()
    assert pauses[0] < 1
    assert max(pauses) <= 30
