"""Pods of a real node, read directly and through a real Prometheus server that finds them as the chart says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.cluster.bed import Bed, bed, is_true
from tests.nursery import Nursery
from tests.testbed.node import Cluster
from tests.testbed.scraping import scrape_configs

from tuning_operator.backends.kubernetes.resources import TRIALS, TUNING_JOBS, name_of

STEPS = 24
FOUND = 8
"""Seconds after which a new pod is surely scraped: Prometheus hears of pods at most every 5 s."""
RATES = (0.5, 1.0, 0.1)
"""The greater, the faster the loss falls: the second is better than the first, the third is worse than both."""


async def run(here: Bed, **metrics: Any) -> list[tuple[Any, ...]]:
    """Run the job to its end; return what was decided, and how each trial ended."""
    await here.apply(
        f"steps={STEPS}",
        "pause=0.3",
        f"before={FOUND}",
        axis={"total": STEPS},
        parameters=[{"name": "lr", "type": "Float", "min": 0.1, "max": 1.0, "live": True}],
        search={"algorithm": "Random", "seed": 3, "initial": [{"lr": rate} for rate in RATES]},
        stopping=[{"rule": "Percentile", "percentile": 50, "minimumTrials": 1, "after": 0.3}],
        control=[{"rule": "CoolDown", "fraction": 0.5}],
        audit=0.0,
        budget={"trials": len(RATES), "parallel": 1},
        metrics={"interval": "300ms", "firstWithin": "60s", **metrics},
    )
    await here.until("it is complete", lambda: any(is_true(one, "Complete") for one in here.all(TUNING_JOBS)), 150)
    found: list[tuple[Any, ...]] = []
    for trial in here.all(TRIALS):
        decisions = trial["spec"].get("decisions", ())
        found += [(name_of(trial), one["rule"], one["action"], one["fraction"]) for one in decisions]
        found.append((name_of(trial), trial["status"]["reason"], trial["status"]["revision"]))
    return found


@pytest.mark.timeout(300)
async def test_pods_are_judged_and_steered_alike_directly_and_through_a_prometheus_server(
    stand_in: Cluster, nursery: Nursery, monitors: list[dict[str, Any]], prometheus_server: Any
) -> None:
    (of_trials,) = [one for one in monitors if one["metadata"]["name"].endswith("-trials")]
    configs = scrape_configs(of_trials, kubeconfig=stand_in.kubeconfig, interval="150ms")
    async with bed(stand_in, nursery) as directly, bed(stand_in, nursery) as through:
        with prometheus_server(configs, interval="150ms") as server:
            expected, found = await asyncio.gather(run(directly), run(through, prometheus={"url": server.url}))
            scraped = server.query(
                f'count by (pod) (count_over_time(train_step{{namespace="{through.namespace}"}}[5m]))'
            )
    assert found == expected
    assert [one[1:] for one in expected if len(one) == 3] == [("Completed", 1), ("Completed", 1), ("StoppedEarly", 0)]
    assert {one[1] for one in expected if len(one) == 4} == {"Percentile", "CoolDown"}
    assert len(scraped) == len(RATES)
