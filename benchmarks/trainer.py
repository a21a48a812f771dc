"""What the trainer's loop costs over a bare PyTorch loop of the same model, data order and evaluation.

Both train in this process, alternating, so that whatever else the machine does hits both; the processor time of the
process is compared, because it is what the loop costs on a busy machine, and wall time is shown beside it. The bare
loop is what one writes in a notebook: batch, forward, backward, step, the loss as a number, an evaluation now and then,
the learning rate by the same schedule. The trainer's adds gradient norm, checkpoints on disk, an open port, reporting
and steering. Both must reach the same loss to the last bit, or the comparison counts for nothing.

    python benchmarks/trainer.py --repetitions 11
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
from pathlib import Path
from typing import NamedTuple

import torch

import tuning_trainer
from trial_protocol.environment import TrialEnvironment
from tuning_trainer.loop import Training
from tuning_trainer.optimizers import build_optimizer
from tuning_trainer.randomness import seed_everything
from tuning_trainer.schedules import Schedule
from tuning_trainer.settings import TrainingSettings
from tuning_trainer.tasks import TASKS

TARGET = 0.01
"""Overhead that the design allows."""


class Run(NamedTuple):
    """Seconds by the clock on the wall, seconds of the processor, and the last evaluation loss."""

    wall: float
    processor: float
    loss: float


def bare(kind: str, settings: TrainingSettings, device: torch.device) -> Run:
    """Return wall and processor seconds of the bare loop, and its last evaluation loss."""
    task = TASKS[kind].build(settings, device)
    seed_everything(settings.seed)
    model = task.model().to(device)
    optimizer = build_optimizer(model, settings)
    schedule = Schedule(shape=settings.schedule, warmup=settings.warmup, decay=settings.decay)
    losses, evaluations = [], []
    wall, processor = time.perf_counter(), time.process_time()
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
                evaluations.append(task.evaluate(model)["eval_loss"])
            model.train()
    return Run(time.perf_counter() - wall, time.process_time() - processor, evaluations[-1])


def ours(kind: str, settings: TrainingSettings, device: torch.device, folder: Path) -> Run:
    """Return the same of the trainer's loop, as a trial of a job."""
    task = TASKS[kind].build(settings, device)
    environment = TrialEnvironment(job="benchmark", trial="1", termination_path=str(folder / "result.json"))
    with (
        contextlib.redirect_stdout(io.StringIO()),
        tuning_trainer.start(variables=environment.variables(), rank=0) as trial,
    ):
        training = Training(task, settings, trial, device=device, directory=folder / "checkpoints")
        wall, processor = time.perf_counter(), time.process_time()
        ended = training.run()
        run = Run(time.perf_counter() - wall, time.process_time() - processor, ended.values["eval_loss"])
        trial.finish(ended.outcome, values=ended.values)
    return run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=sorted(TASKS), default="digits")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repetitions", type=int, default=11, help="pairs of runs; the median of the ratios counts")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="exit with 1 if the target is missed")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    device = torch.device("cpu")
    settings = dataclasses.replace(TASKS[arguments.task].settings(), steps=arguments.steps)
    bare(arguments.task, dataclasses.replace(settings, steps=20), device)
    ratios = []
    for repetition in range(arguments.repetitions):
        with tempfile.TemporaryDirectory() as folder:
            if repetition % 2:
                trainer = ours(arguments.task, settings, device, Path(folder))
                plain = bare(arguments.task, settings, device)
            else:
                plain = bare(arguments.task, settings, device)
                trainer = ours(arguments.task, settings, device, Path(folder))
        if plain.loss != trainer.loss:
            print(f"The loops do not train the same: {plain.loss} and {trainer.loss}.", file=sys.stderr)
            return 2
        ratios.append(trainer.processor / plain.processor)
        print(
            f"bare {plain.processor:.3f} s ({plain.wall:.3f} wall)   trainer {trainer.processor:.3f} s"
            f" ({trainer.wall:.3f} wall)   ratio {ratios[-1]:.4f}"
        )
    overhead = statistics.median(ratios) - 1.0
    verdict = "held" if overhead <= TARGET else "missed"
    print(f"overhead, median of {len(ratios)}: {overhead:+.2%}; target at most {TARGET:.0%}: {verdict}")
    return 1 if arguments.check and overhead > TARGET else 0


if __name__ == "__main__":
    sys.exit(main())
