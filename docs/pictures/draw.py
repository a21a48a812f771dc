"""Draws the pictures of the README from a finished run: ``python docs/pictures/draw.py runs/demo-...``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tuning_operator.backends.local.run_directory import RunDirectory
from tuning_operator.cli.pictures import live_svg
from tuning_operator.engine.engine import Engine

HERE = Path(__file__).parent
PART = 0.6
"""How much of the log the live view is drawn from, so that trials still run in it."""


def draw_live(run: Path) -> None:
    """Write what the terminal showed in the middle of the run."""
    directory = RunDirectory(run)
    job, records = directory.job(), directory.records()
    seen = records[: round(len(records) * PART)]
    engine = Engine.restore(name=job.metadata.name, spec=job.spec, records=seen)
    picture = live_svg(engine.view(time=seen[-1].time), width=120, height=30, title="tuning run examples/digits.yaml")
    (HERE / "live.svg").write_text(picture)


def draw_report(run: Path) -> None:
    """Write the upper part of the report as a browser shows it."""
    with tempfile.TemporaryDirectory() as profile:
        options = [
            "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars",
            "--disable-background-networking --disable-component-update --disable-sync",
            f"--user-data-dir={profile} --window-size=1200,1250 --virtual-time-budget=8000",
            f"--screenshot={HERE / 'report.png'}",
        ]
        page = (run / "report.html").resolve().as_uri()
        subprocess.run(["chromium", *" ".join(options).split(), page], check=True, capture_output=True)


if __name__ == "__main__":
    draw_live(Path(sys.argv[1]))
    draw_report(Path(sys.argv[1]))
