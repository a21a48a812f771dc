"""Dashboards and alerts as files: generated, importable, and about metrics that exist."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from grafana_foundation_sdk.models.dashboard import Dashboard as GrafanaDashboard
from helm.alerts import Limits, alerts, rule_file
from helm.dashboards.grafana import to_json
from helm.dashboards.pages import PAGES
from helm.dashboards.panel import Dashboard
from tests.testbed import binaries

from trial_protocol import names
from tuning_operator.backends.kubernetes.metrics import METRICS

ROOT = Path(__file__).parents[2]
FILES = ROOT / "helm" / "tuning-operator" / "files"
OF_TRIALS = {value for name, value in vars(names).items() if name.startswith("METRIC_")}
OF_PROCESS = {"process_resident_memory_bytes"}
KNOWN = {metric.name for metric in METRICS} | OF_TRIALS | OF_PROCESS
_METRIC = re.compile(r"\b((?:tuning|train|process)_[a-z_]+)\b")
_NAMES_IN_LABELS = re.compile(r'"[^"]*"|\{[^{}]*\}|by \([^()]*\)|on \([^()]*\)')


def used(expression: str) -> set[str]:
    """Return the metrics that an expression names; of a histogram, its own name."""
    bare = _NAMES_IN_LABELS.sub(" ", expression)
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in _METRIC.findall(bare)}


def expressions(page: Dashboard) -> list[str]:
    asked = [query.expression for panel in page.panels for query in panel.queries]
    return asked + [annotation.expression for annotation in page.annotations]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.uid)
def test_the_file_is_the_code_and_grafanas_own_model_reads_it(page: Dashboard) -> None:
    text = (FILES / "dashboards" / f"{page.uid}.json").read_text()
    assert text == to_json(page)
    read = GrafanaDashboard.from_json(json.loads(text))
    assert (read.uid, read.title) == (page.uid, page.title)
    assert read.panels is not None
    assert len(read.panels) == len(page.panels) + len(page.rows)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.uid)
def test_every_metric_of_every_panel_exists(page: Dashboard) -> None:
    for expression in [*expressions(page), *(variable.metric for variable in page.variables)]:
        assert used(expression), expression
        assert used(expression) <= KNOWN, expression


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.uid)
def test_every_panel_gives_advice_and_a_unit_and_asks_the_chosen_server(page: Dashboard) -> None:
    assert len({panel.title for panel in page.panels}) == len(page.panels)
    for panel in page.panels:
        assert panel.advice.endswith((".", "?"))
        assert panel.unit
        assert sum(panel.width for panel in page.panels) % 24 == 0
    for panel in json.loads(to_json(page))["panels"]:
        assert panel["type"] == "row" or panel["datasource"]["uid"] == "${datasource}"


def test_every_metric_of_the_operator_is_looked_at_somewhere() -> None:
    looked_at = set().union(*(used(expression) for page in PAGES for expression in expressions(page)))
    looked_at |= set().union(*(used(alert.expression) for alert in alerts()))
    looked_at |= {variable.metric for page in PAGES for variable in page.variables}
    assert {metric.name for metric in METRICS} - looked_at == {
        "tuning_operator_trial_choice_info",
        "tuning_operator_trial_control_revision_applied",  # The trial's own is shown.
        "tuning_operator_job_hidden_trials",
        "tuning_operator_gpu_seconds_saved",
    }


@pytest.mark.usefixtures("prometheus_server")
def test_every_expression_is_promql(tmp_path: Path) -> None:
    asked = [expression for page in PAGES for expression in expressions(page)]
    rules = [
        {"record": f"checked:{number}", "expr": re.sub(r"\$__(rate_)?interval", "1m", expression)}
        for number, expression in enumerate(asked)
    ]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}, *rule_file()["groups"]]}))
    checked = subprocess.run(
        [binaries.binary("promtool"), "check", "rules", path], capture_output=True, text=True, timeout=60, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert f"{len(rules) + len(alerts())} rules found" in checked.stdout


def test_the_alerts_of_the_chart_are_the_code_and_each_has_its_runbook() -> None:
    assert yaml.safe_load((FILES / "alerts.yaml").read_text()) == rule_file()
    pages = {path.stem for path in (ROOT / "docs" / "runbooks").glob("*.md")}
    assert pages == {alert.name for alert in alerts()}
    for alert in alerts():
        assert used(alert.expression) <= KNOWN
        assert (ROOT / "docs" / "runbooks" / f"{alert.name}.md").read_text().startswith(f"# {alert.name}\n")


ONE = 'namespace="team", tuning_job="digits"'
SERIES: dict[str, dict[str, str]] = {
    # By alert: values every five minutes. It must be silent after 1 minute, fire after 16, be silent after 26.
    "TuningOperatorDown": {
        'tuning_operator_leader{instance="a"}': "1 0 0 0 1 1",
        'tuning_operator_leader{instance="b"}': "0x5",
    },
    "TuningScrapesFailing": {f"tuning_operator_job_unreadable_trials{{{ONE}}}": "0 2 2 2 0 0"},
    "TuningTrialStuck": {f"tuning_operator_job_stall_seconds{{{ONE}}}": "0 1700 1800 2200 0 0"},
    "TuningControlNotAcknowledged": {f"tuning_operator_job_control_wait_seconds{{{ONE}}}": "0 0 299 600 0 0"},
    "TuningTrialsDiverging": {
        f'tuning_operator_decisions_total{{{ONE}, rule="Divergence", verdict="Stop", enforced="true"}}': "0 2 2 2 2 2",
        f'tuning_operator_decisions_total{{{ONE}, rule="Percentile", verdict="Stop", enforced="true"}}': "9x5",
        f'tuning_operator_trials_ended{{{ONE}, reason="NonFinite"}}': "0 2 2 2 2 2",
        f'tuning_operator_trials_ended{{{ONE}, reason="Completed"}}': "0 0 1 1 9 9",
        f'tuning_operator_trials{{{ONE}, state="Running"}}': "2x5",
    },
    "TuningBudgetNearlyUsed": {
        f'tuning_operator_job_budget_used_ratio{{{ONE}, budget="duration"}}': "0 0.5 0.8 0.95 1 1",
        f'tuning_operator_job_budget_used_ratio{{{ONE}, budget="trials"}}': "1x5",
        f'tuning_operator_trials{{{ONE}, state="Running"}}': "2 2 2 2 0 0",
    },
}


@pytest.mark.usefixtures("prometheus_server")
@pytest.mark.parametrize("name", SERIES)
def test_an_alert_fires_and_clears(name: str, tmp_path: Path) -> None:
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(rule_file(Limits())))
    firing = f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) or vector(0)'
    test = {
        "interval": "5m",
        "input_series": [{"series": series, "values": values} for series, values in SERIES[name].items()],
        "promql_expr_test": [
            {"expr": firing, "eval_time": at, "exp_samples": [{"labels": "{}", "value": count}]}
            for at, count in (("1m", 0), ("16m", 1), ("26m", 0))
        ],
    }
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump({"rule_files": ["alerts.yaml"], "evaluation_interval": "1m", "tests": [test]}))
    ran = subprocess.run(
        [binaries.binary("promtool"), "test", "rules", path], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
