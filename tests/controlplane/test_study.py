"""The study driver against a real API server; trials are played, pods are not needed."""

from __future__ import annotations

import asyncio
import math
import random
from typing import Any

import pytest
from tests.controlplane.played_trials import TOTAL
from tests.controlplane.studies import World, manifest, world
from tests.controlplane.trainings import newest_mark
from tests.testbed.controlplane import ControlPlane

from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.resources import EVENTS, TRIALS, TUNING_JOBS, Object


async def test_a_job_runs_to_its_end_and_everything_can_be_read_from_its_objects(here: World) -> None:
    await here.client.apply(TUNING_JOBS, manifest(here.namespace, budget={"trials": 8, "parallel": 3}))
    async with here.operator():
        await here.until("the job is complete", here.is_complete)

    status = here.status()
    assert status["trials"]["completed"] + status["trials"]["stoppedEarly"] == 8
    assert status["best"]["name"] == "digits-0000"
    assert float(status["best"]["value"]) == pytest.approx(1.0 + math.exp(-TOTAL / 20), rel=1e-5)
    assert status["best"]["checkpoint"] == "s3://b/digits-0000"
    assert [one["kind"] for one in status["records"]] == ["JobStarted"]
    assert float(status["gpuHoursUsed"]) == pytest.approx(8 * 120 / 3600, rel=1e-5)
    assert here.condition("Accepted")["status"] == "True"
    assert here.condition("Running")["status"] == "False"

    broken = here.trial(4)
    assert (broken["spec"]["desired"], broken["spec"]["stopReason"]) in [
        ("Stopped", "NonFinite"),
        ("Stopped", "StoppedEarly"),
    ]
    best = here.trial(0)
    assert len(best["status"]["marks"]) == 50
    assert best["status"]["end"]["reason"] == "Completed"
    assert best["spec"]["control"]["beginDecay"] is True
    assert best["spec"]["decisions"][0]["rule"] == "CoolDown"
    assert best["status"]["revision"] == 1
    played = here.players.trials["digits-0000"]
    assert played.begin_decay
    assert [one["revision"] for one in played.controls] == [1]

    events, _ = await here.client.list(EVENTS, namespace=here.namespace)
    reasons = {event["reason"] for event in events}
    assert {"BeginDecay", "NewBest"} <= reasons
    assert reasons & {"StoppedEarly", "NonFinite"}
    stop = next(event for event in events if event["reason"] in ("StoppedEarly", "NonFinite"))
    assert stop["regarding"]["kind"] == "Trial"
    assert stop["related"]["name"] == "digits"
    assert "[" in stop["note"]
    decided = sum(len(body["spec"].get("decisions") or ()) for body in here.trials.objects.values())
    assert sum(event["reportingController"] == "tuning-operator.io/operator" for event in events) >= decided


async def test_an_operator_that_is_killed_decides_as_one_that_was_not(crds: ControlPlane, namespaces: Any) -> None:
    rates = [0.1, 0.11, 0.5, 0.95]
    few: dict[str, Any] = {
        "budget": {"trials": 4, "parallel": 1},
        "search": {"algorithm": "Random", "seed": 1, "initial": [{"lr": rate} for rate in rates]},
        "stopping": [
            {"rule": "Percentile", "percentile": 50, "minimumTrials": 2, "after": 0.7},
            {"rule": "Divergence"},
        ],
    }

    async def played(namespace: str, kills: random.Random | None) -> tuple[list[Any], list[str]]:
        async with world(crds, namespace) as here:
            here.players.pace = 10
            await here.client.apply(TUNING_JOBS, manifest(namespace, metrics={"interval": "20ms"}, **few))
            if kills is not None:
                plan = Deaths(kills)
                while not plan.is_over:
                    await killed_once(here, crds, plan)
            async with here.operator():
                await here.until("the job is complete", here.is_complete)
            ends = [body["status"]["end"]["reason"] for _, body in sorted(here.trials.objects.items())]
            return here.decisions(), ends

    undisturbed = await played(namespaces(), None)
    assert undisturbed[1] == ["Completed", "Completed", "StoppedEarly", "NonFinite"]
    assert len(undisturbed[0]) == 5
    assert await played(namespaces(), random.Random(5)) == undisturbed


class Deaths:
    """When operators die: right after a mark that is to be judged, right after a decision, and at random."""

    def __init__(self, draws: random.Random) -> None:
        self._draws = draws
        self._seen: set[tuple[str, str]] = set()
        self._left = draws.randrange(1, 8)
        self._random = 3

    @property
    def is_over(self) -> bool:
        return len(self._seen) >= 5 and self._random == 0

    def now(self, body: Object) -> bool:
        name, mark = body["metadata"]["name"], newest_mark(body.get("status", {}))
        for what, holds in (("mark", mark >= 35), ("decision", body.get("spec", {}).get("decisions"))):
            if holds and (name, what) not in self._seen:
                self._seen.add((name, what))
                return True
        self._left -= 1
        if self._left == 0 and self._random:
            self._random -= 1
            self._left = self._draws.randrange(1, 8)
            return True
        return False


