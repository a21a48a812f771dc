"""A control message on its way: over HTTP, pending, in force, kept in a checkpoint."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.tuning_trainer.clients import KEYS, NAME, ask, put, scrape, serving, token

from trial_protocol.control import MAX_TOKEN_BYTES, ControlMessage, generate_key_pair, sign_control


def test_a_message_comes_into_force_at_a_step_boundary_and_is_handed_out_once(tmp_path: Path) -> None:
    with serving(tmp_path) as trial:
        assert trial.poll(step=0) is None
        reply = put(trial, token(1, 0.5, batch_size=64, values={"dropout": 0.1}))
        assert (reply.status, reply.json) == (200, {"revision": 1})
        assert scrape(trial)["tuning_control_revision"] == 0
        assert (trial.control, trial.learning_rate_scale) == (None, 1.0)
        message = trial.poll(step=7)
        assert message == ControlMessage(
            trial=NAME, revision=1, learning_rate_scale=0.5, batch_size=64, values={"dropout": 0.1}
        )
        assert trial.control == message
        assert trial.learning_rate_scale == 0.5
        assert trial.poll(step=8) is None
        samples = scrape(trial)
        assert (samples["tuning_control_revision"], samples["tuning_learning_rate_scale"]) == (1, 0.5)
        trial.report(step=8, eval_loss=0.1)
        assert trial.history[-1].revision == 1


def test_sending_again_does_no_harm(tmp_path: Path) -> None:
    with serving(tmp_path) as trial:
        first = token(1)
        assert put(trial, first).json == put(trial, first).json == {"revision": 1}
        assert trial.poll(step=1) is not None
        assert put(trial, first).json == {"revision": 1}
        assert trial.poll(step=2) is None


def test_a_newer_message_replaces_one_that_waits_but_not_its_request_to_restore(tmp_path: Path) -> None:
    with serving(tmp_path) as trial:
        put(trial, token(1, 0.5, restore=True))
        put(trial, token(2, 0.25))
        assert put(trial, token(1)).status == 409
        message = trial.poll(step=1)
        assert message is not None
        assert (message.revision, message.learning_rate_scale, message.restore) == (2, 0.25, True)
        put(trial, token(3, 0.125))
        message = trial.poll(step=2)
        assert message is not None
        assert not message.restore


@pytest.mark.parametrize(
    ("text", "status", "reason"),
    [
        ("hello", 400, "Malformed"),
        ("", 400, "Malformed"),
        ("x" * (MAX_TOKEN_BYTES + 1), 400, "TooLarge"),
        (
            sign_control(ControlMessage(trial=NAME, revision=9), private_key=KEYS.private_pem, now=0, lifetime=1),
            403,
            "Expired",
        ),
        (token(1)[:-8] + "AAAAAAAA", 403, "BadSignature"),
    ],
)
def test_a_refusal_says_why(tmp_path: Path, text: str, status: int, reason: str) -> None:
    with serving(tmp_path) as trial:
        reply = put(trial, text)
        assert reply.status == status
        assert reply.json["reason"] == reason
        assert len(reply.json["message"]) > 10
        assert trial.poll(step=1) is None


def test_a_request_without_length_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path) as trial:
        reply = ask(trial, "/control", method="PUT", **{"Content-Length": "x"})
        assert (reply.status, reply.json["reason"]) == (400, "Malformed")


def test_without_a_public_key_nobody_steers(tmp_path: Path) -> None:
    with serving(tmp_path, public_key="") as trial:
        reply = put(trial, token(1))
        assert (reply.status, reply.json["reason"]) == (403, "NoPublicKey")


def test_the_token_at_the_start_is_applied_at_the_first_poll_however_old(tmp_path: Path) -> None:
    message = ControlMessage(trial=NAME, revision=4, learning_rate_scale=0.1)
    old = sign_control(message, private_key=KEYS.private_pem, now=1e9, lifetime=60)
    with serving(tmp_path, control=old) as trial:
        assert scrape(trial)["tuning_control_revision"] == 0
        assert trial.poll(step=0) == message
        assert scrape(trial)["tuning_control_revision"] == 4
        assert put(trial, token(3)).status == 409


def test_a_bad_token_at_the_start_is_told_and_training_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = generate_key_pair().private_pem
    bad = sign_control(ControlMessage(trial=NAME, revision=1), private_key=stranger, now=0, lifetime=60)
    with serving(tmp_path, control=bad) as trial:
        assert "TUNING_CONTROL was not applied: the signature" in capsys.readouterr().err
        assert trial.poll(step=0) is None


def test_a_plain_loop_that_only_reports_is_steered_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(tmp_path) as trial:
        put(trial, token(1, 0.5))
        trial.report(step=10, eval_loss=1.0)
        assert trial.learning_rate_scale == 0.5
        assert "control revision 1 in force from step 10: learning rate scale 0.5" in capsys.readouterr().out
        assert trial.history[-1].revision == 0, "the evaluation was trained with what was in force before"
        message = trial.poll(step=11)
        assert message is not None, "a loop that polls later is still told"


def test_a_loop_that_polls_is_not_overtaken_by_its_reports(tmp_path: Path) -> None:
    with serving(tmp_path) as trial:
        trial.poll(step=0)
        put(trial, token(1, 0.5, restore=True))
        trial.report(step=10, eval_loss=1.0)
        assert scrape(trial)["tuning_control_revision"] == 0
        assert trial.poll(step=11) is not None


def test_a_checkpoint_never_brings_back_an_older_message(tmp_path: Path) -> None:
    old, new = (ControlMessage(trial=NAME, revision=revision, learning_rate_scale=0.5**revision) for revision in (2, 3))
    with serving(tmp_path, control=token(3, 0.125)) as trial:
        trial.restore_control(old)
        assert trial.control == old
        assert trial.poll(step=0) == new
        trial.restore_control(old)
        assert trial.control == new
    with serving(tmp_path, control=token(2, 0.25)) as trial:
        trial.restore_control(new)
        assert trial.poll(step=0) is None
        assert trial.control == new


def test_a_message_for_another_trial_of_the_same_name_is_refused(tmp_path: Path) -> None:
    other = ControlMessage(trial="team-b/digits-0001/u-2", revision=1, learning_rate_scale=0.5)
    with serving(tmp_path, identity="team-a/digits-0001/u-1") as trial:
        for message in (other, replace(other, trial=NAME)):
            signed = sign_control(message, private_key=KEYS.private_pem, now=time.time(), lifetime=60.0)
            assert put(trial, signed).json["reason"] == "WrongTrial"
        mine = replace(other, trial="team-a/digits-0001/u-1")
        assert (
            put(trial, sign_control(mine, private_key=KEYS.private_pem, now=time.time(), lifetime=60.0)).status == 200
        )
        assert trial.poll(step=1) == mine
