"""What became of a trial, read from its Job and its pods: one reason, and a message that names the cause and the fix.

The order matters: a Job that failed says only "backoff limit exceeded"; its pods say why. A pod that is gone cannot say
anything any more, so the reflector's last sight of it counts.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Final

from trial_protocol.errors import ProtocolError
from trial_protocol.names import EXIT_CONFIGURATION_ERROR
from trial_protocol.result import Outcome, TrialResult
from tuning_operator.backends.kubernetes.resources import Object
from tuning_operator.engine.events import EndReason

EXITS_NO_COMMAND: Final = (126, 127, 128)
"""The command cannot be executed, or is not there: by a shell's convention, and by the container runtime's (128)."""
EXIT_TERMINATED: Final = 143
"""Ended by SIGTERM, that is because somebody asked: a queue, a drain, a person."""

_NEVER_STARTS: Final = {
    "ErrImagePull": "the image cannot be pulled: check its name, the registry and imagePullSecrets",
    "ImagePullBackOff": "the image cannot be pulled: check its name, the registry and imagePullSecrets",
    "ErrImageNeverPull": "imagePullPolicy is Never and the node does not have the image",
    "InvalidImageName": "the image's name is not valid",
    "CreateContainerConfigError": "the container refers to a ConfigMap, Secret or volume that does not exist",
    "CreateContainerError": "the container cannot be created: check command, mounts and security context",
    "ImageInspectError": "the node cannot read the image: pull it again",
    "RunContainerError": "the container cannot be started: check that its command exists in the image",
}


@dataclass(frozen=True, kw_only=True)
class PodEnd:
    """How one pod ended.

    Attributes:
        final: Whether another attempt would end the same way.
        result: What the trainer wrote into its termination message, if it speaks our contract.
    """

    reason: EndReason
    message: str
    final: bool = False
    result: TrialResult | None = None


def job_is_suspended(job: Object) -> bool:
    """Return whether the Job holds no pods because it, or a queue, says so."""
    return bool(job.get("spec", {}).get("suspend"))


def job_condition(job: Object, kind: str) -> Object | None:
    """Return a condition of the Job that is true, or None."""
    for condition in job.get("status", {}).get("conditions") or ():
        if condition["type"] == kind and condition["status"] == "True":
            return dict(condition)
    return None


def pod_end(pod: Object, container: str) -> PodEnd | None:
    """Return how a pod ended, or None while it lives.

    What the trainer wrote counts first, then the disruption, the container's state, and its exit code.
    """
    status = pod.get("status", {})
    phase = status.get("phase")
    if phase not in ("Succeeded", "Failed"):
        return None
    result, state = _result(pod, container)
    outcome = result.outcome if result else None
    code = state.get("exitCode")
    said = f"; it said: {result.message}" if result and result.message else ""
    if outcome is Outcome.COMPLETED or (phase == "Succeeded" and outcome in (None, Outcome.INTERRUPTED)):
        late = f"it completed, and then {_how(code)} while it closed down" if phase == "Failed" else ""
        return PodEnd(reason=EndReason.COMPLETED, message=late, final=bool(late), result=result)
    if code == EXIT_CONFIGURATION_ERROR or outcome is Outcome.CONFIGURATION_ERROR:
        message = f"the trainer refused its configuration (exit code {code}); it is not tried again{said}"
        return PodEnd(reason=EndReason.CONFIGURATION_ERROR, message=message, final=True, result=result)
    if outcome is Outcome.NON_FINITE:
        message = f"the loss is not finite any more; it is not tried again{said}"
        return PodEnd(reason=EndReason.NON_FINITE, message=message, final=True, result=result)
    disrupted = disruption(pod)
    if disrupted is not None:
        return PodEnd(reason=EndReason.PREEMPTED, message=disrupted, result=result)
    if state.get("reason") == "OOMKilled":
        return _out_of_memory(_memory_limit(pod, container), code, result)
    if outcome is Outcome.OUT_OF_MEMORY:
        message = f"out of memory (exit code {code}); tune smaller batches and models, or ask for more memory{said}"
        return PodEnd(reason=EndReason.OUT_OF_MEMORY, message=message, final=True, result=result)
    if state.get("reason") in ("ContainerCannotRun", "StartError") or (code in EXITS_NO_COMMAND and result is None):
        why = f"exit code {code}: {state.get('message', '')}".rstrip(": ")
        message = f"the command cannot be started ({why}): check that it exists in the image and may be executed"
        return PodEnd(reason=EndReason.CONFIGURATION_ERROR, message=message, final=True, result=result)
    if code == EXIT_TERMINATED or outcome is Outcome.INTERRUPTED:
        message = f"the pod was asked to end (SIGTERM), and not by this operator{said}"
        return PodEnd(reason=EndReason.PREEMPTED, message=message, result=result)
    why = status.get("message") or status.get("reason") or state.get("reason") or ("" if code else "no reason given")
    how = f"the trainer {_how(code)}" if code is not None else "the pod failed"
    message = f"{how}{f' ({why})' if why not in ('', 'Error') else ''}{said}"
    return PodEnd(reason=EndReason.FAILED, message=message, result=result)


def _out_of_memory(limit: str, code: int | None, result: TrialResult | None) -> PodEnd:
    """Over a limit of its own it would be again; without one, the node was short, and another may not be."""
    fix = (
        f"its limit is {limit}: raise it, or tune smaller batches and models; it is not tried again"
        if limit
        else "the node had no more; set a memory request and limit in the template, or tune smaller batches and models"
    )
    message = f"out of memory (exit code {code}); {fix}"
    return PodEnd(reason=EndReason.OUT_OF_MEMORY, message=message, final=bool(limit), result=result)


def _how(code: int | None) -> str:
    if code is None:
        return "ended"
    try:
        return f"was ended by {signal.Signals(code - 128).name}, which this operator did not send (exit code {code})"
    except ValueError:
        return f"ended with exit code {code}"


def disruption(pod: Object) -> str | None:
    """Return by whom a pod was or is being disrupted; None if by nobody."""
    found = _condition(pod, "DisruptionTarget")
    if found is None:
        return None
    why = f"{found.get('reason', 'disrupted')}: {found.get('message', '')}".rstrip(": ")
    return f"the pod was disrupted ({why}); another one takes its place, and that is no failure"


def never_starts(pod: Object) -> str | None:
    """Return why a pod will not start by itself, or None if it may still."""
    for status in pod.get("status", {}).get("containerStatuses") or ():
        waiting = status.get("state", {}).get("waiting") or {}
        reason = waiting.get("reason", "")
        if reason in _NEVER_STARTS:
            return f"{reason}: {_NEVER_STARTS[reason]} ({waiting.get('message', '')})"
    scheduled = _condition(pod, "PodScheduled", status="False")
    if scheduled is not None and scheduled.get("reason") == "Unschedulable":
        return f"Unschedulable: {scheduled.get('message', '')}; ask for less, or add nodes"
    return None


def _condition(pod: Object, kind: str, status: str = "True") -> Object | None:
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition["type"] == kind and condition["status"] == status:
            return dict(condition)
    return None


def _result(pod: Object, container: str) -> tuple[TrialResult | None, Object]:
    for status in pod.get("status", {}).get("containerStatuses") or ():
        if status["name"] == container:
            state = status.get("state", {}).get("terminated") or status.get("lastState", {}).get("terminated") or {}
            try:
                return TrialResult.from_json(state.get("message", "")), state
            except ProtocolError:
                return None, state
    return None, {}


def _memory_limit(pod: Object, container: str) -> str:
    for found in pod.get("spec", {}).get("containers") or ():
        if found["name"] == container:
            return str((found.get("resources") or {}).get("limits", {}).get("memory", ""))
    return ""
