"""Checks of what a trial tells: metrics, loss windows, history."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from trial_protocol import names
from trial_protocol.conformance.client import Failed, Metrics
from trial_protocol.conformance.subject import Subject
from trial_protocol.history import HistoryRecord

REQUIRED_METRICS: Final = (
    names.METRIC_STEP,
    names.METRIC_ATTEMPT,
    names.METRIC_CONTROL_REVISION,
    names.METRIC_LEARNING_RATE_SCALE,
    names.METRIC_LOSS_NONFINITE,
)


def check_metrics(subject: Subject) -> str:
    """The required names are there."""
    metrics = subject.client.metrics()
    if missing := [name for name in REQUIRED_METRICS if name not in metrics.samples]:
        raise Failed(f"GET /metrics does not export {', '.join(missing)}")
    if subject.objective and not subject.wait(lambda: subject.objective in subject.client.metrics().samples):
        raise Failed(f"GET /metrics did not export the objective {subject.objective} within {subject.patience:g} s")
    return f"exports {len(metrics.samples)} samples, the required ones among them"


def check_open_metrics(subject: Subject) -> str:
    """The content type tells the truth."""
    plain = subject.client.metrics(accept="text/plain")
    if plain.open_metrics:
        raise Failed("GET /metrics answers OpenMetrics to a client that accepts text/plain only")
    negotiated = subject.client.metrics(accept="application/openmetrics-text; version=1.0.0, text/plain; q=0.5")
    return "speaks " + ("OpenMetrics and " if negotiated.open_metrics else "") + "Prometheus text, and says which"


def check_name_filter(subject: Subject) -> str:
    """``?name[]=`` restricts the answer."""
    wanted = {names.METRIC_STEP, names.METRIC_ATTEMPT}
    found = set(subject.client.metrics(requested=sorted(wanted)).samples)
    if found != wanted:
        raise Failed(f"GET /metrics?name[]=... was asked for {sorted(wanted)} and answered {sorted(found)[:8]}")
    return "answers with the requested names only"


def check_windows(subject: Subject) -> str:
    """No scraper empties another's loss window."""
    first, second = "conformance-first", "conformance-second"
    for scraper in (second, first):
        subject.client.metrics(window=scraper)
    counted: list[float] = []

    def look() -> bool:
        counted.append(_window_count(subject.client.metrics(window=first)))
        return sum(count > 0 for count in counted) >= 3

    if not subject.wait(look) and not sum(counted):
        return "recorded no training loss meanwhile, so there was no window to compare"
    again = _window_count(subject.client.metrics(window=second))
    if again < sum(counted):
        raise Failed(
            f"one scraper was told of {sum(counted):g} training losses and another, which looked at the same time and "
            f"later, of {again:g}: every ?{names.QUERY_WINDOW}= needs a window of its own"
        )
    fresh = subject.client.metrics(window=first)
    if subject.client.metrics(window=first, requested=[names.METRIC_STEP]).samples.keys() != {names.METRIC_STEP}:
        raise Failed(f"GET /metrics does not combine {names.QUERY_NAMES} and {names.QUERY_WINDOW}")
    _check_window(fresh)
    return "keeps a loss window for each scraper"


def _window_count(metrics: Metrics) -> float:
    _check_window(metrics)
    return metrics.samples.get(names.METRIC_LOSS_COUNT, 0.0)


def _check_window(metrics: Metrics) -> None:
    mean, least, greatest = (
        metrics.samples.get(name, math.nan)
        for name in (names.METRIC_LOSS_MEAN, names.METRIC_LOSS_MIN, names.METRIC_LOSS_MAX)
    )
    if metrics.samples.get(names.METRIC_LOSS_COUNT, 0.0) > 0 and not least <= mean <= greatest:
        raise Failed(f"the loss window says least {least:g}, mean {mean:g}, greatest {greatest:g}: not in this order")


