"""How many trials fit on this machine at once, and what each of them gets."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.errors import BackendError

_GPU = "nvidia.com/gpu"
_DETECTION_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Slot:
    """Room for one trial.

    Attributes:
        gpus: What the trial may use, in the words of ``CUDA_VISIBLE_DEVICES``.
    """

    number: int
    gpus: tuple[str, ...] = ()


def detect_gpus(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the GPUs of this machine as far as the user lets us see them; empty without a driver.

    They are asked for with ``nvidia-smi -L``, which needs neither torch nor a CUDA context.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(part.strip() for part in visible.split(",") if part.strip() not in ("", "-1", "NoDevFiles"))
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=_DETECTION_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(
        line.split("UUID: ")[1].rstrip(") ")
        for line in listed.stdout.splitlines()
        if line.startswith("GPU ") and "UUID: " in line
    )


def make_slots(spec: TuningJobSpec, *, gpus: Sequence[str]) -> list[Slot]:
    """Return the slots: ``budget.parallel`` of them, but never two trials on one GPU.

    A trial gets as many GPUs as its container's limits ask for, one if they do not say, and none on a machine without.

    Raises:
        BackendError: A trial wants more GPUs than there are.
    """
    wanted = _gpus_per_trial(spec)
    if wanted is not None and wanted > len(gpus):
        raise BackendError(
            f"spec.trial.template asks for {wanted} GPUs per trial ({_GPU}); this machine has {len(gpus)}"
        )
    each = wanted if wanted is not None else min(1, len(gpus))
    if each == 0:
        return [Slot(number) for number in range(spec.budget.parallel)]
    count = min(spec.budget.parallel, len(gpus) // each)
    return [Slot(number, tuple(gpus[number * each : (number + 1) * each])) for number in range(count)]


def threads_per_trial(slots: int) -> int:
    """Return the share of this machine's cores that one trial's numeric libraries should use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // slots)


def _gpus_per_trial(spec: TuningJobSpec) -> int | None:
    pod: Mapping[str, Any] = (spec.trial.template or {}).get("spec") or {}
    for container in (pod.get("containers") or ())[:1]:
        limits = (container.get("resources") or {}).get("limits") or {}
        if _GPU in limits:
            return int(limits[_GPU])
    return None
