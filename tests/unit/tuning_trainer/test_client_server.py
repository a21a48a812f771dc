"""What a trial answers over HTTP."""

from __future__ import annotations

import math
import socket
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from tests.unit.tuning_trainer.clients import ask, put, scrape, serving, token

from trial_protocol import names
from trial_protocol.errors import ProtocolError
from trial_protocol.history import parse_history
from tuning_trainer import server
from tuning_trainer.exposition import Standing, render
from tuning_trainer.state import Evaluated, Snapshot, TrialState


def test_everything_that_was_told_is_exported(tmp_path: Path) -> None:
    with serving(tmp_path, attempt=2, axis="train_tokens", total=1000.0) as trial:
        trial.record_step(step=9, loss=2.0, gradient_norm=0.7, learning_rate=0.01, tokens=240)
        trial.record_step(step=10, loss=4.0, gradient_norm=0.5, learning_rate=0.02, tokens=250, samples=25)
        trial.record_step(step=11, loss=math.nan)
        trial.report(step=10, epochs=0.5, eval_loss=0.25, accuracy=math.nan)
        trial.record_step(step=12, loss=math.nan, learning_rate=0.04, tokens=300)
        samples = scrape(trial)
    assert samples.pop(names.METRIC_SECONDS) > 0
    assert samples.pop(names.METRIC_STEP_SECONDS) > 0
    assert math.isnan(samples.pop("accuracy"))
    assert samples["process_resident_memory_bytes"] > 1e6
    samples = {name: value for name, value in samples.items() if not name.startswith("process_")}
    (told,) = trial.history
    for metric in ("eval_loss", "accuracy"):
        assert samples.pop(f"tuning_evaluation_timestamp_seconds:{metric}") == told.time
        assert samples.pop(f"tuning_evaluation_step:{metric}") == told.step == 10
        assert samples.pop(f"tuning_evaluation_position:{metric}") == told.values["train_tokens"] == 250
        assert samples.pop(f"tuning_evaluation_learning_rate:{metric}") == told.learning_rate == 0.02
    assert samples == {
        "train_step": 12,
        "train_tokens": 300,
        "train_samples": 25,
        "train_epochs": 0.5,
        "eval_loss": 0.25,
        "tuning_train_loss_nonfinite_total": 2,
        "tuning_train_loss_window_count": 2,
        "tuning_train_loss_window_mean": 3.0,
        "tuning_train_loss_window_min": 2.0,
        "tuning_train_loss_window_max": 4.0,
        "tuning_attempt": 2,
        "tuning_control_revision": 0,
        "tuning_learning_rate_scale": 1.0,
        "tuning_schedule_fraction": 0.3,
        "tuning_learning_rate": 0.04,
        "tuning_gradient_norm": 0.5,
    }


def test_each_scraper_has_its_own_window(tmp_path: Path) -> None:
    with serving(tmp_path) as trial:
        trial.record_step(step=1, loss=1.0)
        assert scrape(trial, "?window=operator")[names.METRIC_LOSS_COUNT] == 1
        trial.record_step(step=2, loss=5.0)
        assert scrape(trial)[names.METRIC_LOSS_COUNT] == 2
        assert scrape(trial, "?window=operator&name[]=train_step") == {"train_step": 2}
        operator = scrape(trial, "?window=operator")
        assert (operator[names.METRIC_LOSS_COUNT], operator[names.METRIC_LOSS_MEAN]) == (1, 5.0)
        empty = scrape(trial, "?window=operator")
        assert empty[names.METRIC_LOSS_COUNT] == 0
        assert math.isnan(empty[names.METRIC_LOSS_MEAN])


def test_only_requested_names_are_answered(tmp_path: Path) -> None:
    with serving(tmp_path) as trial:
        trial.report(step=1, eval_loss=0.5)
        query = "?name[]=eval_loss&name[]=tuning_train_loss_nonfinite_total&name%5B%5D=tuning_attempt&name[]=nothing"
        assert scrape(trial, query) == {"eval_loss": 0.5, "tuning_train_loss_nonfinite_total": 0, "tuning_attempt": 1}


def test_the_format_is_negotiated(tmp_path: Path) -> None:
    with serving(tmp_path) as trial:
        trial.report(step=1, eval_loss=0.5)
        plain = ask(trial, "/metrics")
        negotiated = ask(trial, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert plain.headers["Content-Type"].startswith("text/plain")
    assert "# EOF" not in plain.body
    assert negotiated.headers["Content-Type"].startswith("application/openmetrics-text")
    assert len(list(parse_open_metrics(negotiated.body))) > 5


@given(
    st.dictionaries(st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,20}", fullmatch=True), st.floats(), max_size=5).filter(
        lambda values: not any(name.startswith("tuning_") or name in names.COUNTERS for name in values)
    )
)
@settings(max_examples=50)
def test_any_metric_survives_both_formats(values: dict[str, float]) -> None:
    snapshot = Snapshot(
        counters={"train_step": 1.0},
        values={
            name: Evaluated(value=value, step=1, time=0.0, beside=values, learning_rate=None)
            for name, value in values.items()
        },
        window=None,
        nonfinite=0,
        gradient_norm=None,
        learning_rate=None,
    )
    standing = Standing(attempt=1, revision=0, learning_rate_scale=1.0, fraction=None)
    for accept in ("text/plain", "application/openmetrics-text; version=1.0.0"):
        body, _ = render(snapshot, standing, accept=accept, requested=())
        for name, value in values.items():
            (line,) = [line for line in body.decode().splitlines() if line.startswith(f"{name} ")]
            read = float(line.split()[1])
            assert read == value or (math.isnan(read) and math.isnan(value))


