"""Dashboards as Grafana's JSON, by Grafana's own typed builders."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus, stat, table, timeseries, xychart
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models import prometheus as prometheus_models
from grafana_foundation_sdk.models import xychart as xychart_models
from helm.dashboards.panel import Annotation, Dashboard, Look, Panel, Variable

_SOURCE: Final = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
_HEIGHTS: Final = {Look.NUMBER: 4, Look.LINES: 8, Look.TABLE: 8, Look.SCATTER: 8}


def to_json(page: Dashboard) -> str:
    """Return a dashboard as a file that Grafana imports."""
    builder = (
        builders.Dashboard(page.title)
        .uid(page.uid)
        .description(page.description)
        .tags(["tuning-operator"])
        .refresh("30s")
        .time("now-6h", "now")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .with_variable(builders.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .link(
            builders.DashboardLink("Tuning")
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags(["tuning-operator"])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
    )
    for variable in page.variables:
        builder.with_variable(_variable(variable))
    for annotation in page.annotations:
        builder.annotation(_annotation(annotation))
    for row in page.rows:
        builder.with_row(builders.Row(row.title))
        for panel in row.panels:
            builder.with_panel(_panel(panel))
    return json.dumps(builder.build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def _variable(variable: Variable) -> builders.QueryVariable:
    narrowed = ", ".join(f'{name}="${name}"' for name in variable.narrowed_by)
    query = f"label_values({variable.metric}{{{narrowed}}}, {variable.name})"
    builder = (
        builders.QueryVariable(variable.name)
        .label(variable.name.replace("_", " ").capitalize())
        .datasource(_SOURCE)
        .query(query)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
    )
    return builder.multi(True).include_all(True).all_value(".*") if variable.several else builder


def _annotation(annotation: Annotation) -> Any:
    return (
        builders.AnnotationQuery()
        .name(annotation.name)
        .datasource(_SOURCE)
        .enable(True)
        .icon_color(annotation.colour)
        .expr(annotation.expression)
    )


def _panel(panel: Panel) -> Any:
    builder = _MAKERS[panel.look](panel)
    builder.title(panel.title).description(panel.advice).datasource(_SOURCE).unit(panel.unit)
    builder.span(panel.width).height(_HEIGHTS[panel.look])
    for position, query in enumerate(panel.queries):
        target = prometheus.Dataquery().expr(query.expression).ref_id(chr(ord("A") + position))
        if query.legend:
            target.legend_format(query.legend)
        if panel.look in (Look.TABLE, Look.SCATTER):
            target.instant().format(prometheus_models.PromQueryFormat.TABLE)
        else:
            target.range()
        builder.with_target(target)
    return builder


def _lines(panel: Panel) -> timeseries.Panel:
    builder = timeseries.Panel().line_width(1).fill_opacity(5).show_points(common.VisibilityMode.AUTO)
    builder.legend(
        common_builders.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    if panel.logarithmic:
        scale = common_builders.ScaleDistributionConfig().type(common.ScaleDistribution.LOG).log(10)
        builder.scale_distribution(scale)
    return builder


def _number(_: Panel) -> stat.Panel:
    return (
        stat.Panel()
        .graph_mode(common.BigValueGraphMode.AREA)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
    )


def _table(_: Panel) -> table.Panel:
    return table.Panel().with_transformation(_transformation("labelsToFields"))


def _scatter(panel: Panel) -> xychart.Panel:
    joined = _transformation("joinByField", byField=panel.joined_by, mode="inner")
    values = _transformation("filterFieldsByName", include={"pattern": f"{panel.joined_by}|Value.*"})
    builder = xychart.Panel().with_transformation(joined).with_transformation(values)
    return builder.mapping(xychart_models.SeriesMapping.AUTO).series([])


def _transformation(name: str, **options: object) -> dashboard.DataTransformerConfig:
    return dashboard.DataTransformerConfig(id_val=name, options=options)


_MAKERS: Final[Mapping[Look, Callable[[Panel], Any]]] = {
    Look.LINES: _lines,
    Look.NUMBER: _number,
    Look.TABLE: _table,
    Look.SCATTER: _scatter,
}
