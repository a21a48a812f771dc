"""The live view as a picture, for documentation: what a terminal shows, as SVG."""

from __future__ import annotations

import io

from rich.console import Console

from tuning_operator.cli.live import render
from tuning_operator.engine.view import JobView


def live_svg(view: JobView, *, width: int = 110, height: int = 26, title: str = "tuning run") -> str:
    """Return the live view of a job as an SVG of a terminal."""
    console = Console(
        file=io.StringIO(), record=True, width=width, force_terminal=True, color_system="truecolor", highlight=False
    )
    console.print(render(view, width=width, height=height))
    return console.export_svg(title=title, unique_id="tuning")
