"""What was measured, as a table beside the numbers that the design holds itself to."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.load.audit import Request, calls
from benchmarks.load.curves import REPORTS
from benchmarks.load.scenarios import Outcome
from prometheus_client.parser import text_string_to_metric_families

from tuning_operator.backends.kubernetes.metrics import LOOP_LAG

_SENT: Final = 0.2
"""Seconds that a stop or a control may take beyond one scrape interval."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line; `value` is held if it is at most `target`."""

    what: str
    said: str
    value: float = math.nan
    target: float | None = None
    unit: str = ""

    @property
    def is_held(self) -> bool:
        """Whether the target is met; true where there is none."""
        return self.target is None or self.value <= self.target


def first_jobs(outcome: Outcome, requests: Sequence[Request]) -> list[float]:
    """Return, for each TuningJob, the seconds from its apply to the answer that created its first Job."""
    made: dict[str, float] = {}
    for one in requests:
        if (one.verb, one.resource, one.namespace, one.code) == ("create", "jobs", outcome.namespace, 201):
            job = one.name.rpartition("-")[0]
            made.setdefault(job, one.answered)
    return [made[name] - applied for name, applied in outcome.applied.items() if name in made]


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What followed from a metric: seconds from its appearance at the trial to the request."""

    stops: list[float]
    controls: list[float]


def reactions(outcome: Outcome, requests: Sequence[Request], played: Sequence[Mapping[str, Any]]) -> Sent:
    """Return the time from a metric's appearance to the stop (its Job's deletion) or control that it caused.

    Only what happened within the outcome's time counts.
    """
    deleted: dict[str, float] = {}
    for one in requests:
        if (one.verb, one.resource, one.namespace) == ("delete", "jobs", outcome.namespace):
            deleted.setdefault(one.name, one.received)
    by_trial = {one["trial"]: one for one in played}
    stops, controls = [], []
    for body in outcome.trials:
        name = body["metadata"]["name"]
        training = by_trial.get(name)
        if training is None:
            continue
        arrived = dict(training["controls"])
        for decision in body["spec"].get("decisions") or ():
            if not decision["enforced"]:
                continue
            visible = training["broken"]
            if decision["rule"] != "Divergence" or visible is None:
                report = math.ceil(float(decision["fraction"]) * REPORTS - 1e-6)
                visible = training["began"] + training["seconds"] * report / REPORTS
            if not outcome.began <= visible <= outcome.ended:
                continue
            if decision["action"] == "Stop" and name in deleted:
                stops.append(deleted[name] - visible)
            elif decision.get("revision") in arrived:
                controls.append(arrived[decision["revision"]] - visible)
    return Sent(stops=stops, controls=controls)


def loop_lag(before: str, after: str) -> str:
    """Return what the operator itself counted between two looks at its metrics, by the buckets of its histogram."""
    counts: Counter[float] = Counter()
    for sign, page in ((-1, before), (1, after)):
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name == f"{LOOP_LAG.name}_bucket":
                    counts[float(sample.labels["le"])] += sign * int(sample.value)
    total = counts.get(math.inf, 0)
    if not total:
        return ""

    def bound(percent: float) -> float:
        return next(bound for bound in sorted(counts) if counts[bound] >= total * percent / 100)

    return ", ".join(f"p{percent} <= {bound(percent) * 1000:g} ms" for percent in (50, 99, 100))


def rows(
    outcome: Outcome,
    requests: list[Request],
    played: Sequence[Mapping[str, Any]],
    *,
    lag: str,
    per_trial_cpu: float | None,
) -> Iterator[Row]:
    """Return the lines of one load run of the operator."""
    usage, count = outcome.usage, outcome.count
    first = first_jobs(outcome, requests)
    if first:
        more = f" (median of {len(first)} {statistics.median(first):.2f})" if len(first) > 1 else ""
        yield Row(
            what="apply to first Job, worst", said=f"{max(first):.2f} s{more}", value=max(first), target=0.5, unit="s"
        )
    sent = reactions(outcome, requests, played)
    for what, delays in (("stop", sent.stops), ("control", sent.controls)):
        if delays:
            others = f"p50 {percentile(delays, 50):.2f}, max {max(delays):.2f}; {len(delays)} times"
            yield Row(
                what=f"metric visible to {what} sent, p99",
                said=f"{percentile(delays, 99):.2f} s ({others})",
                value=percentile(delays, 99),
                target=outcome.interval + _SENT,
                unit="s",
            )
    if refused := sum(one["refused"] for one in played):
        yield Row(what="control messages refused", said=str(refused), value=refused, target=0)
    found = calls(requests, namespaces={outcome.namespace}, since=outcome.began, until=outcome.ended)
    often = ", ".join(f"{verb} {what} {number / count:.1f}" for (verb, what), number in found.most_common(8))
    yield Row(what="API calls per trial", said=f"{sum(found.values()) / count:.1f} ({often})")
    cpu = usage.cpu / count
    yield Row(
        what="CPU per trial",
        said=f"{cpu * 1000:.1f} ms ({usage.cpu / usage.seconds:.0%} of a core)",
        value=cpu,
        target=per_trial_cpu,
        unit="s",
    )
    most, before = usage.rss / 2**20, usage.rss_before / 2**20
    grown = max(most - before, 0.0) * 1024 / count
    yield Row(what="memory of the operator", said=f"{before:.0f} MB, then {most:.0f} MB ({grown:.0f} KB per trial)")
    probes = ", ".join(f"p{percent:g} {usage.delay(percent) * 1000:.0f} ms" for percent in (50, 99))
    slowest = max(usage.delays, default=0.0) * 1000
    yield Row(what="event loop: time to answer a probe", said=f"{probes}, max {slowest:.0f} ms")
    if lag:
        yield Row(what="event loop: lag as it counts itself", said=lag)
    decisions = Counter(
        f"{decision['rule']} {decision['action']}" + ("" if decision["enforced"] else " (observed)")
        for body in outcome.trials
        for decision in body["spec"].get("decisions") or ()
    )
    yield Row(
        what="decisions", said=", ".join(f"{name} {number}" for name, number in decisions.most_common()) or "none"
    )
    ends = Counter((body.get("status") or {}).get("reason", "running") for body in outcome.trials)
    yield Row(what="trials", said=", ".join(f"{name} {number}" for name, number in ends.most_common()))
    marks = sum(len((body.get("status") or {}).get("marks") or ()) for body in outcome.trials)
    yield Row(what="marks recorded per trial", said=f"{marks / count:.1f}")
    yield around(outcome)


def around(outcome: Outcome) -> Row:
    """Return how long it took, and what else the machine was doing."""
    usage = outcome.usage
    return Row(
        what="wall time",
        said=f"{outcome.wall:.1f} s (load average {outcome.load[0]:.1f} before, {outcome.load[1]:.1f} after; "
        f"CPU of this run {usage.cpu_all / usage.seconds:.1f}, of others {usage.others / usage.seconds:.1f} cores)",
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """Return a percentile of a few values: the smallest one that so many are at most."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)]
