"""One trial over two pods: they find each other, train together, and obey at the same step."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from tests.cluster.bed import Bed, is_true
from tests.cluster.test_digits import EXAMPLE

from tuning_operator.backends.kubernetes import labels
from tuning_operator.backends.kubernetes.resources import JOBS, PODS, SERVICES, TRIALS, TUNING_JOBS, Object, name_of

RANKS = 2


def rank(pod: Object) -> int:
    return int(pod["metadata"]["annotations"][labels.ANNOTATION_INDEX])


def obeyed(here: Bed, pod: Object) -> list[tuple[int, float]]:
    """After which steps a rank changed its learning rate, and to what share, by its own log."""
    log = here.cluster.kubectl("logs", name_of(pod), "-n", here.namespace)
    told = re.findall(
        rf"^rank {rank(pod)}: After step (\d+): the learning rate is scaled by ([\d.]+\d)", log, re.MULTILINE
    )
    return [(int(step), float(scale)) for step, scale in told]


@pytest.mark.timeout(500)
async def test_two_pods_train_one_trial_and_obey_at_the_same_step(restricted: Bed) -> None:
    """The learning rate is too high on purpose, so that it must be changed on the way."""
    body: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    body["metadata"]["namespace"] = restricted.namespace
    body["spec"]["budget"] = {"trials": 1}
    body["spec"]["search"]["initial"] = [
        {"lr": 1.0, "optimizer": "sgd", "momentum": 0.9, "width": 32, "dropout": 0.1},
    ]
    body["spec"]["trial"]["nodes"] = RANKS
    restricted.cluster.apply(body)

    def both_run() -> list[Object]:
        running = [pod for pod in restricted.all(PODS) if pod["status"].get("phase") == "Running"]
        return running if len(running) == RANKS else []

    pods = await restricted.until("two pods run", both_run, seconds=120)
    assert sorted(map(rank, pods)) == [0, 1]
    assert len({pod["status"]["podIP"] for pod in pods}) == RANKS
    (job,) = restricted.all(JOBS)
    assert (job["spec"]["completionMode"], job["spec"]["completions"]) == ("Indexed", RANKS)
    (service,) = restricted.all(SERVICES)
    assert service["spec"]["clusterIP"] == "None"

    await restricted.until(
        "the job is complete", lambda: any(is_true(one, "Complete") for one in restricted.all(TUNING_JOBS)), 400
    )
    (trial,) = restricted.all(TRIALS)
    assert trial["status"]["reason"] == "Completed"
    assert trial["status"]["attempt"] == 1
    first, second = sorted(restricted.all(PODS), key=rank)
    assert trial["status"]["pod"] == name_of(first)
    assert [pod["status"]["phase"] for pod in (first, second)] == ["Succeeded", "Succeeded"]
    changes = obeyed(restricted, first)
    assert changes == obeyed(restricted, second)
    assert changes
    assert changes[-1][1] == trial["spec"]["control"]["learningRateScale"] < 1.0
    assert len(changes) == trial["spec"]["control"]["revision"] == trial["status"]["revision"]
