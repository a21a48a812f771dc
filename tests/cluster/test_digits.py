"""The job of the local demo, from the same file, on a real node: real pods, real PyTorch, stops and live changes."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.cluster.bed import CLAIM, Bed, is_true
from tests.testbed.node import Cluster

from trial_protocol import names
from tuning_operator.backends.kubernetes import labels
from tuning_operator.backends.kubernetes.resources import PODS, TRIALS, TUNING_JOBS, Object, name_of
from tuning_trainer.checkpoint_stores import store_of
from tuning_trainer.checkpoints import Checkpoints
from tuning_trainer.schedules import Schedule

EXAMPLE = Path(__file__).parents[2] / "examples/digits.yaml"
TRIALS_IN_ALL = 16
STEPS = 400
SCHEDULE = Schedule(shape="constant", warmup=0.05)
"""What `--schedule constant` plans, the trainer's own warm-up included."""


@dataclass(frozen=True)
class Look:
    """What a pod itself said of its learning rate, at its own /metrics."""

    revision: int
    scale: float
    learning_rate: float
    fraction: float


class Looker:
    """Looks at the pods of trials whose learning rate was changed, as any Prometheus server would."""

    def __init__(self, here: Bed) -> None:
        self._here = here
        self.looks: dict[str, list[Look]] = {}

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                for trial in self._here.all(TRIALS):
                    if trial["spec"].get("control", {}).get("revision"):
                        await self._look(session, trial)
                await asyncio.sleep(0.2)

    async def _look(self, session: aiohttp.ClientSession, trial: Object) -> None:
        pod = self._here.seen[PODS].get(self._here.namespace, (trial.get("status") or {}).get("pod", ""))
        if pod is None or pod["status"].get("phase") != "Running":
            return
        address = pod["status"]["podIP"]
        with suppress(aiohttp.ClientError, TimeoutError):
            url = f"http://{address}:{labels.PORT}{names.PATH_METRICS}?{names.QUERY_WINDOW}=test"
            async with session.get(url) as answer:
                told = {
                    sample.name: sample.value
                    for family in text_string_to_metric_families(await answer.text())
                    for sample in family.samples
                }
            look = Look(
                int(told[names.METRIC_CONTROL_REVISION]),
                told[names.METRIC_LEARNING_RATE_SCALE],
                told[names.METRIC_LEARNING_RATE],
                told[names.METRIC_SCHEDULE_FRACTION],
            )
            self.looks.setdefault(name_of(trial), []).append(look)


def complete(here: Bed) -> Object | None:
    return next((job for job in here.all(TUNING_JOBS) if is_true(job, "Complete")), None)


@pytest.mark.timeout(900)
async def test_the_very_file_of_the_local_run_completes_on_a_node(restricted: Bed) -> None:
    looker = Looker(restricted)
    looking = asyncio.create_task(looker.run())
    try:
        restricted.cluster.kubectl("apply", "-n", restricted.namespace, "-f", str(EXAMPLE))
        job = await restricted.until("the job is complete", lambda: complete(restricted), seconds=800)
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    trials = {name_of(trial): trial for trial in restricted.all(TRIALS)}
    assert len(trials) == TRIALS_IN_ALL
    check_status(job["status"], trials)
    check_early_stop(restricted, trials)
    check_change(restricted, looker, trials)


def check_status(status: dict[str, Any], trials: dict[str, Object]) -> None:
    counts = status["trials"]
    assert counts["pending"] == counts["running"] == counts["paused"] == 0
    assert sum(counts.values()) == TRIALS_IN_ALL
    assert counts["failed"] == 0
    assert counts["completed"] >= 1
    assert counts["stoppedEarly"] >= 1
    assert status["learningRateChanges"] >= 1
    best = status["best"]
    chosen = trials[best["name"]]
    assert best["parameters"] == chosen["spec"]["parameters"]
    assert {"lr", "optimizer", "width", "dropout"} <= set(best["parameters"])
    assert float(best["value"]) > 0.9
    ended = [trial["status"] for trial in trials.values() if trial["status"]["reason"] == "Completed"]
    assert float(best["value"]) == max(float(each["best"]) for each in ended)
    # Every completed trial trained to its end, in its first and only attempt.
    assert all(float(each["fraction"]) == 1.0 and each["attempt"] == 1 for each in ended)


