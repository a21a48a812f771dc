"""The table of metrics: Prometheus' rules for names, and the page made of it."""

from __future__ import annotations

import re
from pathlib import Path

from tuning_operator.backends.kubernetes.metrics import METRICS, PREFIX, About, Kind
from tuning_operator.backends.kubernetes.metrics_page import render_page

PAGE = Path(__file__).parents[4] / "docs" / "operator-metrics.md"


def test_names_follow_the_conventions() -> None:
    names = [one.name for one in METRICS]
    assert len(set(names)) == len(names)
    for one in METRICS:
        assert re.fullmatch(PREFIX + r"[a-z]+(_[a-z]+)*", one.name), one.name
        assert one.name.endswith("_total") == (one.kind is Kind.COUNTER), one.name
        assert bool(one.buckets) == (one.kind is Kind.HISTOGRAM), one.name
        assert one.help.endswith("."), one.name
        assert one.unit in ("", "seconds", "ratio")
        assert not one.unit or one.unit in one.name, one.name


def test_no_label_is_one_that_prometheus_gives_to_targets() -> None:
    labels = {label for one in METRICS for label in one.labels}
    assert not labels & {"job", "instance", "pod", "container", "endpoint", "service", "exported_namespace"}


def test_only_what_is_computed_at_a_scrape_carries_the_name_of_an_object() -> None:
    for one in METRICS:
        names_object = bool({"namespace", "tuning_job", "trial"} & set(one.labels))
        assert names_object == (one.about in (About.JOB, About.TRIAL)), one.name


def test_the_page_is_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == render_page(), "run make generate"
