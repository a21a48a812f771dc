"""`images/build.sh` asks whichever builder is there for the same images; a builder that records its words stands in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
RECORDS = """#!/bin/sh
[ "$2" != version ] || exit "${BUILDX:-0}"
printf "%s\\n" "$(basename "$0")" "$@" >> "$RECORD"
"""


def build(folder: Path, *targets: str, builders: tuple[str, ...], **variables: str) -> list[str]:
    """What the builder was told, a word a line; only `builders` are on the PATH, beside the system's own programs."""
    programs = folder / "bin"
    programs.mkdir()
    for name in builders:
        (programs / name).write_text(RECORDS)
        (programs / name).chmod(0o755)
    for name in ("basename", "bash", "dirname", "git", "sed", "sh"):
        found = next(Path(place, name) for place in os.defpath.split(":") if Path(place, name).exists())
        (programs / name).symlink_to(found)
    record = folder / "record"
    environment = {"PATH": str(programs), "RECORD": str(record), **variables}
    command = [str(REPOSITORY / "images/build.sh"), *targets]
    subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=30)
    return record.read_text().splitlines()


@pytest.mark.parametrize("builder", ["docker", "podman", "buildah"])
def test_both_targets_are_built_with_what_is_there(tmp_path: Path, builder: str) -> None:
    told = build(tmp_path, builders=(builder,), PREFIX="registry/", TAG="1", BASE="mine", PLATFORM="linux/arm64")
    assert told.count(builder) == 2
    for words in (
        ("--target", "operator", "--tag", "registry/tuning-operator:1"),
        ("--target", "trainer", "--tag", "registry/tuning-trainer:1"),
        ("--build-arg", "BASE=mine"),
        ("--platform", "linux/arm64"),
    ):
        assert any(tuple(told[at : at + len(words)]) == words for at in range(len(told))), words
    dates = {"docker": "SOURCE_DATE_EPOCH=315532800", "podman": "315532800", "buildah": "315532800"}
    assert dates[builder] in told


def test_docker_is_asked_first_and_a_named_builder_before_it(tmp_path: Path) -> None:
    (tmp_path / "any").mkdir()
    assert build(tmp_path / "any", "operator", builders=("buildah", "docker", "podman"))[:2] == ["docker", "buildx"]
    (tmp_path / "old").mkdir()
    assert build(tmp_path / "old", "operator", builders=("docker", "podman"), BUILDX="1")[0] == "podman"
    (tmp_path / "named").mkdir()
    told = build(tmp_path / "named", "operator", builders=("buildah", "docker"), BUILDER="buildah")
    assert told[0] == "buildah"


def test_certificates_are_a_secret_of_the_build(tmp_path: Path) -> None:
    told = build(tmp_path, "operator", builders=("buildah",), SSL_CERT_FILE="/certificates.pem")
    assert "id=certificates,src=/certificates.pem" in told
    assert "SSL_CERT_FILE=/var/cache/certificates.pem" in told


def test_a_bill_of_materials_is_written_to_dist(tmp_path: Path) -> None:
    told = build(tmp_path, "operator-sbom", builders=("podman",))
    assert told[-3:] == ["--output", "type=local,dest=dist", "."]
    assert "--tag" not in told


def test_without_a_builder_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        build(tmp_path, builders=())
    assert "docker with buildx, podman or buildah" in caught.value.stderr