def check_early_stop(here: Bed, trials: dict[str, Object]) -> None:
    stopped = [trial for trial in trials.values() if trial["status"]["reason"] == "StoppedEarly"]
    table = rows(here.cluster, here.namespace)
    notes = here.events()
    for trial in stopped:
        assert float(trial["status"]["fraction"]) < 1.0
        assert trial["spec"]["desired"] == "Stopped"
        row = table[name_of(trial)]
        assert "Stopped" in row
        assert any(word.startswith("StoppedEarly") for word in row)
        (decision,) = [one for one in trial["spec"]["decisions"] if one["action"] == "Stop"]
        assert any(note.startswith(f"{decision['rule']}: ") for note in here.events(about=name_of(trial))), notes


def check_change(here: Bed, looker: Looker, trials: dict[str, Object]) -> None:
    """Follow changes of a learning rate through all that tells of them."""
    table = rows(here.cluster, here.namespace)
    seen = 0
    for name, looks in looker.looks.items():
        spec, status = trials[name]["spec"], trials[name]["status"]
        scales = {
            one["revision"]: float(one["scale"]) for one in spec["decisions"] if {"revision", "scale"} <= set(one)
        }
        told = [look for look in looks if look.revision]
        assert all(look.scale == scales[look.revision] for look in told)
        changed = [look for look in told if is_changed(look, spec["parameters"]["lr"])]
        if not changed:
            continue
        seen += 1
        # After its final decay a short training may end before the operator looks again.
        assert max(changed[-1].revision, status["revision"]) <= spec["control"]["revision"]
        assert changed[-1].scale == 1.0 or changed[-1].revision <= status["revision"]
        assert f"{spec['control']['learningRateScale']:g}" in table[name]
        scale = changed[-1].scale
        change = f"learning rate scale {scale:g}, revision " if scale < 1.0 else "CoolDown: "
        assert any(change in note for note in here.events(about=name)), here.events(about=name)
    assert seen, {name: looks[-3:] for name, looks in looker.looks.items()}


def is_changed(look: Look, rate: float) -> bool:
    """Return whether a learning rate is another than planned, and as it is wanted: a part of the plan, or decaying."""
    planned = follows_plan(look, rate * look.scale)
    return planned if look.scale < 1.0 else not planned and look.learning_rate < rate


def follows_plan(look: Look, rate: float) -> bool:
    """Return whether a gauge is at this rate times what the schedule says; it may be of the step before or after."""
    plan = (SCHEDULE.factor(max(0.0, look.fraction + steps / STEPS)) for steps in (-1.5, -0.5, 0.5))
    return any(math.isclose(look.learning_rate, rate * factor) for factor in plan)


def rows(cluster: Cluster, namespace: str) -> dict[str, list[str]]:
    lines = cluster.kubectl("get", "trials", "-n", namespace, "--no-headers").splitlines()
    return {line.split()[0]: line.split() for line in lines}


@pytest.mark.timeout(400)
async def test_a_change_of_the_learning_rate_is_in_the_checkpoint_behind_a_claim(restricted: Bed) -> None:
    """The file's own line on checkpoints, uncommented; one trial that must explode."""
    restricted.claim()
    restricted.volume.chmod(0o777)
    text = EXAMPLE.read_text()
    comment = "# checkpoint: {claim: digits}"
    assert comment in text
    body = yaml.safe_load(text.replace(comment, f"checkpoint: {{claim: {CLAIM}}}"))
    body["metadata"]["namespace"] = restricted.namespace
    body["spec"]["budget"] = {"trials": 1}
    body["spec"]["search"]["initial"] = [
        {"lr": 1.0, "optimizer": "sgd", "momentum": 0.9, "width": 32, "dropout": 0.1},
    ]
    restricted.cluster.apply(body)
    await restricted.until("the job is complete", lambda: complete(restricted), seconds=300)
    (trial,) = restricted.all(TRIALS)
    (folder,) = restricted.volume.iterdir()
    assert str(trial["status"]["checkpoint"]).startswith(f"{labels.CHECKPOINT_MOUNT}/{folder.name}")
    assert {file.stat().st_uid for file in folder.iterdir()} == {65532}
    state = Checkpoints(store_of(str(folder)), writes=False).latest()
    assert state is not None
    # The newest change may have come when there was no step left to take with it.
    message = state["control"]["message"]
    assert 1 <= trial["status"]["revision"] <= message["revision"] <= trial["spec"]["control"]["revision"]
    assert state["progress"]["scale"] == message["learningRateScale"] < 1.0
    decided = {one.get("revision"): float(one.get("scale", "nan")) for one in trial["spec"]["decisions"]}
    assert decided[message["revision"]] == message["learningRateScale"]
    assert state["progress"]["step"] == STEPS
