"""The same job read directly and through a real Prometheus server; trials are played, their pages are the client's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

import pytest
from tests.controlplane.scraped_trials import ScrapedPlayers, ledger, scraped_world, served
from tests.controlplane.studies import World, manifest
from tests.testbed.controlplane import ControlPlane
from tests.testbed.prometheus import Prometheus

from tuning_operator.backends.kubernetes.resources import EVENTS, TUNING_JOBS, Object

RATES = (0.1, 0.11, 0.5, 0.95)
Server = Callable[..., AbstractContextManager[Prometheus]]

pytestmark = pytest.mark.timeout(240)


def job(namespace: str, **metrics: Any) -> Object:
    return manifest(
        namespace,
        metrics={"interval": "300ms", **metrics},
        budget={"trials": len(RATES), "parallel": 1},
        search={"algorithm": "Random", "seed": 1, "initial": [{"lr": rate} for rate in RATES]},
        stopping=[
            {"rule": "Percentile", "percentile": 50, "minimumTrials": 2, "after": 0.6},
            {"rule": "Divergence"},
        ],
    )


def through(server: Prometheus, **fields: Any) -> dict[str, Any]:
    return {"prometheus": {"url": f"{server.url}/", **fields}}


def scrape(
    start: Server, players: ScrapedPlayers, namespace: str, **labels: str
) -> AbstractAsyncContextManager[Prometheus]:
    return served(start, players, players.scrape_configs(namespace, len(RATES), **labels), prefix="/metrics-of-all")


async def run(here: World, body: Object) -> None:
    await here.client.apply(TUNING_JOBS, body)
    async with here.operator():
        await here.until("the job is complete", here.is_complete, seconds=90)


async def test_decisions_are_the_same_directly_and_through_prometheus(
    crds: ControlPlane, namespaces: Any, prometheus_server: Server
) -> None:
    async def directly() -> list[Any]:
        namespace = namespaces()
        async with scraped_world(crds, namespace) as (here, _):
            await run(here, job(namespace, interval="50ms"))
            assert len({rule for _, rule, *_ in here.decisions()}) == 3
            return ledger(here)

    async def through_server() -> list[Any]:
        namespace = namespaces()
        async with scraped_world(crds, namespace) as (here, players):
            async with scrape(prometheus_server, players, namespace) as server:
                await run(here, job(namespace, **through(server)))
            return ledger(here)

    async def killed() -> list[Any]:
        namespace = namespaces()
        async with scraped_world(crds, namespace) as (here, players):
            async with scrape(prometheus_server, players, namespace, cluster="eu") as server:
                await here.client.apply(TUNING_JOBS, job(namespace, **through(server, matchers={"cluster": "eu"})))
                for number in range(len(RATES)):
                    async with here.operator():
                        await here.until("some marks", lambda n=number: n in done(here) or len(marks(here, n)) > 8, 60)
                    await asyncio.sleep(1.5)
                async with here.operator():
                    await here.until("the job is complete", here.is_complete, seconds=90)
            return ledger(here)

    expected, found, found_again = await asyncio.gather(directly(), through_server(), killed())
    assert [end for *_, end, _ in expected[-4:]] == ["Completed", "Completed", "StoppedEarly", "NonFinite"]
    assert found == expected
    assert found_again == expected


def marks(here: World, number: int) -> list[Any]:
    body = here.trials.get(here.namespace, f"digits-{number:04d}") or {}
    return (body.get("status") or {}).get("marks") or []


def done(here: World) -> set[int]:
    bodies = here.trials.objects.values()
    return {body["spec"]["number"] for body in bodies if (body.get("status") or {}).get("end")}


async def test_an_outage_costs_no_trial(crds: ControlPlane, namespace: str, prometheus_server: Server) -> None:
    async with scraped_world(crds, namespace) as (here, players):
        async with scrape(prometheus_server, players, namespace) as server:
            server.stop()
            players.hidden.add("digits-0001")
            body = job(namespace, firstWithin="10s", **through(server))
            body["spec"]["budget"] = {"trials": 2, "parallel": 2}
            await here.client.apply(TUNING_JOBS, body)
            async with here.operator():
                await here.until("it waits", lambda: here.condition("Accepted").get("reason") == "MetricsUnreadable")
                sentence = f"spec.metrics.prometheus.url: {server.url} cannot be asked: connection refused"
                assert here.condition("Accepted")["message"] == sentence
                assert not here.trials.objects, "nothing was started"
                await asyncio.to_thread(server.start)
                await here.until("a curve", lambda: len(marks(here, 0)) > 2)
                assert here.condition("Accepted")["status"] == "True"
                await asyncio.to_thread(server.stop)
                players.hidden.clear()
                await asyncio.sleep(11)
                assert not done(here), "the second trial was never heard, and that is not its fault"
                await asyncio.to_thread(server.start)
                await here.until("the job is complete", here.is_complete, seconds=90)
            events, _ = await here.client.list(EVENTS, namespace=namespace)
        notes = {event["reason"]: event["note"] for event in events}
        assert sentence in notes["MetricsUnreadable"]
        assert "MetricsReadable" in notes
        assert [here.trial(number)["status"]["end"]["reason"] for number in (0, 1)] == ["Completed", "Completed"]


async def test_a_trial_that_is_not_scraped_says_what_was_asked(
    crds: ControlPlane, namespace: str, prometheus_server: Server
) -> None:
    async with scraped_world(crds, namespace) as (here, players):
        configs = players.scrape_configs(namespace, 3)
        configs[0]["static_configs"] = configs[0]["static_configs"][1:]
        players.hidden.add("digits-0001")
        async with served(prometheus_server, players, configs) as server:
            body = job(namespace, firstWithin="8s", **through(server))
            body["spec"]["budget"] = {"trials": 3, "parallel": 3}
            body["spec"]["stopping"] = []
            await run(here, body)
        said = [here.trial(number)["status"]["end"] for number in range(3)]
    assert [end["reason"] for end in said] == ["MetricsUnavailable", "MetricsUnavailable", "Completed"]
    assert said[0]["message"].startswith(
        f"no usable metric within 8 s: spec.metrics.prometheus: {server.url} has no series "
        f'{{namespace="{namespace}",pod=~"digits-0000-pod"}}; let it scrape the trials\' pods'
    )
    assert f"{server.url} cannot scrape digits-0001-pod (up is 0)" in said[1]["message"]
