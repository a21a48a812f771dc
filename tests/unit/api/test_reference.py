"""The page that describes every field."""

from __future__ import annotations

import re
from pathlib import Path

from tuning_operator.api.crds import KINDS
from tuning_operator.api.reference import render

PAGE = render()


def sections() -> set[str]:
    return set(re.findall(r"^### (\w+)$", PAGE, re.MULTILINE))


def test_every_field_of_every_object_has_a_row_and_a_meaning() -> None:
    for kind in KINDS:
        for name, definition in kind.model.model_json_schema(by_alias=True)["$defs"].items():
            if name == "ObjectMeta" or "properties" not in definition:
                continue
            section = PAGE.split(f"\n### {name}\n")[1].split("\n#")[0]
            for field in definition["properties"]:
                assert f"\n| `{field}` | " in section, f"{name}.{field}"


def test_every_link_leads_to_a_section() -> None:
    wanted = set(re.findall(r"\(#(\w+)\)", PAGE))
    assert wanted <= {name.lower() for name in sections()}
    assert {"objective", "parameter", "percentilesettings"} <= wanted


def test_a_row_says_type_bounds_default_and_meaning() -> None:
    assert "| `trials` | integer, ≥ 1, ≤ 100000 | `20` | Search trials in all. |" in PAGE
    assert "| `duration` | duration, such as `1h30m` or `500ms` |  | Wall-clock time of the whole job. |" in PAGE
    assert "- Float and Int need min and max.\n" in PAGE
    assert "- spec.objective cannot change once the job has started; make a new TuningJob.\n" in PAGE


def test_the_page_in_the_repository_is_this_one() -> None:
    assert (Path(__file__).parents[3] / "docs" / "api-reference.md").read_text() == PAGE


def test_no_field_goes_without_a_word() -> None:
    for line in PAGE.splitlines():
        if line.startswith("| `"):
            assert line.split(" | ")[-1].strip(" |"), line
