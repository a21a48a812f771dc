"""The study driver against a real API server; trials are played, pods are not needed."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from tests.controlplane.played_trials import KEYS, TOTAL, Curve, Players
from tests.controlplane.trainings import newest_mark
from tests.testbed.controlplane import ControlPlane

from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.events import EventPoster
from tuning_operator.backends.kubernetes.reflector import Reflector
from tuning_operator.backends.kubernetes.resources import EVENTS, TRIALS, TUNING_JOBS, Object
from tuning_operator.backends.kubernetes.site import Site
from tuning_operator.backends.kubernetes.studies import Studies
from tuning_operator.backends.kubernetes.work_queue import BackOff
from tuning_operator.scrape.scraper import Scraper
from tuning_operator.scrape.steering import Steering


def falling(parameters: dict[str, Any], step: int) -> float:
    """A loss that is the better the nearer the learning rate is to 0.1; far off it ends as NaN."""
    rate = parameters["lr"]
    if rate > 0.9 and step > 30:
        return math.nan
    return 1.0 + abs(math.log10(rate) + 1) * 2 + math.exp(-step / 20)


def manifest(namespace: str, **spec: Any) -> Object:
    container = {"name": "train", "image": "trainer", "command": ["train"]}
    rates = [0.1, 0.11, 0.12, 0.5, 0.95, 0.105, 0.001, 0.3]
    whole = {
        "objective": {"metric": "eval_loss"},
        "axis": {"total": TOTAL},
        "parameters": [{"name": "lr", "type": "Float", "min": 1e-4, "max": 1.0, "scale": "Log"}],
        "search": {"algorithm": "Random", "seed": 1, "initial": [{"lr": rate} for rate in rates]},
        "stopping": [{"rule": "Percentile", "percentile": 50, "minimumTrials": 2}, {"rule": "Divergence"}],
        "control": [{"rule": "CoolDown", "fraction": 0.3}],
        "audit": 0.0,
        "budget": {"trials": 8, "parallel": 1},
        "metrics": {"interval": "50ms"},
        "trial": {"template": {"spec": {"containers": [container]}}},
        **spec,
    }
    return {"metadata": {"name": "digits", "namespace": namespace}, "spec": whole}


class World:
    """One namespace, its caches, its played trials, and operators that come and go."""

    def __init__(self, client: Client, namespace: str, curve: Curve) -> None:
        self.client = client
        self.namespace = namespace
        self.jobs = Reflector(client, TUNING_JOBS, namespace=namespace)
        self.trials = Reflector(client, TRIALS, namespace=namespace)
        self.players = Players(client, self.trials, curve)
        self._changed = asyncio.Event()
        for reflector in (self.jobs, self.trials):
            reflector.listen(lambda *_: self._changed.set())

    async def until(self, what: str, holds: Callable[[], Any], seconds: float = 40.0) -> Any:
        try:
            async with asyncio.timeout(seconds):
                while not (found := holds()):
                    self._changed.clear()
                    with suppress(TimeoutError):  # What is not an object changes unheard.
                        await asyncio.wait_for(self._changed.wait(), 0.2)
                return found
        except TimeoutError:
            raise AssertionError(f"never: {what}; {self.summary()}") from None

    def summary(self) -> str:
        trials = {
            name: (body["spec"]["desired"], (body.get("status") or {}).get("reason"), len(self.marks(name)))
            for (_, name), body in self.trials.objects.items()
        }
        job = self.jobs.get(self.namespace, "digits") or {}
        return f"{trials}, {(job.get('status') or {}).get('conditions')}"

    def trial(self, number: int) -> Object:
        return self.trials.get(self.namespace, f"digits-{number:04d}") or {}

    def marks(self, name: str) -> list[str]:
        return ((self.trials.get(self.namespace, name) or {}).get("status") or {}).get("marks") or []

    def status(self) -> Object:
        return (self.jobs.get(self.namespace, "digits") or {}).get("status") or {}

    def condition(self, kind: str) -> Object:
        return next((one for one in self.status().get("conditions") or () if one["type"] == kind), {})

    def is_complete(self) -> bool:
        return self.condition("Complete").get("status") == "True"

    def decisions(self) -> list[tuple[Any, ...]]:
        """What was decided, without numbers and times of the log."""
        keys = ("rule", "action", "fraction", "inputs", "sentence", "revision")
        return [
            (name, *(repr(one.get(key)) for key in keys))
            for (_, name), body in sorted(self.trials.objects.items())
            for one in body["spec"].get("decisions") or ()
        ]

    @asynccontextmanager
    async def operator(self, client: Client | None = None) -> AsyncIterator[Studies]:
        """An operator, which is killed at the end."""
        used = client or self.client
        poster = EventPoster(used, instance="test")
        jobs = Reflector(used, TUNING_JOBS, namespace=self.namespace)
        trials = Reflector(used, TRIALS, namespace=self.namespace)
        async with Scraper() as scraper:
            site = Site(
                client=used,
                tuning_jobs=jobs,
                trials=trials,
                scraper=scraper,
                steering=Steering(scraper.fetcher, private_key=KEYS.private_pem),
                endpoint=self.players.endpoint,
                post=poster.post,
                status_pause=0.2,
            )
            studies = Studies(site, back_off=BackOff(first=0.05, longest=0.2))
            tasks = [asyncio.create_task(one.run()) for one in (jobs, trials, studies, poster)]
            try:
                yield studies
                async with asyncio.timeout(10):
                    await poster.drain()
                broken = [task.exception() for task in tasks if task.done()]
                assert not broken
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def world(plane: ControlPlane, namespace: str, curve: Curve = falling) -> AsyncIterator[World]:
    async with await Client.connect(kubeconfig=str(plane.kubeconfig)) as client:
        made = World(client, namespace, curve)
        tasks = [asyncio.create_task(one.run()) for one in (made.jobs, made.trials)]
        try:
            for reflector in (made.jobs, made.trials):
                await reflector.wait_synced()
            async with made.players.running():
                yield made
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def here(crds: ControlPlane, namespace: str) -> AsyncIterator[World]:
    async with world(crds, namespace) as made:
        yield made


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