def check_history(subject: Subject) -> str:
    """Every evaluation is there, and ``after`` leaves out those already seen."""
    records = _some_history(subject, at_least=2)
    if subject.objective and not any(subject.objective in record.values for record in records):
        raise Failed(f"no record of GET /history says {subject.objective}")
    steps = sorted({record.step for record in records})
    after = steps[(len(steps) - 1) // 2]
    later = subject.client.history(after=after).records
    if wrong := [record.step for record in later if record.step <= after]:
        raise Failed(f"GET /history?after={after} answers with step {wrong[0]}")
    expected = {(record.attempt, record.step, record.time) for record in records if record.step > after}
    if missing := expected - {(record.attempt, record.step, record.time) for record in later}:
        raise Failed(f"GET /history?after={after} leaves out step {min(missing)[1]}")
    return f"remembers {len(records)} evaluations and skips those already seen"


def check_pages(subject: Subject) -> str:
    """A cursor continues where the last answer ended."""
    expected = _some_history(subject, at_least=2)[:4]
    cursor: str | None = None
    for record in expected:
        page = subject.client.history(cursor=cursor, limit=1)
        if len(page.records) != 1 or page.records[0].step != record.step or page.records[0].time != record.time:
            found = [found.step for found in page.records]
            raise Failed(f"paging with limit=1 and cursor={cursor} found steps {found[:5]}, not step {record.step}")
        if not page.cursor:
            raise Failed(f"GET /history does not say in {names.HEADER_NEXT} how to continue")
        cursor = page.cursor
    return "gives its history page by page"


def check_end(subject: Subject) -> str:
    """A page that carries the cursor of the history's end says by it that something new came."""
    _some_history(subject, at_least=1)
    if not subject.client.metrics().cursor:
        return "leaves it to its readers to ask for news"
    read = subject.client.history()
    known = {record.step for record in read.records}

    def has_gone_on() -> bool:
        return any(step not in known for step in subject.client.metrics().evaluation_steps.values())

    if not subject.wait(has_gone_on):
        return "made no evaluation while it was watched"
    if not subject.wait(lambda: subject.client.metrics().cursor != read.cursor):
        raise Failed(f"GET /metrics shows a new evaluation, but its {names.HEADER_NEXT} says that none came")
    return "says with its page whether its history has gone on"


def check_consistency(subject: Subject) -> str:
    """An exported value is the one of its step."""
    _some_history(subject, at_least=1)
    compared = 0
    for _ in range(20):
        metrics = subject.client.metrics()
        for name, step in metrics.evaluation_steps.items():
            value = metrics.samples.get(name, math.nan)
            if not subject.wait(lambda name=name, step=step: bool(_recorded(subject, name, step))):  # type: ignore[misc]
                raise Failed(f"GET /metrics exports {name} of step {step:g}, which GET /history does not know")
            recorded = _recorded(subject, name, step)
            if not any(value == past or (math.isnan(value) and math.isnan(past)) for past in recorded):
                raise Failed(
                    f"GET /metrics says {name} = {value!r} at step {step:g}, GET /history says {recorded}: "
                    "value and step must come from one snapshot"
                )
            compared += 1
        subject.sleep(0.01)
    if not compared:
        raise Failed(f"GET /metrics does not say in {names.METRIC_EVALUATION_STEP} where its values were measured")
    return f"{compared} exported values belong to their step"


def _recorded(subject: Subject, name: str, step: float) -> list[float]:
    records = subject.client.history(after=int(step) - 1).records
    return [record.values[name] for record in records if record.step == step and name in record.values]


def _some_history(subject: Subject, *, at_least: int) -> Sequence[HistoryRecord]:
    if not subject.wait(lambda: len(subject.client.history().records) >= at_least):
        raise Failed(f"GET /history had fewer than {at_least} evaluations within {subject.patience:g} s")
    return subject.client.history().records


def check_unknown_path(subject: Subject) -> str:
    """What is not there is not found."""
    status = subject.client.get("/no-such-path").status
    if status != 404:
        raise Failed(f"GET /no-such-path was answered with {status}, not with 404")
    return "answers 404 to what it does not have"


def check_slow_client(subject: Subject) -> str:
    """Half a request stops neither answers nor training."""
    with subject.client.unfinished_request():
        before = subject.client.metrics().value(names.METRIC_STEP)
        moved = subject.wait(lambda: subject.client.metrics().value(names.METRIC_STEP) != before)
    if not moved:
        raise Failed(f"no training step was done within {subject.patience:g} s while a client sent half a request")
    return "answers and trains while a client dawdles"
