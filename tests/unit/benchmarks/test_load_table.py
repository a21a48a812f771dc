"""What the load run makes of an audit log, of Trials, and of what the stand-in trials wrote down."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from benchmarks.load.audit import AuditLog, Request, calls, counted_entries, read_audit
from benchmarks.load.scenarios import Outcome
from benchmarks.load.table import Row, first_jobs, loop_lag, percentile, reactions, rows
from benchmarks.load.usage import Usage
from tests.testbed.errors import TestbedError

HERE = "load-study"


def request(verb: str, resource: str, name: str = "", *, at: float, code: int = 200) -> Request:
    return Request(verb=verb, resource=resource, namespace=HERE, name=name, code=code, received=at, answered=at + 0.25)


def outcome(*trials: dict[str, Any], **fields: Any) -> Outcome:
    usage = Usage(seconds=10.0, cpu=1.0, cpu_all=2.0, others=3.0, rss_before=2**20, rss=3 * 2**20, delays=[0.1, 0.2])
    given = {"applied": {"a": 100.0, "b": 101.0}, "began": 100.0, "ended": 200.0, "usage": usage, **fields}
    return Outcome(name="study", namespace=HERE, interval=5.0, count=2, trials=list(trials), **given)


def trial(name: str, *decisions: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"decisions": [{"enforced": True, **one} for one in decisions]}}


def played(name: str, **fields: Any) -> dict[str, Any]:
    return {"trial": name, "began": 100.0, "seconds": 50.0, "controls": [], "refused": 0, "broken": None, **fields}


def table(outcome: Outcome, log: AuditLog, *there: dict[str, Any]) -> dict[str, Row]:
    return {row.what: row for row in rows(outcome, log, there, lag="", per_trial_cpu=0.4)}


def test_an_audit_log_is_read_and_a_watch_that_ends_later_counts_once(tmp_path: Path) -> None:
    about = {"resource": "trials", "subresource": "status", "namespace": HERE, "name": "a-0000"}
    times = {"requestReceivedTimestamp": "2025-01-01T00:00:01.500000Z", "stageTimestamp": "2025-01-01T00:00:02.000000Z"}
    patch = {"auditID": "1", "verb": "patch", "requestURI": "/", "objectRef": about, "responseStatus": {"code": 200}}
    watch = {"auditID": "2", "verb": "watch", "requestURI": "/api?watch", "responseStatus": {"code": 200}}
    file = tmp_path / "audit.log"
    file.write_text("".join(json.dumps({**one, **times}) + "\n" for one in (watch, patch, watch)))
    log = read_audit(file, counted=3)
    assert log.lost == 0
    found = log.requests
    assert [(one.verb, one.resource, one.code) for one in found] == [
        ("watch", "/api", 200),
        ("patch", "trials/status", 200),
    ]
    assert found[1].answered - found[1].received == pytest.approx(0.5)
    since = found[0].received
    assert calls(found, namespaces={HERE}, since=since, until=since) == {("patch", "trials/status"): 1}
    assert not calls(found, namespaces={HERE}, since=since + 1, until=since + 2)
    assert not calls(found, namespaces={"other"}, since=since, until=since)


def test_a_dry_run_creates_nothing(tmp_path: Path) -> None:
    times = {"requestReceivedTimestamp": "2025-01-01T00:00:01Z", "stageTimestamp": "2025-01-01T00:00:02Z"}
    about = {"resource": "jobs", "namespace": HERE, "name": "a-0000"}
    entry = {"auditID": "1", "verb": "create", "requestURI": "/apis/batch/v1?dryRun=All", "objectRef": about, **times}
    file = tmp_path / "audit.log"
    file.write_text(json.dumps(entry))
    assert [one.verb for one in read_audit(file, counted=1).requests] == ["dry-run"]


def test_entries_that_the_server_counted_and_the_log_has_not_are_lost(tmp_path: Path) -> None:
    times = {"requestReceivedTimestamp": "2025-01-01T00:00:01Z", "stageTimestamp": "2025-01-01T00:00:02Z"}
    file = tmp_path / "audit.log"
    file.write_text(
        "".join(json.dumps({"auditID": name, "verb": "get", "requestURI": "/", **times}) + "\n" for name in "ab")
    )
    assert read_audit(file, counted=5).lost == 3
    assert read_audit(file, counted=1).lost == 0, "one more was asked after the count"


def test_the_server_says_how_many_entries_it_made() -> None:
    lines = ("# TYPE apiserver_audit_event_total counter", "apiserver_audit_event_total 1.2345e+06", "other_total 7")
    assert counted_entries("\n".join(lines)) == 1_234_500
    with pytest.raises(TestbedError, match="apiserver_audit_event_total"):
        counted_entries("other_total 7\n")


def test_the_first_job_of_each_tuning_job_counts_and_only_one_that_was_made() -> None:
    requests = [
        request("create", "jobs", "a-0000", at=100.5, code=403),
        request("create", "jobs", "a-0001", at=101.0, code=201),
        request("create", "jobs", "a-0002", at=102.0, code=201),
        request("create", "jobs", "b-0000", at=101.5, code=201),
    ]
    there = [played("a-0001"), played("a-0002"), played("b-0000")]
    assert first_jobs(outcome(), requests, there) == pytest.approx({"a": 1.25, "b": 0.75})


def test_the_first_job_is_the_one_that_was_answered_first() -> None:
    requests = [
        replace(request("create", "jobs", "a-0000", at=100.5, code=201), answered=103.0),
        request("create", "jobs", "a-0001", at=101.0, code=201),
    ]
    assert first_jobs(outcome(), requests, [])["a"] == pytest.approx(1.25)


def test_a_tuning_job_of_which_a_job_is_missing_is_not_known_and_missed() -> None:
    requests = [request("create", "jobs", name, at=at, code=201) for name, at in (("a-0001", 160.0), ("b-0000", 101.1))]
    what = "apply to first Job, worst"
    found = table(outcome(), AuditLog(requests), played("a-0000"), played("a-0001"), played("b-0000"))[what]
    assert (found.said, found.is_held) == ("not known for 1 of 2 jobs; of the others 0.35 s", False)
    found = table(outcome(), AuditLog([]), played("b-0000"))[what]
    assert (found.said, found.is_held) == ("not known for 2 of 2 jobs", False)
    requests = [request("create", "jobs", name, at=101.1, code=201) for name in ("a-0000", "b-0000")]
    found = table(outcome(applied={"a": 101.0, "b": 101.0}), AuditLog(requests), played("a-0000"))[what]
    assert (found.said, found.is_held) == ("0.35 s (median of 2 0.35)", True)


def test_reactions_count_from_the_report_that_caused_them() -> None:
    stopped = trial("a-0000", {"action": "Stop", "rule": "Percentile", "fraction": "0.5"})
    broken = trial("a-0001", {"action": "Stop", "rule": "Divergence", "fraction": "0.9"})
    steered = trial("a-0002", {"action": "BeginDecay", "rule": "CoolDown", "fraction": "0.1", "revision": 1})
    watched = trial("a-0003", {"action": "Stop", "rule": "Percentile", "fraction": "0.1", "enforced": False})
    late = trial("a-0004", {"action": "Stop", "rule": "Percentile", "fraction": "0.1"})
    requests = [request("delete", "jobs", f"a-000{number}", at=130.0) for number in (0, 1, 3, 4)]
    there = [
        played("a-0000"),
        played("a-0001", broken=128.5),
        played("a-0002", controls=[[1, 107.0]]),
        played("a-0003"),
        played("a-0004", began=300.0),
    ]
    sent = reactions(outcome(stopped, broken, steered, watched, late), requests, there)
    assert sent["stop"].delays == pytest.approx([5.0, 1.5])
    assert sent["control"].delays == pytest.approx([2.0])
    assert (sent["stop"].decided, sent["control"].decided) == (2, 1)


def test_what_was_decided_and_never_sent_is_late_without_end() -> None:
    decision = {"action": "BeginDecay", "rule": "CoolDown", "fraction": "0.1", "revision": 1}
    trials = [trial(f"a-{number:04d}", decision) for number in range(100)]
    there = [played(f"a-{number:04d}", controls=[[1, 106.0]]) for number in range(100)]
    what = "metric visible to control sent, p99"
    for never, is_held in ((1, True), (2, False)):
        there[never - 1]["controls"] = []
        found = table(outcome(*trials), AuditLog([]), *there)[what]
        assert (found.said, found.is_held) == (
            f"1.00 s (p50 1.00, max 1.00; {100 - never} times, {never} never)",
            is_held,
        )
    stopped = trial("a-0000", {"action": "Stop", "rule": "Percentile", "fraction": "0.5"})
    found = table(outcome(stopped), AuditLog([]), played("a-0000"))["metric visible to stop sent, p99"]
    assert (found.said, found.is_held) == ("0 times, 1 never", False)


def test_what_follows_from_an_audit_log_is_not_known_when_it_lost_entries() -> None:
    stopped = trial("a-0000", {"action": "Stop", "rule": "Percentile", "fraction": "0.1"})
    steered = trial("a-0001", {"action": "BeginDecay", "rule": "CoolDown", "fraction": "0.1", "revision": 1})
    requests = [
        request("create", "jobs", "a-0000", at=100.1, code=201),
        request("create", "jobs", "b-0000", at=101.1, code=201),
        request("delete", "jobs", "a-0000", at=106.0),
    ]
    there = [played("a-0000"), played("a-0001", controls=[[1, 106.0]])]
    found = table(outcome(stopped, steered), AuditLog(requests, lost=7), *there)
    said = "not known: the audit log lacks 7 entries"
    for what, is_held in (
        ("apply to first Job, worst", False),
        ("metric visible to stop sent, p99", False),
        ("API calls per trial", True),
    ):
        assert (found[what].said, found[what].is_held) == (said, is_held), what
    assert found["metric visible to control sent, p99"].value == pytest.approx(1.0), "the trials know that one"


def test_nothing_is_said_of_trials_that_were_not_read() -> None:
    found = table(outcome(), AuditLog([]))
    assert found["API calls per trial"].said == "0.0 (none)"
    assert not {"decisions", "trials", "marks recorded per trial"} & found.keys()


def test_a_line_that_misses_its_target_says_so() -> None:
    steered = trial("a-0002", {"action": "BeginDecay", "rule": "CoolDown", "fraction": "0.1", "revision": 1})
    found = table(
        outcome(steered, applied={"a": 100.0}),
        AuditLog([request("create", "jobs", "a-0002", at=100.1, code=201)]),
        played("a-0002", controls=[[1, 117.0]]),
    )
    assert found["apply to first Job, worst"].is_held
    assert not found["metric visible to control sent, p99"].is_held
    assert not found["CPU per trial"].is_held
    assert "1024 KB per trial" in found["memory of the operator"].said


def test_percentiles_of_a_few_values_are_values() -> None:
    assert [percentile([3.0, 1.0, 2.0], percent) for percent in (0, 50, 99, 100)] == [1.0, 2.0, 3.0, 3.0]


def test_lag_is_what_was_counted_between_two_looks() -> None:
    def page(*counts: int) -> str:
        lines = ["# TYPE tuning_operator_event_loop_lag_seconds histogram"]
        for bound, count in zip(("0.001", "0.1", "+Inf"), counts, strict=True):
            lines.append(f'tuning_operator_event_loop_lag_seconds_bucket{{le="{bound}"}} {count}')
        return "\n".join(lines) + "\n"

    assert loop_lag(page(5, 9, 9), page(105, 114, 114)) == "p50 <= 1 ms, p99 <= 100 ms, p100 <= 100 ms"
    assert loop_lag("", "") == ""
