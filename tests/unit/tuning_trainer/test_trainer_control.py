"""A training that is a real trial: scraped over HTTP, steered by a signed message."""

import time
import urllib.request
from pathlib import Path

import torch

from trial_protocol.control import ControlMessage, generate_key_pair, sign_control
from trial_protocol.environment import TrialEnvironment
from trial_protocol.history import parse_history
from trial_protocol.result import Outcome
from tuning_trainer import start
from tuning_trainer.checkpoint_stores import FolderStore
from tuning_trainer.loop import Training
from tuning_trainer.settings import parse
from tuning_trainer.startup import defer_compiler
from tuning_trainer.tasks.digits import Digits, DigitsSettings


def test_a_signed_message_changes_the_learning_rate_and_the_trial_says_so(tmp_path: Path) -> None:
    defer_compiler()
    keys = generate_key_pair()
    environment = TrialEnvironment(
        job="job", trial="job-1", public_key=keys.public_pem, termination_path=str(tmp_path / "result.json")
    )
    parameters = {"width": 4, "depth": 2, "steps": 12, "eval_every": 4, "lr": 0.01, "schedule": "constant"}
    settings = parse(DigitsSettings, parameters)
    device = torch.device("cpu")
    with start(variables=environment.variables(), rank=0) as trial:
        address = f"http://127.0.0.1:{trial.port}"
        message = ControlMessage(trial="job-1", revision=1, learning_rate_scale=0.5)
        token = sign_control(message, private_key=keys.private_pem, now=time.time(), lifetime=60)
        request = urllib.request.Request(f"{address}/control", data=token.encode(), method="PUT")
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status in (200, 202, 204)
        training = Training(
            Digits(settings, device), settings, trial, device=device, store=FolderStore(tmp_path / "checkpoints")
        )
        ended = training.run()
        with urllib.request.urlopen(f"{address}/metrics", timeout=10) as answer:
            metrics = answer.read().decode()
        with urllib.request.urlopen(f"{address}/history?after=4", timeout=10) as answer:
            history = parse_history(answer.read().decode())
        trial.finish(ended.outcome, values=ended.values)
    assert ended.outcome is Outcome.COMPLETED
    assert "tuning_control_revision 1.0" in metrics
    assert "tuning_learning_rate 0.005" in metrics
    assert [(record.step, record.revision, record.learning_rate) for record in history] == [
        (8, 1, 0.005),
        (12, 1, 0.005),
    ]
    assert history[-1].values["eval_loss"] == ended.values["eval_loss"]
