"""A trial without torch that goes on from its checkpoint, and misbehaves on request.

    python3 stand_in_trial.py [steps=60] [pause=0.05] [at=10] [before=0] [MODE]

It waits `before` seconds before its first step, for whoever must find it first. At step `at` of its first start a MODE
happens: ``memory`` (takes more and more of it), ``raises``, ``nan`` (says that the loss is not finite), ``refuses``
(exits with 64). With ``exits-0`` it exits with 0 when it is asked to end, as many programs do. Its checkpoint folder
keeps a line per start in ``starts``: the step from which it went on.
"""

import json
import sys
import time
from pathlib import Path

import tuning_trainer
from trial_protocol.history import HistoryRecord, parse_history, render_history
from trial_protocol.result import Outcome

OPTIONS = dict(option.split("=") for option in sys.argv[1:] if "=" in option)
MODES = {option for option in sys.argv[1:] if "=" not in option}
STEPS, PAUSE = int(OPTIONS.get("steps", 60)), float(OPTIONS.get("pause", 0.05))
AT, BEFORE = int(OPTIONS.get("at", 10)), float(OPTIONS.get("before", 0))


def misbehave(trial: tuning_trainer.Trial) -> None:
    if "memory" in MODES:
        taken = []
        while True:
            taken.append(b"x" * 2**22)
    if "raises" in MODES:
        raise RuntimeError("the data loader found a bad batch")
    if "nan" in MODES:
        trial.finish(Outcome.NON_FINITE, message=f"the loss is nan at step {AT}")
        sys.exit(1)
    if "refuses" in MODES:
        sys.stderr.write("lr must be smaller than the moon\n")
        trial.finish(Outcome.CONFIGURATION_ERROR, message="lr must be smaller than the moon")
        sys.exit(64)


def main() -> int:
    with tuning_trainer.start() as trial:
        folder = Path(trial.checkpoint_uri or "/tmp/checkpoints")
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / "state.json"
        first, loss = 0, 1.0
        records: list[HistoryRecord] = []
        if kept.exists():
            state = json.loads(kept.read_text())
            first, loss = state["step"], state["loss"]
            records = parse_history(state["history"])
            trial.restore_history(records)
        with (folder / "starts").open("a") as file:
            file.write(f"{first}\n")
        sys.stdout.write(f"starting at step {first} of {STEPS}\n")

        def checkpoint(step: int) -> None:
            part = folder / "state.part"
            part.write_text(json.dumps({"step": step, "loss": loss, "history": render_history(trial.history)}))
            part.replace(kept)

        time.sleep(BEFORE)
        rate = float(trial.parameters.get("lr", 0.1))
        for step in range(first + 1, STEPS + 1):
            time.sleep(PAUSE)
            trial.poll(step=step)
            loss *= 1.0 - 0.02 * rate * trial.learning_rate_scale
            trial.record_step(step=step, loss=loss, learning_rate=rate * trial.learning_rate_scale)
            if step % 2 == 0:
                trial.report(step=step, eval_loss=loss, learning_rate=rate * trial.learning_rate_scale)
                checkpoint(step)
            if step == AT and not first:
                misbehave(trial)
            if trial.should_stop:
                checkpoint(step)
                trial.finish(Outcome.INTERRUPTED, checkpoint=str(kept))
                return 0 if "exits-0" in MODES else 143
        trial.finish(Outcome.COMPLETED, checkpoint=str(kept))
        return 0


if __name__ == "__main__":
    sys.exit(main())
