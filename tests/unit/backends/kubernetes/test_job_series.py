"""From objects to metrics: what is counted, what is bounded, what vanishes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from tuning_operator.backends.kubernetes import metrics
from tuning_operator.backends.kubernetes.job_series import job_state, render
from tuning_operator.backends.kubernetes.metrics import About, JobState
from tuning_operator.backends.kubernetes.sightings import Sight
from tuning_operator.backends.kubernetes.snapshot import CacheState, Glimpse, Snapshot

NOW = 1_700_000_000.0


def stamp(ago: float) -> str:
    return (datetime.fromtimestamp(NOW, tz=UTC) - timedelta(seconds=ago)).isoformat()


def job(*conditions: tuple[str, str], name: str = "digits", **fields: Any) -> Any:
    found = [{"type": kind, "status": status, "reason": "R"} for kind, status in conditions]
    spec = {"objective": {"metric": "eval_loss"}, "budget": {"trials": 10}, **fields.pop("spec", {})}
    return {
        "metadata": {"name": name, "namespace": "team", "uid": "u"},
        "spec": spec,
        "status": {"conditions": found, **fields},
    }


def trial(number: int, *, job: str = "digits", running: float | None = None, spec: Any = None, **status: Any) -> Any:
    if running is not None:
        condition = {"type": "Running", "status": "True", "reason": "Running", "lastTransitionTime": stamp(running)}
        status = {"attempt": 1, "conditions": [condition], **status}
    return {
        "metadata": {
            "name": f"{job}-{number:04d}",
            "namespace": "team",
            "uid": f"u{number}",
            "creationTimestamp": stamp(1000),
        },
        "spec": {"job": job, "number": number, "parameters": {"lr": 0.1}, "desired": "Running", **(spec or {})},
        "status": status,
    }


class Page(Collector):
    def __init__(self, snapshot: Snapshot, limit: int) -> None:
        self._snapshot, self._limit = snapshot, limit

    def collect(self) -> Iterable[Any]:
        return render(self._snapshot, limit=self._limit)


Read = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(snapshot: Snapshot, limit: int = metrics.TRIALS_SHOWN) -> Read:
    """The series of a page, as a Prometheus server would read them."""
    text = generate_latest(Page(snapshot, limit)).decode()
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    found: Read = {(one.name, frozenset(one.labels.items())): one.value for one in samples}
    assert len(found) == len(samples), "a series is there twice"
    return found


def value(read: Read, metric: metrics.Metric, **labels: str) -> float | None:
    usual = {"namespace": "team", "tuning_job": "digits"} if metric.about in (About.JOB, About.TRIAL) else {}
    wanted = {name: text for name, text in {**usual, **labels}.items() if name in metric.labels}
    return read.get((metric.name, frozenset(wanted.items())))


def of(snapshot_jobs: list[Any], trials: list[Any], glimpses: Mapping[Any, Glimpse] | None = None, **more: Any) -> Read:
    limit = more.pop("limit", metrics.TRIALS_SHOWN)
    return read(Snapshot(now=NOW, jobs=snapshot_jobs, trials=trials, glimpses=glimpses or {}, **more), limit)


def test_every_series_carries_a_name_and_labels_of_the_table() -> None:
    found = of(
        [job(("Complete", "True"), best={"value": "0.5"}, rankCorrelation="0.7", wrongStopRate="0.0")],
        [trial(0, running=5, spec={"parameters": {"lr": 1, "optimizer": "sgd", "nesterov": True}})],
        queues={"trials": 3},
        oldest={"trials": 0.5},
        caches={"trials": CacheState(size=1, age=2.0)},
    )
    table = {one.name: set(one.labels) for one in metrics.METRICS}
    for name, labels in found:
        assert {label for label, _ in labels} == table[name], name
    assert value(found, metrics.TRIAL_CHOICE, trial="digits-0000", parameter="nesterov", choice="true") == 1
    assert value(found, metrics.TRIAL_CHOICE, trial="digits-0000", parameter="optimizer", choice="sgd") == 1
    assert value(found, metrics.TRIAL_PARAMETER, trial="digits-0000", parameter="lr") == 1


@pytest.mark.parametrize(
    ("conditions", "state"),
    [
        ((), JobState.PENDING),
        ((("Accepted", "False"), ("Running", "True")), JobState.REJECTED),
        ((("Accepted", "True"), ("Running", "True")), JobState.RUNNING),
        ((("Accepted", "True"), ("Suspended", "True")), JobState.SUSPENDED),
        ((("Accepted", "True"), ("Complete", "True")), JobState.COMPLETE),
        ((("Accepted", "True"), ("Failed", "True")), JobState.FAILED),
    ],
)
def test_a_job_is_in_one_state(conditions: Any, state: JobState) -> None:
    assert job_state(job(*conditions)) is state
    found = of([job(*conditions), job(name="other")], [])
    counts = {one: value(found, metrics.JOBS, state=one) for one in JobState}
    assert counts == {one: (one is state) + (one is JobState.PENDING) for one in JobState}


def test_every_trial_is_counted_in_one_state() -> None:
    queued = {"type": "Running", "status": "False", "reason": "Queued", "lastTransitionTime": stamp(1)}
    ends = ["Completed", "TargetReached", "StoppedEarly", "NonFinite", "OutOfMemory", "Preempted", "Cancelled"]
    trials = [
        trial(0),
        trial(1, running=5),
        trial(2, spec={"desired": "Paused"}),
        trial(3, conditions=[queued]),
        *(trial(4 + place, reason=reason) for place, reason in enumerate(ends)),
    ]
    found = of([job()], trials)
    counts = {state: value(found, metrics.TRIALS, state=state) for state in metrics.TrialState}
    assert counts == {
        "Pending": 1,
        "Running": 1,
        "Paused": 1,
        "Queued": 1,
        "Completed": 2,
        "StoppedEarly": 2,
        "Failed": 1,
        "Ended": 2,
    }
    assert {reason: value(found, metrics.TRIALS_ENDED, reason=reason) for reason in ends} == dict.fromkeys(ends, 1.0)


def test_series_of_trials_are_bounded_and_go_when_a_trial_has_ended() -> None:
    running = [trial(number, running=5, value="0.5") for number in range(7)]
    fresh = [trial(10 + n, attempt=1, reason="Completed", completionTime=stamp(n * 100), value="1") for n in range(7)]
    found = of([job()], [*fresh, *running], limit=9)
    shown = {dict(labels)["trial"] for name, labels in found if name == metrics.TRIAL_VALUE.name}
    assert shown == {f"digits-{number:04d}" for number in (*range(7), 10, 11)}
    # The one that ended 600 s ago is past its time; of the six others two are shown.
    assert value(found, metrics.HIDDEN) == 4
    per_trial = [name for name, labels in found if dict(labels).get("trial")]
    assert len(per_trial) <= 9 * sum(one.about is About.TRIAL for one in metrics.METRICS)


def test_what_is_gone_has_no_series() -> None:
    assert of([], [trial(0, running=5)]) == {}
    assert {dict(labels).get("tuning_job") for _, labels in of([job(name="other")], [trial(0, running=5)])} == {
        None,
        "other",
    }


def test_what_was_seen_last_counts_and_else_what_is_recorded() -> None:
    recorded = {"value": "0.5", "best": "0.4", "fraction": "0.25", "learningRate": "0.01", "revision": 1}
    trials = [
        trial(0, running=5, spec={"control": {"revision": 2, "learningRateScale": 0.5}}, **recorded),
        trial(1, running=5, **recorded),
    ]
    seen = Glimpse(value=math.nan, best=0.3, progress=0.3, learning_rate=0.02, revision=2, moved=NOW)
    found = of([job()], trials, {("team", "digits-0000"): seen})

    def of_trial(name: str) -> list[float | None]:
        about = [one for one in metrics.METRICS if one.about is About.TRIAL and one.labels[-1] == "trial"]
        return [value(found, one, trial=name) for one in about]

    assert of_trial("digits-0000") == [0.5, 0.3, 0.3, 0.02, 0.5, 2, 2]
    assert of_trial("digits-0001") == [0.5, 0.4, 0.25, 0.01, 1.0, 0, 1]


def test_decisions_are_counted_from_the_records() -> None:
    stop = {"rule": "Percentile", "action": "Stop", "enforced": True}
    watched = {**stop, "enforced": False}
    finish = {"decision": {"rule": "Budget.trials", "action": "Finish", "enforced": True}, "kind": "Decision"}
    records = [{"kind": "JobStarted", "sequence": 0, "time": str(NOW)}, {**finish, "sequence": 9, "time": str(NOW)}]
    found = of(
        [job(records=records)], [trial(0, spec={"decisions": [watched, stop]}), trial(1, spec={"decisions": [stop]})]
    )
    assert value(found, metrics.DECISIONS, rule="Percentile", verdict="Stop", enforced="true") == 2
    assert value(found, metrics.DECISIONS, rule="Percentile", verdict="Stop", enforced="false") == 1
    assert value(found, metrics.DECISIONS, rule="Budget.trials", verdict="Finish", enforced="true") == 1


def test_compute_goes_on_counting_between_two_writes_of_the_status() -> None:
    ended = trial(
        0, reason="Completed", gpuSeconds="100", computeSeconds="50", end={"reason": "Completed", "fraction": "1.0"}
    )
    stopped = trial(
        1,
        reason="StoppedEarly",
        gpuSeconds="20",
        computeSeconds="10",
        end={"reason": "StoppedEarly", "fraction": "0.25"},
    )
    runs = trial(2, running=100, gpuSeconds="60", computeSeconds="30", accountedUntil=stamp(30))
    container = {"name": "a", "resources": {"limits": {"nvidia.com/gpu": "2"}}}
    pod = {
        "metadata": {"name": "p"},
        "spec": {"containers": [container]},
        "status": {"startTime": stamp(60), "phase": "Running"},
    }
    found = of(
        [job(spec={"budget": {"gpuHours": 1}})], [ended, stopped, runs], sights={("team", "digits-0002"): (Sight(pod),)}
    )
    assert value(found, metrics.GPU_SECONDS) == 100 + 20 + 60 + 2 * 30
    assert value(found, metrics.COMPUTE_SECONDS) == 50 + 10 + 30 + 30
    assert value(found, metrics.GPU_SECONDS_SAVED) == 60
    assert value(found, metrics.COMPUTE_SECONDS_SAVED) == 30
    assert value(found, metrics.BUDGET_USED, budget="gpuHours") == pytest.approx(240 / 3600)


def test_budgets_end_the_job_at_one() -> None:
    records = [
        {"kind": "JobStarted", "sequence": 0, "time": str(NOW - 1000)},
        {"kind": "JobSuspended", "sequence": 10, "time": str(NOW - 900)},
        {"kind": "JobResumed", "sequence": 20, "time": str(NOW - 100)},
    ]
    spec = {"budget": {"trials": 8, "failedTrials": 1, "duration": "400s"}}
    trials = [
        trial(0, reason="Failed"),
        trial(1, reason="OutOfMemory"),
        trial(2, reason="Completed", spec={"role": "Evaluation"}),
        trial(3, running=1),
    ]
    found = of([job(spec=spec, records=records)], trials)
    assert value(found, metrics.BUDGET_USED, budget="trials") == 2 / 8
    assert value(found, metrics.BUDGET_USED, budget="failedTrials") == 1.0
    assert value(found, metrics.BUDGET_USED, budget="duration") == 0.5
    assert value(found, metrics.BUDGET_USED, budget="gpuHours") is None
    over = of([job(spec=spec, records=records, completionTime=stamp(60))], trials)
    assert value(over, metrics.BUDGET_USED, budget="duration") == pytest.approx(0.35)


def test_trouble_with_running_trials() -> None:
    change = {"revision": 1, "time": str(NOW - 40), "rule": "CoolDown", "action": "BeginDecay", "enforced": True}
    newer = {**change, "revision": 2, "time": str(NOW - 10)}
    steered = {"control": {"revision": 2}, "decisions": [change, newer]}
    trials = [
        trial(0, running=500, spec=steered),
        trial(1, running=500),
        trial(2, running=500),
        trial(3, reason="Failed", spec=steered),
    ]
    glimpses = {
        ("team", "digits-0000"): Glimpse(revision=0, moved=NOW - 2),
        ("team", "digits-0001"): Glimpse(readable=False, moved=NOW - 300),
    }
    found = of([job()], trials, glimpses)
    assert value(found, metrics.CONTROL_WAIT) == 40
    assert value(found, metrics.UNREADABLE) == 1
    assert value(found, metrics.STALL) == 300
    glimpses[("team", "digits-0000")] = Glimpse(revision=1, moved=NOW)
    assert value(of([job()], trials, glimpses), metrics.CONTROL_WAIT) == 10
    glimpses[("team", "digits-0000")] = Glimpse(revision=2, moved=NOW)
    assert value(of([job()], trials, glimpses), metrics.CONTROL_WAIT) == 0


def test_waiting_counts_from_the_end_of_the_queue() -> None:
    starting = {"type": "Running", "status": "False", "reason": "Unschedulable", "lastTransitionTime": stamp(900)}
    was_queued = {"type": "Queued", "status": "False", "reason": "Unschedulable", "lastTransitionTime": stamp(30)}
    queued = {"type": "Running", "status": "False", "reason": "Queued", "lastTransitionTime": stamp(900)}
    assert value(of([job()], [trial(0)]), metrics.WAIT) == 1000
    assert value(of([job()], [trial(0, conditions=[starting])]), metrics.WAIT) == 900
    assert value(of([job()], [trial(0, conditions=[starting, was_queued])]), metrics.WAIT) == 30
    assert value(of([job()], [trial(0, conditions=[queued]), trial(1, spec={"desired": "Paused"})]), metrics.WAIT) == 0


def test_the_series_of_a_thousand_trials_cost_little() -> None:
    trials = [trial(number, running=5, value="0.5", best="0.5", learningRate="0.1") for number in range(1000)]
    snapshot = Snapshot(now=NOW, jobs=[job()], trials=trials)
    began = time.process_time()
    page = generate_latest(Page(snapshot, 1000))
    took = time.process_time() - began
    assert page.count(b"\n") > 7000
    assert took < 1.0, f"{took:.3f} s"
