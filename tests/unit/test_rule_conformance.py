"""What holds for every rule of either kind: settings, text and registration. What a kind judges is tested by kind."""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from typing import Any

import pytest
from pydantic import TypeAdapter

from tuning_operator.api.rules import ControlSettings, StoppingSettings
from tuning_operator.control.base import ControlRule
from tuning_operator.control.registry import CONTROL_RULES
from tuning_operator.schema import Mode
from tuning_operator.stopping.base import StoppingRule
from tuning_operator.stopping.registry import STOPPING_RULES

SECTIONS = ("Formula:", "Source:", "Inputs:", "Defaults:", "Failure modes:")
KINDS = ((StoppingRule, STOPPING_RULES, StoppingSettings), (ControlRule, CONTROL_RULES, ControlSettings))

every_rule = pytest.mark.parametrize(
    ("rule", "base", "union"),
    [pytest.param(rule, base, union, id=rule.name) for base, rules, union in KINDS for rule in rules],
)


@every_rule
def test_its_settings_survive_a_manifest(rule: Any, base: type, union: Any) -> None:
    manifest: TypeAdapter[Any] = TypeAdapter(union)
    for mode in Mode:
        settings = rule.Settings(mode=mode)
        written = settings.model_dump(mode="json", by_alias=True)
        assert written["rule"] == rule.name
        assert manifest.validate_python(written) == settings
        assert type(manifest.validate_python({"rule": rule.name})) is rule.Settings
        assert isinstance(rule(settings), rule)


@every_rule
def test_its_file_explains_it_in_order(rule: Any, base: type, union: Any) -> None:
    text = sys.modules[rule.__module__].__doc__ or ""
    places = [text.find(f"\n{section}\n") for section in SECTIONS]
    assert -1 not in places, dict(zip(SECTIONS, places, strict=True))
    assert places == sorted(places)
    assert text.startswith(f"{rule.name}: ")
    for name, field in rule.Settings.model_fields.items():
        if name not in {"rule", "mode"}:
            assert field.description, name
            assert f"{field.default:g}" in text, f"the default of {name} is not told"


@every_rule
def test_it_is_the_only_rule_of_its_file(rule: Any, base: type, union: Any) -> None:
    module = sys.modules[rule.__module__]
    found = [
        thing
        for thing in vars(module).values()
        if inspect.isclass(thing) and issubclass(thing, base) and thing.__module__ == module.__name__
    ]
    assert found == [rule]


@pytest.mark.parametrize(("base", "rules", "union"), KINDS, ids=lambda part: getattr(part, "__name__", ""))
def test_every_rule_is_registered_once(base: type, rules: Any, union: Any) -> None:
    assert max(Counter(rules).values()) == 1
    assert max(Counter(rule.name for rule in rules).values()) == 1
    ours = {rule for rule in base.__subclasses__() if rule.__module__.startswith("tuning_operator.")}
    assert ours == set(rules)
