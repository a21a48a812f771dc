"""The documentation: links lead somewhere, and what is a manifest or a program is a right one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tuning_operator.api.tuning_job import TrialTemplate
from tuning_operator.search.check import load_job

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "helm").rglob("*.md")])
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return what a heading is called in a link, as code hosts do."""
    titles = _HEADING.findall(page.read_text())
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = _BLOCK.sub("", page.read_text())
    for link in _LINK.findall(text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_manifest_is_right(page: Path) -> None:
    for language, text in _BLOCK.findall(page.read_text()):
        if language != "yaml":
            continue
        found = yaml.safe_load(text)
        if isinstance(found, dict) and found.get("kind") == "TuningJob":
            assert load_job(text, source=page.name).metadata.name
        elif isinstance(found, dict) and list(found) == ["trial"]:
            TrialTemplate.model_validate(found["trial"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_program_is_python(page: Path) -> None:
    for language, text in _BLOCK.findall(page.read_text()):
        if language == "python":
            compile(text.replace(", ...)", ")").replace("(..., ", "("), str(page), "exec")


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"]({page.name})" in index, page.name