def test_the_history_is_complete_and_pages(tmp_path: Path) -> None:
    with serving(tmp_path) as trial:
        for step in range(1, 6):
            trial.report(step=step, eval_loss=1 / step, learning_rate=0.1, tokens=step * 10)
        everything = ask(trial, "/history")
        assert parse_history(everything.body) == trial.history
        first = trial.history[0]
        assert (first.step, first.attempt, first.revision, first.learning_rate) == (1, 1, 0, 0.1)
        assert first.values == {"train_step": 1, "train_tokens": 10, "eval_loss": 1.0} | {
            "train_seconds": first.values["train_seconds"]
        }
        assert abs(first.time - time.time()) < 60
        assert [record.step for record in parse_history(ask(trial, "/history?after=3").body)] == [4, 5]
        page = ask(trial, "/history?after=1&limit=2")
        assert [record.step for record in parse_history(page.body)] == [2, 3]
        rest = ask(trial, f"/history?after=1&cursor={page.headers[names.HEADER_NEXT]}")
        assert [record.step for record in parse_history(rest.body)] == [4, 5]
        assert ask(trial, f"/history?cursor={rest.headers[names.HEADER_NEXT]}").body == ""


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/history?after=soon", 400),
        ("GET", "/history?limit=" + "9" * 30, 400),
        ("GET", "/history?cursor=x", 400),
        ("GET", "/metrics?" + "a=1&" * 1000, 400),
        ("GET", "/" + "x" * 70_000, 414),
        ("PUT", "/metrics", 404),
        ("POST", "/control", 501),
        ("DELETE", "/history", 501),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path: Path, method: str, path: str, status: int) -> None:
    with serving(tmp_path) as trial:
        assert ask(trial, path, method=method).status == status
        assert scrape(trial)


def test_a_chosen_port_is_served_to_the_network_and_one_drawn_to_this_machine_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(tmp_path) as trial:
        assert capsys.readouterr().out == f"tuning: serving on port {trial.port}\n"
        assert trial._server is not None
        assert trial._server._server.server_address[0] == "127.0.0.1"
        port = trial.port
        assert port is not None
    with serving(tmp_path, port=port) as trial:
        assert trial.port == port
        assert capsys.readouterr().out == ""
        assert trial._server is not None
        assert trial._server._server.server_address[0] in ("::", "0.0.0.0")
        assert scrape(trial)
        with pytest.raises(ProtocolError, match=f"TUNING_PORT is {port}"), serving(tmp_path, port=port):
            pass
    with pytest.raises(ProtocolError, match="TUNING_PORT is 70000"), serving(tmp_path, port=70000):
        pass


def test_slow_clients_lock_nobody_out(tmp_path: Path) -> None:
    with serving(tmp_path) as trial:
        assert trial.port is not None
        slow = [
            socket.create_connection(("127.0.0.1", trial.port), timeout=10) for _ in range(server.MAX_CONNECTIONS + 10)
        ]
        try:
            for connection in slow:
                connection.sendall(b"GET /metr")
            started = time.monotonic()
            for step in range(100):
                trial.record_step(step=step, loss=0.5)
            trial.report(step=100, eval_loss=0.5)
            for _ in range(3):
                assert scrape(trial)["eval_loss"] == 0.5
            assert time.monotonic() - started < server.CLIENT_TIMEOUT
            assert slow[0].recv(1) == b"", "the oldest connection is given up"
            slow[-1].settimeout(0.01)
            with pytest.raises(TimeoutError):
                slow[-1].recv(1)
        finally:
            for connection in slow:
                connection.close()


def test_a_reader_that_does_not_read_holds_nothing_up(tmp_path: Path) -> None:
    with serving(tmp_path) as trial:
        assert trial.port is not None
        for step in range(20_000):
            trial.report(step=step, eval_loss=0.5)
        with socket.create_connection(("127.0.0.1", trial.port), timeout=10) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.sendall(b"GET /history HTTP/1.0\r\n\r\n")
            started = time.monotonic()
            trial.report(step=20_001, eval_loss=0.25)
            assert scrape(trial)["eval_loss"] == 0.25
            assert time.monotonic() - started < server.CLIENT_TIMEOUT


def test_a_client_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert server._Handler.timeout == server.CLIENT_TIMEOUT
    monkeypatch.setattr(server._Handler, "timeout", 0.05)
    with serving(tmp_path) as trial:
        assert trial.port is not None
        with socket.create_connection(("127.0.0.1", trial.port), timeout=10) as silent:
            assert silent.recv(1) == b""


def test_broken_connections_make_no_noise(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with serving(tmp_path) as trial:
        assert trial.port is not None
        capfd.readouterr()
        for request in (b"", b"\x00\xff\r\n\r\n", b"PUT /control HTTP/1.1\r\nContent-Length: 500\r\n\r\nabc"):
            with socket.create_connection(("127.0.0.1", trial.port), timeout=10) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
                connection.sendall(request)
        assert scrape(trial)
        assert put(trial, token(1)).status == 200
    assert capfd.readouterr() == ("", "")


def test_closing_ends_the_thread_at_once(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with serving(tmp_path) as trial:
        port = trial.port
        assert port is not None
        started = time.monotonic()
    assert time.monotonic() - started < 0.2
    assert not {thread for thread in threading.enumerate() if thread.name == "tuning-server"} - before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_a_training_step_costs_microseconds() -> None:
    state = TrialState(monotonic=time.monotonic)
    best = math.inf
    for _ in range(20):
        started = time.perf_counter()
        for step in range(1000):
            state.record_step(step, 0.5, None, None, None, None)
        best = min(best, (time.perf_counter() - started) / 1000)
    assert best < 20e-6
