"""What must stay true of the repository itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in listed.stdout.splitlines()]


def test_the_folder_operator_does_not_shadow_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    found = subprocess.run(
        [sys.executable, "-c", "import operator; print(operator.__file__)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not found.stdout.startswith(str(ROOT))


def test_no_file_names_a_package_index() -> None:
    options = re.compile(
        r"--(extra-)?index-url\s+\S|--find-links|find-links\s*=|(?<!no-emit-)index-url\s*=|files\.pythonhosted"
    )
    named = [
        path.relative_to(ROOT)
        for path in tracked()
        if path.suffix in {".txt", ".toml", ".cfg", ".ini", ".sh", ".yaml"} or path.name in {"Makefile", "Dockerfile"}
        if path.is_file() and options.search(path.read_text())
    ]
    assert named == []


@pytest.mark.parametrize("module", ["tuning_operator", "trial_protocol", "tuning_trainer"])
def test_every_package_is_typed(module: str) -> None:
    homes = {"tuning_operator": "operator"}
    assert (ROOT / homes.get(module, "trainer") / module / "py.typed").exists()


def test_the_operator_side_never_needs_torch() -> None:
    program = (
        "import sys; import tuning_operator.api.crds, tuning_operator.cli.main; "
        "sys.exit('torch' in sys.modules or 'kopf' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_architecture_page_names_only_what_is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    for path in re.findall(r"`((?:trainer|operator)/[a-z_/]+(?:\.py)?)/?`", page):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"\]\(([^)#]+)\)", page):
        assert (ROOT / "docs" / path).exists(), path
