"""Typed settings of a training run, read from a trial's parameters or from the command line.

One dataclass says everything about a setting: its type, default, bounds and help. Both doors lead through `parse`, so
a mistake gets the same sentence in a pod's termination message and on a laptop.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from trial_protocol.errors import ConfigurationError

OPTIMIZERS = ("sgd", "adam", "adamw", "nadam", "radam", "rmsprop", "adagrad")
SCHEDULES = ("constant", "cosine", "linear", "wsd")


def option(
    default: Any,
    help: str,  # noqa: A002
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Sequence[str] = (),
) -> Any:
    """Return a dataclass field with the bounds (`above` and `below` exclude their own value) that `parse` checks."""
    bounds = {"minimum": minimum, "maximum": maximum, "above": above, "below": below, "choices": tuple(choices)}
    return dataclasses.field(default=default, metadata={"help": help, **bounds})


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What every task shares. Steps are optimizer steps; fractions are of the whole training."""

    steps: int = option(400, "length of the training in optimizer steps", minimum=1)
    batch_size: int = option(64, "samples per optimizer step, over all ranks", minimum=1)
    optimizer: str = option("adamw", "which optimizer", choices=OPTIMIZERS)
    lr: float = option(1e-3, "base learning rate", above=0.0)
    momentum: float = option(0.9, "momentum of sgd (Nesterov) and rmsprop", minimum=0.0, below=1.0)
    beta1: float = option(0.9, "decay of the first moment of the adam family", minimum=0.0, below=1.0)
    beta2: float = option(0.99, "decay of the second moment of the adam family", minimum=0.0, below=1.0)
    weight_decay: float = option(0.0, "weight decay of matrices", minimum=0.0)
    schedule: str = option("wsd", "shape of the learning rate over the training", choices=SCHEDULES)
    warmup: float = option(0.05, "fraction of linear warm-up", minimum=0.0, below=1.0)
    decay: float = option(0.2, "fraction that schedule wsd spends on its final decay", above=0.0, maximum=1.0)
    floor: float = option(0.0, "factor of the learning rate at the end of a decay", minimum=0.0, maximum=1.0)
    clip: float = option(0.0, "largest gradient norm; 0 clips nothing", minimum=0.0)
    eval_every: int = option(20, "steps between evaluations", minimum=1)
    checkpoint_every: int = option(
        0,
        "steps between checkpoints; 0 writes them at evaluations, at most 0.2 %% of the time",
        minimum=0,
    )
    nonfinite_seconds: float = option(
        20.0, "how long to wait for a restore once the weights are not finite", minimum=0.0
    )
    seed: int = option(0, "seed of the weights, the order of the data and dropout", minimum=0)
    device: str = option("auto", "where to train", choices=("auto", "cpu", "cuda"))
    precision: str = option("auto", "auto is bfloat16 where the GPU has it", choices=("auto", "float32", "bfloat16"))
    threads: int = option(0, "threads on the CPU; 0 leaves it to OMP_NUM_THREADS", minimum=0)

    def check(self) -> None:
        """Raise ConfigurationError for a combination of settings that cannot work."""


Settings = TypeVar("Settings", bound=TrainingSettings)

#: Settings that may differ between a checkpoint and the run that continues from it.
RESUMABLE = frozenset({"eval_every", "checkpoint_every", "nonfinite_seconds", "device", "threads"})


def parse(kind: type[Settings], parameters: Mapping[str, object]) -> Settings:
    """Return the settings that `parameters` describe, defaults for the rest.

    Raises:
        ConfigurationError: A name is unknown (the nearest one is suggested), or a value cannot work.
    """
    known = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for name, value in parameters.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(sorted(known))}."
            raise ConfigurationError(f"There is no parameter {name!r}; {hint}")
        values[name] = _value(name, value, hints[name], known[name].metadata)
    settings = kind(**values)
    settings.check()
    return settings


def _value(name: str, value: object, kind: type, metadata: Mapping[str, Any]) -> object:
    converted = _convert(name, value, kind)
    if isinstance(converted, str):
        choices = metadata["choices"]
        if choices and converted not in choices:
            near = difflib.get_close_matches(converted, choices, n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(f"{name} must be one of {', '.join(choices)}; it is {converted!r}.{hint}")
    elif isinstance(converted, int | float):
        _check_bounds(name, converted, metadata)
    return converted


def _convert(name: str, value: object, kind: type) -> object:
    words = {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}
    refusal = ConfigurationError(f"{name} must be {words[kind]}; it is {value!r}.")
    if kind is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() not in ("true", "false"):
            raise refusal
        return str(value).lower() == "true"
    if kind is str:
        if not isinstance(value, str):
            raise refusal
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise refusal
    try:
        number = float(value)
    except ValueError:
        raise refusal from None
    if not math.isfinite(number) or (kind is int and number != int(number)):
        raise refusal
    return int(number) if kind is int else number


def _check_bounds(name: str, value: float, metadata: Mapping[str, Any]) -> None:
    minimum, maximum, above, below = (metadata[key] for key in ("minimum", "maximum", "above", "below"))
    for broken, words in (
        (above is not None and value <= above, f"greater than {above:g}" if above is not None else ""),
        (minimum is not None and value < minimum, f"at least {minimum:g}" if minimum is not None else ""),
        (below is not None and value >= below, f"less than {below:g}" if below is not None else ""),
        (maximum is not None and value > maximum, f"at most {maximum:g}" if maximum is not None else ""),
    ):
        if broken:
            raise ConfigurationError(f"{name} must be {words}; it is {value:g}.")


def differences(mine: TrainingSettings, saved: Mapping[str, object]) -> list[str]:
    """Name the settings that differ from those of a checkpoint in a way that forbids continuing from it."""
    current = dataclasses.asdict(mine)
    return sorted(
        name for name in current.keys() | saved.keys() if name not in RESUMABLE and current.get(name) != saved.get(name)
    )
