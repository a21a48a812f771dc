from __future__ import annotations

import io
from pathlib import Path

import pytest
from tests.unit.cli.views import make_view, simulated_view

from tuning_operator.cli.output import Output
from tuning_operator.cli.run_job import LiveWatcher, PlainWatcher, Watcher, finish


class Terminal(io.StringIO):
    """A terminal that remembers what it was told."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


def test_the_live_view_redraws_at_most_four_times_a_second_and_always_draws_the_last_picture(
    terminal: Terminal,
) -> None:
    now = 0.0
    drawn = 0
    output = Output(out=terminal, environment={}, width=100)
    watcher = LiveWatcher(output, clock=lambda: now)
    with watcher:
        for step in range(100):
            now = step * 0.01
            before = len(terminal.getvalue())
            watcher.update(make_view(name="first"))
            drawn += len(terminal.getvalue()) > before
        watcher.update(make_view(name="last"))
    assert 3 <= drawn <= 4
    assert "last" in terminal.getvalue().rpartition("first")[2]


def test_nothing_is_drawn_before_there_is_a_picture(terminal: Terminal) -> None:
    with LiveWatcher(Output(out=terminal, environment={}, width=100)):
        pass
    assert "trials" not in terminal.getvalue()


@pytest.mark.parametrize(("environment", "live"), [({}, True), ({"CI": "true"}, False), ({"CI": "false"}, True)])
def test_a_view_that_redraws_is_for_people_at_terminals(
    terminal: Terminal, environment: dict[str, str], live: bool
) -> None:
    assert Output(out=terminal, environment=environment).live is live
    assert Output(out=io.StringIO(), environment=environment).live is False


def test_no_color_means_plain_lines(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert Output(out=terminal, environment={}).live is False


def test_plain_lines_are_never_wrapped_or_coloured_by_what_they_say() -> None:
    text = io.StringIO()
    with PlainWatcher(Output(out=text, environment={}, width=40), since=None) as watcher:
        watcher.update(simulated_view(6, finished="TrialsCompleted"))
    lines = text.getvalue().splitlines()
    assert all(line.startswith("[") for line in lines)
    assert max(map(len, lines)) > 40
    assert "\x1b" not in text.getvalue()


def test_quiet_says_nothing() -> None:
    with Watcher() as watcher:
        watcher.update(make_view())


def test_the_end_leaves_a_report_and_a_table_and_says_where(tmp_path: Path) -> None:
    text = io.StringIO()
    finish(simulated_view(6), directory=tmp_path, output=Output(out=text, environment={}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "results.csv"]
    assert f"Report:     {tmp_path / 'report.html'}" in text.getvalue()
