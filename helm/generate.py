"""Write the generated parts of the chart: ``python -m helm.generate``, a part of ``make generate``.

From `helm/values.py` come the values, their schema and the table in the chart's README; from `crds/` the templates of
the CRDs; from the operator's own tables its rules, and the ports and labels that templates need; from
`helm/dashboards/` and `helm/alerts.py` what a monitoring system shows and says.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from helm.alerts import rule_file
from helm.dashboards.grafana import to_json
from helm.dashboards.pages import PAGES
from helm.values import Values
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tuning_operator.api.metadata import GROUP
from tuning_operator.backends.kubernetes import labels
from tuning_operator.backends.kubernetes.access import OWN_RIGHTS, RIGHTS, Right

HERE: Final = Path(__file__).parent
CHART: Final = HERE / "tuning-operator"
CRDS: Final = HERE.parent / "crds"
_WIDTH: Final = 110
_BEGIN, _END = "<!-- values: generated from helm/values.py by `make generate` -->", "<!-- end of values -->"
_PASSED_DOWN: Final = {"type": "object", "description": "What a chart that contains this one passes to all its charts."}


def main() -> int:
    """Write everything."""
    (CHART / "values.yaml").write_text(values_yaml())
    (CHART / "values.schema.json").write_text(json.dumps(values_schema(), indent=2) + "\n")
    readme = CHART / "README.md"
    readme.write_text(with_table(readme.read_text(), values_table()))
    (CHART / "templates" / "_code.tpl").write_text(code_templates())
    folder = CHART / "templates" / "crds"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for page in PAGES:
        (CHART / "files" / "dashboards" / f"{page.uid}.json").write_text(to_json(page))
    alerts = yaml.safe_dump(rule_file(), sort_keys=False, width=_WIDTH)
    (CHART / "files" / "alerts.yaml").write_text(
        f"# Generated from helm/alerts.py by `make generate`; do not edit.\n{alerts}"
    )
    for crd in sorted(CRDS.glob("*.yaml")):
        (folder / crd.name).write_text(crd_template(crd.read_text()))
    return 0


def values_yaml() -> str:
    """Return `values.yaml`: every default under its description."""
    return "# Generated from helm/values.py by `make generate`; do not edit.\n" + "".join(_lines(Values, 0))


def values_schema() -> dict[str, Any]:
    """Return the JSON schema of the values, in which nothing is allowed but what is listed."""
    schema = _untitled(Values.model_json_schema(by_alias=True))
    schema["properties"]["global"] = _PASSED_DOWN
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "tuning-operator", **schema}


def values_table() -> str:
    """Return the values as a table in Markdown."""
    rows = ["| value | default | meaning |", "| --- | --- | --- |"]
    for path, default, meaning in _leaves(Values, ""):
        rows.append(f"| `{path}` | `{json.dumps(default)}` | {meaning} |")
    return "\n".join(rows) + "\n"


def with_table(page: str, table: str) -> str:
    """Return a page with the table between its two marks."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{table}{_END}{after}"


def crd_template(crd: str) -> str:
    """Return one CRD as a template: installed if wanted, upgraded with the chart, never deleted by it."""
    _, _, body = crd.partition("\n")
    head, _, tail = _literal(body).partition("metadata:\n")
    return (
        "{{- /* Generated from crds/ by `make generate`; do not edit. */}}\n"
        "{{- if .Values.crds.install }}\n"
        f"{head}metadata:\n"
        "  annotations:\n"
        "    helm.sh/resource-policy: keep\n"
        "    {{- with .Values.crds.annotations }}\n"
        "    {{- toYaml . | nindent 4 }}\n"
        "    {{- end }}\n"
        "  labels:\n"
        '    {{- include "tuning-operator.labels" . | nindent 4 }}\n'
        f"{tail}"
        "{{- end }}\n"
    )


def code_templates() -> str:
    """Return the named templates that say in the chart what the operator's code says."""
    selector = labels.job_labels("")
    of_trials = "\n".join(
        f"{name}: {selector[name]}" for name in ("app.kubernetes.io/name", "app.kubernetes.io/managed-by")
    )
    return "\n".join(
        (
            "{{- /* Generated from the operator's code by `make generate`; do not edit. */}}\n",
            _define("rules", _rules(RIGHTS)),
            _define("ownRules", _rules(OWN_RIGHTS)),
            _define("trialLabels", of_trials),
            _define("trialPort", str(labels.PORT)),
            _define("trialPortName", labels.PORT_NAME),
            _define("group", GROUP),
        )
    )


def _define(name: str, text: str) -> str:
    return f'{{{{- define "tuning-operator.{name}" -}}}}\n{text}\n{{{{- end }}}}\n'


def _rules(rights: Sequence[Right]) -> str:
    written = [
        f"# {right.why}\n"
        f"- apiGroups: {json.dumps([right.group])}\n"
        f"  resources: {json.dumps([right.resource])}\n"
        f"  verbs: {json.dumps(list(right.verbs))}"
        for right in rights
    ]
    return "\n".join(written)


def _literal(text: str) -> str:
    """Return text that a template renders as it is."""
    return text.replace("{{", '{{ "{{" }}')


def _lines(model: type[BaseModel], depth: int) -> Iterator[str]:
    indent = "  " * depth
    for name, field in model.model_fields.items():
        if depth == 0:
            yield "\n"
        for line in textwrap.wrap(" ".join(_meaning(field).split()), _WIDTH - len(indent)):
            yield f"{indent}# {line}\n"
        key, part = field.alias or name, _part(field)
        if part is not None:
            yield f"{indent}{key}:\n"
            yield from _lines(part, depth + 1)
        else:
            yield f"{indent}{_yaml(key, field.default, indent)}"


def _yaml(key: str, value: Any, indent: str) -> str:
    if value in ("", [], {}):
        text = f"{key}: {json.dumps(value)}\n"
    else:
        text = yaml.safe_dump({key: value}, default_flow_style=False, sort_keys=False, width=_WIDTH)
    return textwrap.indent(text, indent).removeprefix(indent)


def _leaves(model: type[BaseModel], above: str) -> Iterator[tuple[str, Any, str]]:
    for name, field in model.model_fields.items():
        path, part = f"{above}{field.alias or name}", _part(field)
        if part is None:
            yield path, field.default, " ".join(_meaning(field).split()).replace("|", "\\|")
        else:
            yield from _leaves(part, f"{path}.")


def _part(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _meaning(field: FieldInfo) -> str:
    part = _part(field)
    return field.description or (part.__doc__ if part is not None else None) or ""


def _untitled(schema: Any) -> Any:
    """Drop titles, which repeat the names, and put descriptions on one line."""
    if isinstance(schema, list):
        return [_untitled(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {}
    for key, value in schema.items():
        if key == "title" and isinstance(value, str):
            continue
        if key == "default" and "$ref" in schema:
            continue
        out[key] = " ".join(value.split()) if key == "description" and isinstance(value, str) else _untitled(value)
    return out


if __name__ == "__main__":
    raise SystemExit(main())
