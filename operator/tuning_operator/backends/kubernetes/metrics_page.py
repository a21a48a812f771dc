"""The page ``docs/operator-metrics.md``, written from the table in `metrics`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tuning_operator.backends.kubernetes.metrics import ENDED_SHOWN, METRICS, TRIALS_SHOWN, About

_HEADINGS: Final = {
    About.PROCESS: ("The process", "Always there, from every replica."),
    About.WORK: ("The operator at work", "From the replica that leads."),
    About.JOB: ("Jobs", "From the replica that leads; gone with the TuningJob."),
    About.TRIAL: (
        "Trials",
        f"From the replica that leads, for running trials and for {ENDED_SHOWN / 60:g} minutes after the end; at most "
        f"{TRIALS_SHOWN} trials a job (the option `--metrics-trials` of the operator), running ones first, then those "
        "that ended last. `tuning_operator_job_hidden_trials` counts what this leaves out. Gone with the Trial.",
    ),
}

_INTRODUCTION: Final = """# Metrics of the operator

Served at `/metrics` on the port of the probes (8080). This page is generated: `make generate`.

What carries the name of an object is computed at each scrape from the operator's caches, so it is gone with the object,
and counters of a job survive a restart of the operator. Every name and every label is listed here; nothing else is
exported but the `process_*` metrics that Prometheus' client library adds.

Labels `namespace` and `tuning_job` name the TuningJob. Scrape with `honorLabels: true`, or Prometheus renames
`namespace` to `exported_namespace`.
"""


def render_page() -> str:
    """Return ``docs/operator-metrics.md``."""
    parts = [_INTRODUCTION]
    for about, (title, text) in _HEADINGS.items():
        rows = [
            f"| `{one.name}` | {one.kind} | {', '.join(f'`{name}`' for name in one.labels)} | {one.unit} | {one.help} |"
            for one in METRICS
            if one.about is about
        ]
        head = "| name | type | labels | unit | what it says |\n| --- | --- | --- | --- | --- |"
        parts.append("\n".join([f"## {title}", text, "", head, *rows, ""]))
    return "\n".join(parts)


def main(arguments: Sequence[str]) -> int:
    """Write the page: ``python -m tuning_operator.backends.kubernetes.metrics_page docs/operator-metrics.md``."""
    Path(arguments[0]).write_text(render_page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
