from __future__ import annotations

from typing import Any

import pytest
from tests.unit.backends.kubernetes.objects import pod

from trial_protocol.result import Outcome, TrialResult
from tuning_operator.backends.kubernetes.outcome import never_starts, pod_end
from tuning_operator.engine.events import EndReason


def terminated(**state: Any) -> dict[str, Any]:
    return {"terminated": state}


DISRUPTED = {
    "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "m"}]
}
NON_FINITE = TrialResult(outcome=Outcome.NON_FINITE, message="loss is NaN at step 7").to_json()
GPU_MEMORY = TrialResult(outcome=Outcome.OUT_OF_MEMORY, message="CUDA out of memory").to_json()
COMPLETED = TrialResult(outcome=Outcome.COMPLETED, step=9).to_json()
REFUSED = TrialResult(outcome=Outcome.CONFIGURATION_ERROR, message="lr must be > 0").to_json()


@pytest.mark.parametrize(
    ("ended", "reason", "words"),
    [
        (pod("Failed", state=terminated(exitCode=137, reason="OOMKilled")), EndReason.OUT_OF_MEMORY, "256Mi: raise it"),
        (
            pod("Failed", state=terminated(exitCode=64, reason="Error")),
            EndReason.CONFIGURATION_ERROR,
            "not tried again",
        ),
        (pod("Failed", state=terminated(exitCode=143), **DISRUPTED), EndReason.PREEMPTED, "EvictionByEvictionAPI"),
        (pod("Failed", state=terminated(exitCode=1, reason="Error")), EndReason.FAILED, "exit code 1"),
        (pod("Failed", state=terminated(exitCode=1, message=NON_FINITE)), EndReason.NON_FINITE, "NaN at step 7"),
        (
            pod("Failed", state=terminated(exitCode=128, reason="StartError", message="no such file")),
            EndReason.CONFIGURATION_ERROR,
            "no such file",
        ),
        (pod("Failed", state=terminated(exitCode=127, reason="Error")), EndReason.CONFIGURATION_ERROR, "exit code 127"),
        (pod("Failed", state=terminated(exitCode=143, reason="Error")), EndReason.PREEMPTED, "asked to end"),
        (pod("Failed", message="The node was low on memory"), EndReason.FAILED, "low on memory"),
        (pod("Succeeded", state=terminated(exitCode=0)), EndReason.COMPLETED, ""),
    ],
)
def test_each_end_has_its_own_reason_and_says_what_to_do(ended: Any, reason: EndReason, words: str) -> None:
    found = pod_end(ended, "train")
    assert found is not None
    assert found.reason is reason
    assert words in found.message


@pytest.mark.parametrize(
    ("ended", "final"),
    [
        (pod("Failed", state=terminated(exitCode=137, reason="OOMKilled")), True),
        (pod("Failed", state=terminated(exitCode=1, message=GPU_MEMORY)), True),
        (pod("Failed", state=terminated(exitCode=1, message=NON_FINITE)), True),
        (pod("Failed", state=terminated(exitCode=1, message=REFUSED)), True),
        (pod("Failed", state=terminated(exitCode=64)), True),
        (pod("Failed", state=terminated(exitCode=127)), True),
        (pod("Failed", state=terminated(exitCode=1)), False),
        (pod("Failed", state=terminated(exitCode=137, reason="Error")), False),
        (pod("Failed", state=terminated(exitCode=137, reason="OOMKilled"), **DISRUPTED), False),
        (pod("Succeeded", state=terminated(exitCode=0, message=COMPLETED)), False),
    ],
)
def test_only_what_would_end_the_same_way_again_is_final(ended: Any, final: bool) -> None:
    found = pod_end(ended, "train")
    assert found is not None
    assert found.final is final


def test_without_a_limit_it_was_the_node_that_ran_out_of_memory() -> None:
    ended = pod("Failed", state=terminated(exitCode=137, reason="OOMKilled"))
    ended["spec"] = {"containers": [{"name": "train"}]}
    found = pod_end(ended, "train")
    assert found is not None
    assert (found.reason, found.final) == (EndReason.OUT_OF_MEMORY, False)
    assert "the node had no more; set a memory request and limit" in found.message


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_the_trainers_own_word_counts_more_than_its_exit_code(phase: str) -> None:
    code = 0 if phase == "Succeeded" else 3
    diverged = pod_end(pod(phase, state=terminated(exitCode=code, message=NON_FINITE)), "train")
    completed = pod_end(pod(phase, state=terminated(exitCode=code, message=COMPLETED)), "train")
    assert diverged is not None
    assert completed is not None
    assert (diverged.reason, completed.reason) == (EndReason.NON_FINITE, EndReason.COMPLETED)
    late = "it completed, and then ended with exit code 3 while it closed down"
    assert completed.message == ("" if phase == "Succeeded" else late)


def test_a_signal_is_called_by_its_name() -> None:
    found = pod_end(pod("Failed", state=terminated(exitCode=139, reason="Error")), "train")
    assert found is not None
    assert found.message == "the trainer was ended by SIGSEGV, which this operator did not send (exit code 139)"


def test_a_living_pod_has_no_end() -> None:
    assert pod_end(pod("Running"), "train") is None


def test_the_result_travels_in_the_termination_message() -> None:
    result = TrialResult(outcome=Outcome.COMPLETED, step=9, values={"eval_loss": 0.25}, checkpoint="/c")
    found = pod_end(pod("Succeeded", state=terminated(exitCode=0, message=result.to_json())), "train")
    assert found is not None
    assert found.result == result


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "ErrImageNeverPull", "CreateContainerConfigError"])
def test_a_pod_that_cannot_start_says_why(reason: str) -> None:
    waiting = pod("Pending", state={"waiting": {"reason": reason, "message": "details"}})
    message = never_starts(waiting)
    assert message is not None
    assert message.startswith(reason)
    assert "details" in message


def test_waiting_for_a_slow_start_is_not_never() -> None:
    assert never_starts(pod("Pending", state={"waiting": {"reason": "ContainerCreating"}})) is None
