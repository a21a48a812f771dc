"""What the trainer's loop costs over a bare PyTorch loop of the same model, data order and evaluation.

The two train in this process by turns of ten steps, so that whatever else the machine does hits both alike; processor
time is compared, and wall time shown beside it. The bare loop is what one writes in a notebook: batch, forward, back,
step, the loss as a number, an evaluation now and then, the learning rate by the same schedule. The trainer's adds
gradient norm, checkpoints on disk, an open port, reporting and steering. Both must reach the same loss to the last bit,
or the comparison counts for nothing. Two bare loops compared in this way differed by 0.5 to 1.7 %, the first one being
the slower in all of six runs; so each loop goes first as often as the other, and a difference below that is not known
from one run.

    python benchmarks/trainer.py --repetitions 4
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import tuning_trainer
from trial_protocol.environment import TrialEnvironment
from tuning_trainer.checkpoint_stores import FolderStore
from tuning_trainer.client import Trial
from tuning_trainer.loop import Training
from tuning_trainer.optimizers import build_optimizer
from tuning_trainer.randomness import seed_everything
from tuning_trainer.schedules import Schedule
from tuning_trainer.settings import TrainingSettings
from tuning_trainer.tasks import TASKS

TARGET = 0.01
"""Overhead that the design allows."""
TURN = 10
"""Steps of one loop before the other one's turn."""


def bare(kind: str, settings: TrainingSettings, device: torch.device) -> Iterator[float]:
    """Train; after each turn yield the newest evaluation loss."""
    task = TASKS[kind].build(settings, device)
    seed_everything(settings.seed)
    model = task.model().to(device)
    optimizer = build_optimizer(model, settings)
    schedule = Schedule(shape=settings.schedule, warmup=settings.warmup, decay=settings.decay)
    losses, evaluation = [], float("nan")
    yield evaluation
    for step in range(settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * schedule.factor((step + 0.5) / settings.steps)
        inputs, targets = task.batch(step)
        loss = task.loss(model, inputs, targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if settings.clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        losses.append(loss.item())
        if (step + 1) % settings.eval_every == 0 or step + 1 == settings.steps:
            model.eval()
            with torch.inference_mode():
                evaluation = task.evaluate(model)["eval_loss"]
            model.train()
        if (step + 1) % TURN == 0 or step + 1 == settings.steps:
            yield evaluation


class Turns:
    """The trial that the trainer's loop sees: between its turns it lets the bare loop have one, and times it."""

    def __init__(self, trial: Trial, other: Iterator[float], *, other_first: bool) -> None:
        self._trial, self._other, self._other_first = trial, other, other_first
        self.evaluation = next(other)
        self._random = torch.get_rng_state()
        self.wall = self.processor = self.pause_wall = self.pause_processor = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)

    def poll(self, *, step: int) -> Any:
        """Hand over every few steps."""
        if step % TURN == 0 and (step or self._other_first):
            self.other_turn()
        return self._trial.poll(step=step)

    def other_turn(self) -> None:
        """Run one turn of the bare loop with its own random state."""
        pause_wall, pause_processor = time.perf_counter(), time.process_time()
        mine = torch.get_rng_state()
        torch.set_rng_state(self._random)
        wall, processor = time.perf_counter(), time.process_time()
        self.evaluation = next(self._other)
        self.wall += time.perf_counter() - wall
        self.processor += time.process_time() - processor
        self._random = torch.get_rng_state()
        torch.set_rng_state(mine)
        self.pause_wall += time.perf_counter() - pause_wall
        self.pause_processor += time.process_time() - pause_processor


def compare(kind: str, settings: TrainingSettings, device: torch.device, folder: Path, *, bare_first: bool) -> float:
    """Train both, print their seconds and return the ratio of their processor times."""
    task = TASKS[kind].build(settings, device)
    environment = TrialEnvironment(job="benchmark", trial="1", termination_path=str(folder / "result.json"))
    with contextlib.redirect_stdout(io.StringIO()):
        trial = tuning_trainer.start(variables=environment.variables(), rank=0)
    with trial:
        turns = Turns(trial, bare(kind, settings, device), other_first=bare_first)
        training = Training(task, settings, turns, device=device, store=FolderStore(folder / "checkpoints"))
        wall, processor = time.perf_counter(), time.process_time()
        ended = training.run()
        wall = time.perf_counter() - wall - turns.pause_wall
        processor = time.process_time() - processor - turns.pause_processor
        if not bare_first:
            turns.other_turn()
        trial.finish(ended.outcome, values=ended.values)
    if turns.evaluation != ended.values["eval_loss"]:
        raise SystemExit(f"The loops do not train the same: {turns.evaluation} and {ended.values['eval_loss']}.")
    ratio = processor / turns.processor
    print(
        f"bare {turns.processor:.3f} s ({turns.wall:.3f} wall)   trainer {processor:.3f} s ({wall:.3f} wall)"
        f"   ratio {ratio:.4f}",
        flush=True,
    )
    return ratio


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=sorted(TASKS), default="digits")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument(
        "--repetitions", type=int, default=4, help="pairs of runs, each loop first once; the median counts"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="exit with 1 if the target is missed")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    device = torch.device("cpu")
    settings = dataclasses.replace(TASKS[arguments.task].settings(), steps=arguments.steps)
    for _ in bare(arguments.task, dataclasses.replace(settings, steps=20), device):
        pass
    ratios = []
    for repetition in range(2 * arguments.repetitions):
        with tempfile.TemporaryDirectory() as folder:
            ratios.append(compare(arguments.task, settings, device, Path(folder), bare_first=repetition % 2 == 1))
    overhead = statistics.median(ratios) - 1.0
    verdict = "held" if overhead <= TARGET else "missed"
    print(f"overhead, median of {len(ratios)}: {overhead:+.2%}; target at most {TARGET:.0%}: {verdict}")
    return 1 if arguments.check and overhead > TARGET else 0


if __name__ == "__main__":
    sys.exit(main())
