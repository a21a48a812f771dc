"""What is started as a local trial, from any manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.local.jobs import manifest

from tuning_operator.api.parse import parse_manifest
from tuning_operator.api.tuning_job import TrialTemplate
from tuning_operator.backends.local.command import (
    LocalCommand,
    base_environment,
    check_command,
    expand,
    local_command,
    render,
)
from tuning_operator.backends.local.slots import Slot, detect_gpus, make_slots, threads_per_trial
from tuning_operator.errors import BackendError


def template(**container: Any) -> TrialTemplate:
    return TrialTemplate(template={"spec": {"containers": [{"name": "train", **container}]}})


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("--lr=$(LR)", "--lr=0.1"),
        ("$(LR)$(LR)", "0.10.1"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$$(LR)", "$(LR)"),
        ("$$$(LR)", "$0.1"),
        ("$LR ${LR} $(", "$LR ${LR} $("),
        ("$(NESTED)", "$(LR)"),
    ],
)
def test_references_are_expanded_as_kubernetes_does(text: str, expanded: str) -> None:
    assert expand(text, {"LR": "0.1", "NESTED": "$(LR)"}) == expanded


def test_a_container_says_what_to_run() -> None:
    command = local_command(
        template(
            command=["python", "train.py"],
            args=["--lr", "$(TUNING_PARAM_LR)"],
            env=[{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(TUNING_TRIAL)"}],
        )
    )
    arguments, environment = render(
        command, base={"A": "0", "PATH": "/bin"}, ours={"TUNING_PARAM_LR": "0.1", "TUNING_TRIAL": "t"}
    )
    assert arguments == ["python", "train.py", "--lr", "0.1"]
    assert (environment["A"], environment["B"], environment["PATH"]) == ("1", "1t", "/bin")
    assert not command.wants_port
    assert local_command(template(command=["serve", "--port=$(TUNING_PORT)"])).wants_port
    assert local_command(template(command=["x"], env=[{"name": "PORT", "value": "$(TUNING_PORT)"}])).wants_port


def test_a_command_of_its_own_goes_first() -> None:
    both = template(command=["in-the-image"]).model_copy(update={"command": ("here",)})
    assert local_command(both).arguments == ("here",)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (TrialTemplate(), "nothing says what a trial runs here: set spec.trial.command"),
        (template(args=["--lr"]), "an image's own entry point is not known"),
        (TrialTemplate(command=("x",), nodes=2), r"spec\.trial\.nodes is 2"),
        (
            template(command=["x"], env=[{"name": "SECRET_OF_NOBODY", "valueFrom": {"secretKeyRef": {}}}]),
            r"env\[SECRET_OF_NOBODY\]\.valueFrom needs a cluster; to run here, set SECRET_OF_NOBODY",
        ),
    ],
)
def test_what_cannot_run_here_names_the_field(wrong: TrialTemplate, sentence: str) -> None:
    with pytest.raises(BackendError, match=sentence):
        local_command(wrong)


def test_a_value_of_the_cluster_may_come_from_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "mine")
    entry = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    assert local_command(template(command=["x"], env=[entry])).environment == (("TOKEN", "mine"),)


def test_the_program_is_looked_for_where_the_trial_will(tmp_path: Path) -> None:
    program = tmp_path / "train"
    program.write_text("#!/bin/sh\n")
    with pytest.raises(BackendError, match="'train' cannot be run here: no such program"):
        check_command(LocalCommand(arguments=("train",)), {"PATH": str(tmp_path)})
    with pytest.raises(BackendError, match="it is not an executable file"):
        check_command(LocalCommand(arguments=(str(program),)), {})
    program.chmod(0o755)
    check_command(LocalCommand(arguments=("train",)), {"PATH": str(tmp_path)})
    check_command(LocalCommand(arguments=("$(PROGRAM)",)), {})


def test_the_users_own_threads_stay() -> None:
    environment = base_environment({"OMP_NUM_THREADS": "9", "HOME": "/h"}, threads=2)
    assert (environment["OMP_NUM_THREADS"], environment["MKL_NUM_THREADS"]) == ("9", "2")
    assert environment["HOME"] == "/h"
    assert threads_per_trial(10_000) == 1


def test_gpus_that_the_user_lets_us_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert detect_gpus({"CUDA_VISIBLE_DEVICES": "0, 3"}) == ("0", "3")
    assert detect_gpus({"CUDA_VISIBLE_DEVICES": ""}) == ()
    assert detect_gpus({"CUDA_VISIBLE_DEVICES": "-1"}) == ()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert detect_gpus({}) == ()
    listing = "".join(
        f"{line}\n"
        for line in (
            "GPU 0: H200 (UUID: GPU-1b2c)",
            "  MIG 1g.18gb Device 0: (UUID: MIG-77)",
            "GPU 1: H200 (UUID: GPU-9d)",
        )
    )
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf '{listing}'\n")
    tool.chmod(0o755)
    assert detect_gpus({}) == ("GPU-1b2c", "GPU-9d")
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert detect_gpus({}) == ()


@pytest.mark.parametrize(
    ("parallel", "limit", "gpus", "expected"),
    [
        (3, None, (), [(), (), ()]),
        (3, 0, ("a", "b"), [(), (), ()]),
        (3, None, ("a", "b"), [("a",), ("b",)]),
        (1, None, ("a", "b"), [("a",)]),
        (3, 2, ("a", "b", "c", "d", "e"), [("a", "b"), ("c", "d")]),
    ],
)
def test_slots(parallel: int, limit: int | None, gpus: tuple[str, ...], expected: list[tuple[str, ...]]) -> None:
    limits = {} if limit is None else {"nvidia.com/gpu": str(limit)}
    spec = parse_manifest(
        manifest(
            ["x"],
            budget={"parallel": parallel},
            trial={"template": {"spec": {"containers": [{"resources": {"limits": limits}}]}}},
        )
    ).spec
    assert make_slots(spec, gpus=gpus) == [Slot(number, one) for number, one in enumerate(expected)]
