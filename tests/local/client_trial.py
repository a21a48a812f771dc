"""A trial with the project's own client, and no torch: its loss follows the learning rate that is in force.

    python client_trial.py [steps=60] [pause=0.01]

With a learning rate above 1 the loss explodes. What was applied, and when, goes into `applied` in the checkpoint
folder.
"""

import sys
import time
from pathlib import Path

import tuning_trainer
from trial_protocol.result import Outcome

OPTIONS = dict(option.split("=") for option in sys.argv[1:])
STEPS, PAUSE = int(OPTIONS.get("steps", 60)), float(OPTIONS.get("pause", 0.01))

with tuning_trainer.start() as trial:
    folder = Path(trial.checkpoint_uri)
    folder.mkdir(parents=True, exist_ok=True)
    loss = 1.0
    for step in range(1, STEPS + 1):
        time.sleep(PAUSE)
        message = trial.poll(step=step)
        if message is not None:
            with (folder / "applied").open("a") as file:
                file.write(f"{message.revision} {message.learning_rate_scale} {step}\n")
            loss = min(loss, 10.0)
        rate = trial.parameters["lr"] * trial.learning_rate_scale
        loss *= 1.5 if rate > 1 else 0.97
        trial.record_step(step=step, loss=loss, learning_rate=rate)
        if step % 2 == 0:
            trial.report(step=step, eval_loss=loss, learning_rate=rate)
        if trial.should_stop:
            trial.finish(Outcome.INTERRUPTED)
            break
    else:
        trial.finish(Outcome.COMPLETED)
