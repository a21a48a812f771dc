"""The operator's command line, and its log."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from tuning_operator.backends.kubernetes.leader import Timing
from tuning_operator.backends.kubernetes.log_format import JsonFormatter, LogFormat
from tuning_operator.backends.kubernetes.options import parse_options


def test_namespaces_may_be_said_one_by_one_or_together() -> None:
    assert parse_options([]).namespaces == ()
    assert parse_options(["--namespace=a", "--namespace", "b"]).namespaces == ("a", "b")
    assert parse_options(["--namespace=a, b,a"]).namespaces == ("a", "b")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--namespace=a,"], "found an empty one"),
        (["--lease-duration=2"], "at least 3, found 2"),
        (["--lease-duration=soon"], "at least 3, found soon"),
        (["--metrics-trials=-1"], "at least 0, found -1"),
        (["--prometheus-url=http://x"], "--prometheus-url and --prometheus-token-file belong together"),
        (["--prometheus-token-file=token"], "--prometheus-url and --prometheus-token-file belong together"),
    ],
)
def test_what_cannot_be_is_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_options(arguments)
    assert message in capsys.readouterr().err


def test_a_token_belongs_to_one_server() -> None:
    assert parse_options([]).access is None
    access = parse_options(["--prometheus-url=https://x/y", "--prometheus-token-file=/t"]).access
    assert access is not None
    assert (access.url, str(access.token_file)) == ("https://x/y", "/t")


def test_the_lease_is_renewed_well_within_its_duration() -> None:
    assert parse_options([]).timing == Timing() == Timing.of(15)
    short = parse_options(["--lease-duration=3"]).timing
    assert short.pause * 3 < short.renew_within < short.duration == 3


def test_a_process_without_a_pod_has_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POD_NAME", raising=False)
    assert parse_options([]).identity != parse_options([]).identity
    monkeypatch.setenv("POD_NAME", "operator-0")
    assert parse_options([]).identity == "operator-0"


def test_a_line_of_json_is_one_line_and_keeps_everything() -> None:
    assert parse_options(["--log-format=json"]).log_format is LogFormat.JSON
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.LogRecord("a.b", logging.ERROR, "", 0, "trial %s: größer", ("x",), sys.exc_info())
    record.created = 1.5
    line = JsonFormatter().format(record)
    assert "\n" not in line
    found = json.loads(line)
    assert found.pop("exception").endswith("ValueError: two\nlines")
    assert found == {
        "time": "1970-01-01T00:00:01.500Z",
        "level": "error",
        "logger": "a.b",
        "message": "trial x: größer",
    }
