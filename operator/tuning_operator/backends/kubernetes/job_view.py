"""A job's picture from its objects alone: what a person with the right to read them is shown, wherever they sit.

The log in the objects gives the picture, as it does for the operator; what is only shown there (newest value, how far,
why a pod does not start) lies over it for trials that have not ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from tuning_operator.api.metadata import API_VERSION
from tuning_operator.api.parse import parse_manifest
from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.backends.kubernetes.job_log import JobLog
from tuning_operator.backends.kubernetes.resources import Object, name_of
from tuning_operator.backends.kubernetes.trial_log import TrialLog
from tuning_operator.backends.kubernetes.trial_state import State
from tuning_operator.engine.engine import Engine
from tuning_operator.engine.view import JobView, TrialState, TrialView
from tuning_operator.errors import LogError, ManifestError

_PLAIN: Final = frozenset({State.PENDING, State.RUNNING, State.PAUSED, State.STOPPING, State.PAUSING})
"""States that need no remark: the trial does what is wanted of it."""


def view_objects(job: Object, trials: Iterable[Object], *, time: float) -> JobView:
    """Return the picture of a TuningJob and its Trials; Trials of another TuningJob of that name are left out.

    Args:
        time: Now, in seconds since the epoch.

    Raises:
        LogError: The objects cannot be read: written by another version, or changed by hand. The text says which.
    """
    spec = _spec(job)
    uid, name = job["metadata"]["uid"], name_of(job)
    own = [one for one in trials if any(uid == by["uid"] for by in one["metadata"].get("ownerReferences") or ())]
    records = JobLog.read(job, spec).records()
    for body in own:
        records += TrialLog.read(body, spec).records()
    view = Engine.restore(name=name, spec=spec, records=records).view(time=time)
    status = job.get("status") or {}
    statuses = {body["spec"]["number"]: body.get("status") or {} for body in own}
    shown = tuple(_shown(trial, statuses[trial.number]) for trial in view.trials)
    going = view.finished is None and not view.suspended and view.started is not None
    return replace(
        view,
        trials=shown,
        best=None if view.best is None else next(one for one in shown if one.number == view.best.number),
        gpu_hours=max(view.gpu_hours, float(status.get("gpuHoursUsed") or 0)),
        updated=max(time, view.updated or time) if going else view.updated,
        notice=_notice(job, view),
    )


def _spec(job: Object) -> TuningJobSpec:
    name = name_of(job)
    manifest = {"apiVersion": API_VERSION, "kind": "TuningJob", "metadata": {"name": name}, "spec": job["spec"]}
    try:
        return parse_manifest(manifest, source=name).spec
    except ManifestError as error:
        accepted = _condition(job.get("status") or {}, "Accepted")
        if accepted.get("status") == "False":
            raise LogError(f"the operator refused {name}: {accepted.get('message', '')}") from None
        raise LogError(
            f"{name} has fields that this version of tuning does not know; install the version of the operator: "
            + "; ".join(map(str, error.problems))
        ) from None


def _shown(trial: TrialView, status: Mapping[str, Any]) -> TrialView:
    """Return a trial as it is now; one that has ended is as its record says."""
    if trial.state is TrialState.ENDED:
        return trial
    running = _condition(status, "Running")
    state = str(running.get("reason") or "")
    # Its pods have ended, and the record of that comes next: there is nothing to remark.
    remark = "" if state in _PLAIN or status.get("reason") else str(running.get("message") or state)
    return replace(
        trial,
        message=trial.message or remark,
        value=_number(status, "value", trial.value),
        best=_number(status, "best", trial.best),
        learning_rate=_number(status, "learningRate", trial.learning_rate),
        fraction=_number(status, "fraction", trial.fraction) or 0.0,
        applied_revision=status.get("revision", 0),
        checkpoint=status.get("checkpoint") or trial.checkpoint,
        gpu_seconds=_number(status, "gpuSeconds", 0.0) or 0.0,
    )


def _notice(job: Object, view: JobView) -> str:
    """Return what a reader must know before all else; empty if the job does what is wanted of it."""
    metadata, spec, status = job["metadata"], job["spec"], job.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return "it is being deleted"
    accepted = _condition(status, "Accepted")
    if accepted.get("status") == "False":
        return f"the operator refused it: {accepted.get('message') or accepted.get('reason')}"
    if not status.get("conditions") and not view.trials:
        return "no operator has taken it up yet; is one running, and does it serve this namespace?"
    if view.finished is not None:
        return ""
    if (status.get("observedGeneration") or 0) < metadata.get("generation", 0):
        return "the operator has not answered to its newest change yet"
    if spec.get("cancel"):
        return "it is being stopped: its trials write their checkpoints"
    return ""


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next((one for one in status.get("conditions") or () if one["type"] == kind), {})


def _number(status: Mapping[str, Any], name: str, otherwise: float | None) -> float | None:
    found = status.get(name)
    return otherwise if found in (None, "") else float(found)
