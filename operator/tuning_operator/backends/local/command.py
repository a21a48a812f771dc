"""What is started as a local trial: command, environment and folder, from the manifest.

A job that runs on a cluster runs here too: without `spec.trial.command`, the command, arguments and environment of its
first container are used, with ``$(VAR)`` expanded as Kubernetes does it.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trial_protocol import names
from tuning_operator.api.tuning_job import TrialTemplate
from tuning_operator.errors import BackendError

_REFERENCE: Final = re.compile(r"\$(?:\$|\(([-A-Za-z0-9_.]+)\))")
_THREADS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_PORT_REFERENCE: Final = f"$({names.ENV_PORT})"


@dataclass(frozen=True, kw_only=True)
class LocalCommand:
    """A command with references like ``$(TUNING_PARAM_LR)`` still in it.

    Attributes:
        environment: The user's own additions, which may refer to ours and to those before them.
        field: Where in the manifest it was said.
    """

    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    directory: str | None = None
    field: str = "spec.trial.command"

    @property
    def wants_port(self) -> bool:
        """Whether the port must be known before the start, because the command passes it on."""
        texts = (*self.arguments, *(value for _, value in self.environment))
        return any(_PORT_REFERENCE in text for text in texts)


def local_command(template: TrialTemplate) -> LocalCommand:
    """Return what a trial runs here.

    Raises:
        BackendError: Nothing says what to run, or it cannot run without a cluster; the text names the field.
    """
    if template.nodes > 1:
        raise BackendError(
            f"spec.trial.nodes is {template.nodes}; on one machine a trial is one process: set it to 1, or let the "
            "command start its own ranks"
        )
    pod: Mapping[str, Any] = (template.template or {}).get("spec") or {}
    containers: Sequence[Mapping[str, Any]] = pod.get("containers") or ()
    container: Mapping[str, Any] = containers[0] if containers else {}
    place = "spec.trial.template.spec.containers[0]"
    environment = tuple(_variable(entry, f"{place}.env") for entry in container.get("env") or ())
    directory = container.get("workingDir")
    if directory is not None and not Path(directory).is_dir():
        directory = None
    if template.command is not None:
        return LocalCommand(arguments=template.command, environment=environment, directory=directory)
    arguments = (*(container.get("command") or ()), *(container.get("args") or ()))
    if not container.get("command"):
        raise BackendError(
            f"nothing says what a trial runs here: set spec.trial.command, or {place}.command; "
            "an image's own entry point is not known on this machine"
        )
    return LocalCommand(
        arguments=tuple(map(str, arguments)),
        environment=environment,
        directory=directory,
        field=f"{place}.command",
    )


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)``; an unknown name stays as it is, and ``$$`` is a plain ``$``."""

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        return "$" if name is None else variables.get(name, match.group(0))

    return _REFERENCE.sub(replace, text)


def base_environment(own: Mapping[str, str], *, threads: int) -> dict[str, str]:
    """Return the user's environment for trials: as it is, with a share of the cores and our Python found first.

    Args:
        own: The environment of this process.
        threads: For numeric libraries, unless the user has said how many.
    """
    environment = dict(own)
    for name in _THREADS:
        environment.setdefault(name, str(threads))
    environment.setdefault("PYTHONUNBUFFERED", "1")
    if sys.prefix != sys.base_prefix:
        path = environment.get("PATH", os.defpath)
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{path}"
    return environment


def render(
    command: LocalCommand, *, base: Mapping[str, str], ours: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Return arguments and environment of one start."""
    environment = {**base, **ours}
    for name, value in command.environment:
        environment[name] = expand(value, environment)
    return [expand(argument, environment) for argument in command.arguments], environment


def check_command(command: LocalCommand, base: Mapping[str, str]) -> None:
    """Find out before the first trial whether the program is there at all.

    Raises:
        BackendError: It is not.
    """
    program = command.arguments[0]
    if "$(" in program or ("/" in program and command.directory):
        return
    if shutil.which(program, path=base.get("PATH")) is None:
        what = "no such program" if not Path(program).exists() else "it is not an executable file"
        raise BackendError(f"{command.field}: {program!r} cannot be run here: {what}")


def _variable(entry: Mapping[str, Any], place: str) -> tuple[str, str]:
    name = str(entry.get("name", ""))
    if "valueFrom" in entry:
        if name in os.environ:
            return name, os.environ[name]
        raise BackendError(
            f"{place}[{name}].valueFrom needs a cluster; to run here, set {name} in your own environment"
        )
    return name, str(entry.get("value", ""))
