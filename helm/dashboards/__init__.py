"""Grafana dashboards as code: what `fleet`, `job`, `trial` and `operator` show, and how it is written and drawn."""