class MortalClient(Client):
    """Its process dies when the answer to a write comes: the write counts, the answer is lost."""

    deaths: Deaths
    dead: asyncio.Event

    async def apply(self, resource: Any, body: Object, **options: Any) -> Object:
        written = await super().apply(resource, body, **options)
        if self.dead.is_set() or (resource is TRIALS and self.deaths.now(body)):
            self.dead.set()
            raise asyncio.CancelledError
        return written


async def killed_once(here: World, plane: ControlPlane, deaths: Deaths) -> None:
    async with await MortalClient.connect(kubeconfig=str(plane.kubeconfig)) as client:
        client.deaths, client.dead = deaths, asyncio.Event()
        try:
            async with here.operator(client):
                async with asyncio.timeout(40):
                    await client.dead.wait()
                raise _Killed
        except _Killed:
            pass


class _Killed(Exception):
    """The process is gone."""


async def test_a_trial_that_reports_nothing_is_given_up_and_the_job_goes_on(here: World) -> None:
    here.players.silent.add("digits-0000")
    body = manifest(
        here.namespace,
        budget={"trials": 2, "parallel": 2},
        metrics={"interval": "50ms", "firstWithin": "300ms"},
        stopping=[],
    )
    await here.client.apply(TUNING_JOBS, body)
    async with here.operator():
        await here.until("the job is complete", here.is_complete)
    end = here.trial(0)["status"]["end"]
    assert end["reason"] == "MetricsUnavailable"
    assert "answered 500 to /metrics" in end["message"]
    assert here.trial(1)["status"]["end"]["reason"] == "Completed"
    assert here.status()["trials"]["failed"] == 1


async def test_a_raised_budget_goes_on(here: World) -> None:
    body = manifest(here.namespace, budget={"trials": 1, "parallel": 1}, metrics={"interval": "20ms"})
    await here.client.apply(TUNING_JOBS, body)
    async with here.operator():
        await here.until("the job is complete", here.is_complete)
        body["spec"]["budget"]["trials"] = 2
        await here.client.apply(TUNING_JOBS, body)
        await here.until("it goes on", lambda: here.trial(1) and not here.is_complete())
        await here.until("the job is complete again", here.is_complete)
    assert [one["kind"] for one in here.status()["records"]] == ["JobStarted", "JobResumed"]
    assert here.status()["observedGeneration"] == 2


async def test_what_cannot_be_followed_is_said_in_a_sentence(here: World) -> None:
    rates = [{"lr": 5.0}]
    body = manifest(here.namespace, search={"algorithm": "Random", "initial": rates})
    await here.client.apply(TUNING_JOBS, body)
    async with here.operator():
        await here.until("it is refused", lambda: here.condition("Accepted").get("status") == "False")
        assert "spec.search.initial" in here.condition("Accepted")["message"]
        body["spec"]["search"]["initial"] = []
        body["spec"]["budget"] = {"trials": 1, "parallel": 1}
        await here.client.apply(TUNING_JOBS, body)
        await here.until("it is accepted", lambda: here.condition("Accepted").get("status") == "True")


async def test_a_trial_that_somebody_deletes_is_made_up_for_and_a_foreign_one_is_left_alone(here: World) -> None:
    foreign = {
        "metadata": {"name": "digits-0001", "namespace": here.namespace},
        "spec": {"job": "digits", "number": 1, "parameters": {"lr": 0.5}, "seed": 1, "desired": "Paused"},
    }
    written = await here.client.apply(TRIALS, foreign)
    here.players.silent.add("digits-0000")
    await here.client.apply(TUNING_JOBS, manifest(here.namespace, budget={"trials": 2, "parallel": 1}, stopping=[]))
    async with here.operator():
        await here.until("the first trial", lambda: here.trial(0).get("status"))
        first = here.trial(0)["metadata"]["uid"]
        await here.client.delete(TRIALS, namespace=here.namespace, name="digits-0000")
        await here.until("another first trial", lambda: here.trial(0) and here.trial(0)["metadata"]["uid"] != first)
        here.players.silent.clear()
        await here.until("it is over", lambda: (here.trial(0).get("status") or {}).get("end"))
        await asyncio.sleep(0.5)
        assert here.trial(1)["metadata"]["uid"] == written["metadata"]["uid"]
        await here.client.delete(TRIALS, namespace=here.namespace, name="digits-0001")
        await here.until("the job is complete", here.is_complete)
    assert here.trial(1)["metadata"]["uid"] != written["metadata"]["uid"]


async def test_a_job_that_is_deleted_is_let_go(here: World) -> None:
    await here.client.apply(TUNING_JOBS, manifest(here.namespace))
    async with here.operator() as studies:
        await here.until("a trial", lambda: here.trial(0))
        await here.client.delete(TUNING_JOBS, namespace=here.namespace, name="digits")
        await here.until("it is gone", lambda: here.jobs.get(here.namespace, "digits") is None)
        await here.until("the study is gone", lambda: studies.keys == [])
