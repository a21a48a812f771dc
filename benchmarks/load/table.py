"""What was measured, as a table beside the numbers that the design holds itself to."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from benchmarks.load.audit import AuditLog, Request, calls
from benchmarks.load.curves import REPORTS
from benchmarks.load.scenarios import Outcome
from prometheus_client.parser import text_string_to_metric_families

from tuning_operator.backends.kubernetes.metrics import LOOP_LAG

_SENT: Final = 0.2
"""Seconds that a stop or a control may take beyond one scrape interval."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line; `value` is held if it is at most `target`, and missed where it is not known (NaN)."""

    what: str
    said: str
    value: float = math.nan
    target: float | None = None
    unit: str = ""

    @property
    def is_held(self) -> bool:
        """Whether the target is met; true where there is none."""
        return self.target is None or self.value <= self.target


def first_jobs(outcome: Outcome, requests: Sequence[Request], played: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return, by TuningJob, the seconds from its apply to the answer that created its first Job.

    A TuningJob is left out where that is not known: a trial of it ran, and no request for its Job is seen. That one may
    have been the first.
    """
    seen: set[str] = set()
    first: dict[str, float] = {}
    for one in requests:
        if (one.verb, one.resource, one.namespace, one.code) == ("create", "jobs", outcome.namespace, 201):
            seen.add(one.name)
            owner = _owner(one.name)
            first[owner] = min(one.answered, first.get(owner, math.inf))
    unknown = {_owner(one["trial"]) for one in played if one["trial"] not in seen}
    return {
        name: first[name] - applied
        for name, applied in outcome.applied.items()
        if name in first and name not in unknown
    }


def _owner(trial: str) -> str:
    return trial.rpartition("-")[0]


@dataclass(kw_only=True)
class Sent:
    """What followed from metrics, of one kind.

    Attributes:
        delays: Seconds from the appearance of a metric at its trial to the request that it caused.
        decided: How many should have followed.
    """

    delays: list[float] = field(default_factory=list)
    decided: int = 0


def reactions(
    outcome: Outcome, requests: Sequence[Request], played: Sequence[Mapping[str, Any]]
) -> dict[Literal["stop", "control"], Sent]:
    """Return what followed from metrics that appeared within the outcome's time: stops (a Job's deletion), controls."""
    deleted: dict[str, float] = {}
    for one in requests:
        if (one.verb, one.resource, one.namespace) == ("delete", "jobs", outcome.namespace):
            deleted.setdefault(one.name, one.received)
    by_trial = {one["trial"]: one for one in played}
    stops, controls = Sent(), Sent()
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
            is_stop = decision["action"] == "Stop"
            kind = stops if is_stop else controls
            sent = deleted.get(name) if is_stop else arrived.get(decision.get("revision"))
            kind.decided += 1
            if sent is not None:
                kind.delays.append(sent - visible)
    return {"stop": stops, "control": controls}


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
    log: AuditLog,
    played: Sequence[Mapping[str, Any]],
    *,
    lag: str,
    per_trial_cpu: float | None,
) -> Iterator[Row]:
    """Return the lines of one load run of the operator."""
    usage, count = outcome.usage, outcome.count
    unknown = f"not known: the audit log lacks {log.lost} entries" if log.lost else ""
    if outcome.applied:
        said, value = (unknown, math.nan) if unknown else _first_job(outcome, log.requests, played)
        yield Row(what="apply to first Job, worst", said=said, value=value, target=0.5, unit="s")
    for what, sent in reactions(outcome, log.requests, played).items():
        if sent.decided:
            is_unknown = unknown and what == "stop"
            said, value = (unknown, math.nan) if is_unknown else _delays(sent)
            limit = outcome.interval + _SENT
            yield Row(what=f"metric visible to {what} sent, p99", said=said, value=value, target=limit, unit="s")
    if refused := sum(one["refused"] for one in played):
        yield Row(what="control messages refused", said=str(refused), value=refused, target=0)
    found = calls(log.requests, namespaces={outcome.namespace}, since=outcome.began, until=outcome.ended)
    often = ", ".join(f"{verb} {what} {number / count:.1f}" for (verb, what), number in found.most_common(8))
    yield Row(what="API calls per trial", said=unknown or f"{sum(found.values()) / count:.1f} ({often or 'none'})")
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
    if outcome.trials:
        yield from _trials(outcome)
    yield around(outcome)


def _first_job(outcome: Outcome, requests: Sequence[Request], played: Sequence[Mapping[str, Any]]) -> tuple[str, float]:
    """Return what is said of the first Jobs, and the worst; NaN if that is not known of each TuningJob."""
    found, jobs = list(first_jobs(outcome, requests, played).values()), len(outcome.applied)
    worst = f"{max(found):.2f} s" if found else ""
    if len(found) > 1:
        worst += f" (median of {len(found)} {statistics.median(found):.2f})"
    if len(found) == jobs:
        return worst, max(found)
    others = f"; of the others {worst}" if found else ""
    return f"not known for {jobs - len(found)} of {jobs} jobs{others}", math.nan


def _delays(sent: Sent) -> tuple[str, float]:
    """Return what is said of delays, and their 99th percentile, for which what never followed is endlessly late."""
    delays, never = sent.delays, sent.decided - len(sent.delays)
    times = f"{len(delays)} times" + (f", {never} never" if never else "")
    if delays:
        worst = f"p50 {percentile(delays, 50):.2f}, max {max(delays):.2f}"
        times = f"{percentile(delays, 99):.2f} s ({worst}; {times})"
    return times, percentile([*delays, *[math.inf] * never], 99)


def _trials(outcome: Outcome) -> Iterator[Row]:
    """Return what the Trials say about themselves."""
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
    yield Row(what="marks recorded per trial", said=f"{marks / outcome.count:.1f}")


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
