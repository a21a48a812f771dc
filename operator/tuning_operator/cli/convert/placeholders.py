"""Katib's ``${trialParameters.x}``, written as environment variables that Kubernetes itself expands.

Kubernetes expands ``$(NAME)`` in command, arguments and environment of the container that has the variable, and nowhere
else; a placeholder anywhere else is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from trial_protocol import names
from tuning_operator.cli.convert.report import Fields, Report
from tuning_operator.cli.convert.space import Space

_PLACEHOLDER: Final = re.compile(r"\$\{trialParameters\.([^}]+)\}")
_META: Final = re.compile(r"^\$\{trialSpec\.(\w+)(?:\[([^\]]+)\])?\}$")
NAMESPACE: Final = "TRIAL_NAMESPACE"
_NAMESPACE_ENTRY: Final = {"name": NAMESPACE, "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}


class Placeholders:
    """What each ``${trialParameters.x}`` becomes.

    Attributes:
        texts: By x.
    """

    def __init__(self, report: Report) -> None:
        self.texts: dict[str, str] = {}
        self._report = report
        self._needs_namespace = False

    def read(self, template: Fields, space: Space, labels: Mapping[str, Any], annotations: Mapping[str, Any]) -> None:
        """Take in ``trialParameters``; labels and annotations are those of the trial's Job."""
        for entry in template.entries("trialParameters"):
            name, reference = entry.text("name"), entry.text("reference")
            entry.take("description")
            entry.finish()
            text = self._meaning(reference, space, labels, annotations)
            if text is None:
                self._report.refuse(entry.at("reference"), f"{reference} is neither a parameter nor known of a trial")
            else:
                self.texts[name] = text
                self._report.converted(entry.path, text)

    def _meaning(
        self, reference: str, space: Space, labels: Mapping[str, Any], annotations: Mapping[str, Any]
    ) -> str | None:
        if reference in space.constants:
            return space.constants[reference]
        if reference in space.variables:
            return f"$({space.variables[reference]})"
        meta = _META.match(reference)
        match meta.groups() if meta else ("", None):
            case ("Name", None):
                return f"$({names.ENV_TRIAL})"
            case ("Namespace", None):
                self._needs_namespace = True
                return f"$({NAMESPACE})"
            case ("Kind", None):
                return "Job"
            case ("APIVersion", None):
                return "batch/v1"
            case ("Labels", key) if key in labels:
                return str(labels[key])
            case ("Annotations", key) if key in annotations:
                return str(annotations[key])
        return None

    def fill(self, template: dict[str, Any], container: dict[str, Any], path: str) -> None:
        """Replace all placeholders of a pod template; `container` is the one in it that trains."""
        for key in ("command", "args"):
            if isinstance(container.get(key), list):
                container[key] = [self._filled(str(text), f"{path}.{key}") for text in container[key]]
        for entry in container.get("env") or ():
            if isinstance(entry.get("value"), str):
                entry["value"] = self._filled(entry["value"], f"{path}.env[{entry.get('name')}]")
        if self._needs_namespace:
            container["env"] = [dict(_NAMESPACE_ENTRY), *(container.get("env") or ())]
        for place, text in _texts(template, ""):
            if _PLACEHOLDER.search(text):
                self._report.refuse(
                    f"template{place}",
                    f"{text}: Kubernetes expands variables in command, args and env of the training container only",
                )

    def _filled(self, text: str, path: str) -> str:
        def replace(found: re.Match[str]) -> str:
            name = found.group(1).strip()
            if name not in self.texts:
                self._report.refuse(path, f"{found.group(0)} is not among the trialParameters")
                return ""
            return self.texts[name]

        return _PLACEHOLDER.sub(replace, text)


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _texts(one, f"{path}.{key}")
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _texts(one, f"{path}[{index}]")
