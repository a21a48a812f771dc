"""Train one of the tasks: as a trial, or by hand.

    python -m tuning_trainer digits --lr 0.01 --steps 400
    python -m tuning_trainer --list

Inside a tuning job the trial's parameters, seed, length and checkpoint folder win over the command line.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import math
import sys
import traceback
from collections.abc import Sequence
from types import MappingProxyType
from typing import NoReturn

import torch

import tuning_trainer
from trial_protocol import names
from trial_protocol.errors import ConfigurationError, ProtocolError
from trial_protocol.result import Outcome
from tuning_trainer.checkpoint_stores import store_of
from tuning_trainer.client import Trial
from tuning_trainer.device import choose_device, set_threads
from tuning_trainer.loop import Ended, Training
from tuning_trainer.ranks import Ranks, current_ranks
from tuning_trainer.settings import TrainingSettings, parse
from tuning_trainer.startup import defer_compiler
from tuning_trainer.tasks import TASKS, Task, TaskKind

EXIT_INTERRUPTED = 143
"""Ended by SIGTERM, as a shell reports it; not 0, so that a Job does not count an interrupted pod as done."""

_EXIT_CODES = MappingProxyType(
    {
        Outcome.COMPLETED: 0,
        Outcome.INTERRUPTED: EXIT_INTERRUPTED,
        Outcome.CONFIGURATION_ERROR: names.EXIT_CONFIGURATION_ERROR,
    }
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one training and return its exit code."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    if parsed.list or parsed.task is None:
        print("\n".join(f"{name:8} {kind.summary}" for name, kind in TASKS.items()))  # noqa: T201
        return 0
    ranks = current_ranks()
    try:
        trial = tuning_trainer.start(rank=ranks.rank)
    except ProtocolError as error:
        print(f"{error}", file=sys.stderr)  # noqa: T201
        return names.EXIT_CONFIGURATION_ERROR
    with trial:
        ended = _train(TASKS[parsed.task], parsed, trial, ranks)
        if ended.message:
            print(ended.message, file=sys.stderr)  # noqa: T201
        trial.finish(ended.outcome, values=ended.values, checkpoint=ended.checkpoint, message=ended.message)
    return _EXIT_CODES.get(ended.outcome, 1)


def _train(kind: TaskKind, parsed: argparse.Namespace, trial: Trial, ranks: Ranks) -> Ended:
    """Train; whatever goes wrong becomes an outcome with one sentence."""
    try:
        own = {"seed": trial.seed} if trial.active else {}
        settings = parse(kind.settings, {**_given(kind, parsed), **own, **trial.parameters})
        store = store_of(trial.checkpoint_uri or parsed.checkpoint)
        if not ranks.several:
            defer_compiler()
        set_threads(settings.threads)
        device = choose_device(settings.device, local_rank=ranks.local_rank)
        ranks.join(device)
        task = kind.build(settings, device, rank=ranks.rank, world_size=ranks.world_size)
        settings = dataclasses.replace(settings, steps=_steps(settings, task, trial))
        show = functools.partial(_show, rank=ranks.rank if ranks.several else None)
        return Training(task, settings, trial, device=device, store=store, ranks=ranks, show=show).run()
    except ConfigurationError as error:
        return Ended(outcome=Outcome.CONFIGURATION_ERROR, step=0, values={}, message=str(error))
    except torch.OutOfMemoryError as error:
        message = f"Out of GPU memory; a smaller batch_size or model may fit. {error}"
        return Ended(outcome=Outcome.OUT_OF_MEMORY, step=0, values={}, message=message)
    except Exception as error:
        traceback.print_exc()
        return Ended(outcome=Outcome.FAILED, step=0, values={}, message=f"{type(error).__name__}: {error}")
    finally:
        ranks.leave()


def _given(kind: TaskKind, parsed: argparse.Namespace) -> dict[str, object]:
    """Return the settings that the command line names."""
    return {
        field.name: getattr(parsed, field.name) for field in dataclasses.fields(kind.settings) if field.name in parsed
    }


def _steps(settings: TrainingSettings, task: Task, trial: Trial) -> int:
    """Translate the length of the trial's schedule into optimizer steps.

    Raises:
        ConfigurationError: The axis cannot be known in advance (seconds), or is not one that this trainer counts.
    """
    if trial.total is None:
        return settings.steps
    per_step = {
        names.METRIC_STEP: 1.0,
        names.METRIC_SAMPLES: float(settings.batch_size),
        names.METRIC_TOKENS: float(settings.batch_size * task.tokens_per_sample),
        names.METRIC_EPOCHS: settings.batch_size / task.training_samples,
    }
    if trial.axis not in per_step:
        raise ConfigurationError(
            f"This trainer plans by {', '.join(per_step)}; the axis {trial.axis!r} is none of them."
        )
    return max(1, math.ceil(trial.total / per_step[trial.axis]))


def _show(line: str, *, rank: int | None = None) -> None:
    print(line if rank is None else f"rank {rank}: {line}", flush=True)  # noqa: T201


class _Parser(argparse.ArgumentParser):
    """Ends with the exit code that says "do not retry"."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(names.EXIT_CONFIGURATION_ERROR, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m tuning_trainer",
        description="Train one of the tasks: as a trial of a tuning job, or by hand.",
        epilog="'python -m tuning_trainer TASK --help' lists the settings of a task.",
    )
    parser.add_argument("--list", action="store_true", help="list the tasks")
    tasks = parser.add_subparsers(dest="task", metavar="TASK")
    for name, kind in TASKS.items():
        task = tasks.add_parser(name, help=kind.summary, description=kind.summary)
        task.add_argument(
            "--checkpoint", default="", metavar="FOLDER", help="write checkpoints there and continue from it"
        )
        for field in dataclasses.fields(kind.settings):
            choices = field.metadata["choices"]
            task.add_argument(
                "--" + field.name.replace("_", "-"),
                dest=field.name,
                metavar="|".join(choices) if choices else str(field.type).upper(),
                help=f"{field.metadata['help']} (default: {field.default})",
                default=argparse.SUPPRESS,
            )
    return parser


if __name__ == "__main__":
    sys.exit(main())
