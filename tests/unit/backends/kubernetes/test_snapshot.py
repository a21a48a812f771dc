"""A scrape takes what it needs from the event loop in a moment; the page is written beside it."""

from __future__ import annotations

import time
from typing import Any, cast

import aiohttp

from trial_protocol.control import generate_key_pair
from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.meters import WorkMeters
from tuning_operator.backends.kubernetes.probes import Probes
from tuning_operator.backends.kubernetes.service import Service, take_snapshot

TRIALS = 1000


def filled(namespace: str | None = None) -> Service:
    """A service whose caches hold one job with a thousand running trials."""
    service = Service(cast(Client, None), keys=generate_key_pair(), instance="test", namespace=namespace)
    where = {"namespace": namespace or "team", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    condition = {
        "type": "Running",
        "status": "True",
        "reason": "Running",
        "lastTransitionTime": where["creationTimestamp"],
    }
    job: Any = {
        "metadata": {**where, "name": "digits", "uid": "u", "generation": 1},
        "spec": {"objective": {"metric": "loss"}},
    }
    service.tuning_jobs.learn(job)
    for number in range(TRIALS):
        spec = {"job": "digits", "number": number, "parameters": {"lr": 0.1, "width": 3}, "desired": "Running"}
        status = {"attempt": 1, "conditions": [condition], "value": "0.5", "best": "0.4", "learningRate": "0.1"}
        metadata = {**where, "name": f"digits-{number:04d}", "uid": f"u{number}"}
        service.trials.learn({"metadata": metadata, "spec": spec, "status": status})
        labels = {"tuning-operator.io/trial": metadata["name"]}
        pod = {"metadata": {**metadata, "labels": labels}, "spec": {"containers": []}, "status": {"phase": "Running"}}
        service.pods.learn(pod)
    return service


def test_the_event_loop_is_held_up_for_a_moment_only() -> None:
    service = filled()
    took = []
    for _ in range(5):
        began = time.process_time()
        snapshot = take_snapshot([service])
        took.append(time.process_time() - began)
    assert len(snapshot.trials) == len(snapshot.sights) == TRIALS
    assert min(took) < 0.02, f"{1000 * min(took):.1f} ms"


def test_the_services_of_several_namespaces_are_one_picture() -> None:
    snapshot = take_snapshot([filled("a"), filled("b")])
    assert {job["metadata"]["namespace"] for job in snapshot.jobs} == {"a", "b"}
    assert snapshot.caches["trials"].size == 2 * TRIALS
    assert snapshot.caches["trials"].age is None
    assert len(snapshot.sights) == 2 * TRIALS


async def test_a_page_has_series_for_as_many_trials_as_it_may() -> None:
    async with Probes(("127.0.0.1", 0), limit=7) as probes, aiohttp.ClientSession() as session:
        probes.leads([filled()], WorkMeters())
        async with session.get(f"http://127.0.0.1:{probes.port}/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            text = await answer.text()
        accept = {"Accept": "application/openmetrics-text;version=1.0.0"}
        async with session.get(f"http://127.0.0.1:{probes.port}/metrics", headers=accept) as answer:
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
            assert (await answer.text()).endswith("# EOF\n")
    assert text.count("\ntuning_operator_trial_value{") == 7
    hidden = f'tuning_operator_job_hidden_trials{{namespace="team",tuning_job="digits"}} {float(TRIALS - 7)}'
    assert hidden in text
