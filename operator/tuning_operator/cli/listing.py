"""All jobs in one table: the runs of this machine, or the TuningJobs of a cluster."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import typer

from tuning_operator.api.tuning_job import Budget, Evaluation
from tuning_operator.cli import documents, reading, words
from tuning_operator.cli.choice import Where, has_cluster
from tuning_operator.cli.formats import TextFormat
from tuning_operator.cli.source import LocalRuns
from tuning_operator.engine.events import EndReason
from tuning_operator.engine.view import JobView, TrialState

if TYPE_CHECKING:
    from tuning_operator.cli.output import Output

_RUNNING_WORDS: Final[Mapping[str, str]] = {"Searching": "searching", "Evaluating": "evaluating"}
_FINISHED_WORDS: Final[Mapping[str, str]] = {
    "TrialsCompleted": "done",
    "TargetReached": "target reached",
    "BudgetExhausted": "budget used up",
    "SearchSpaceExhausted": "space exhausted",
    "TooManyFailures": "failed",
    "Cancelled": "cancelled",
}
_CUT_SHORT: Final = frozenset({EndReason.BUDGET_EXHAUSTED, EndReason.CANCELLED, EndReason.PREEMPTED})


@dataclass(frozen=True, kw_only=True)
class Line:
    """One job in a few words.

    Attributes:
        best: Value of the best trial.
        done: Trials that ended by themselves or by a rule, retrainings of finalists among them.
        planned: Trials that the job may have in all, retrainings of finalists among them.
        since: When it started, in seconds since the epoch.
    """

    name: str
    namespace: str | None = None
    state: str
    best: float | None
    best_trial: str | None
    done: int
    planned: int
    running: int
    gpu_hours: float
    since: float | None


def line_of_view(view: JobView) -> Line:
    """Return the line of a run of this machine."""
    evaluation = view.spec.evaluation
    doing = "evaluating" if view.candidates else "searching"
    state = _FINISHED_WORDS.get(view.finished or "", view.finished) or ("suspended" if view.suspended else doing)
    return Line(
        name=view.name,
        state=state,
        best=None if view.best is None else reading.score(view.best),
        best_trial=None if view.best is None else str(view.best.number),
        done=sum(count for reason, count in view.reasons.items() if reason not in _CUT_SHORT),
        planned=view.spec.budget.trials + (0 if evaluation is None else evaluation.top * len(evaluation.seeds)),
        running=view.states.get(TrialState.RUNNING.value, 0),
        gpu_hours=view.gpu_hours,
        since=view.started,
    )


def line_of_object(job: Mapping[str, Any]) -> Line:
    """Return the line of a TuningJob, from what its status says."""
    metadata, status = job["metadata"], job.get("status") or {}
    trials, best = status.get("trials") or {}, status.get("best") or {}
    start = status.get("startTime")
    value = best.get("value")
    return Line(
        name=metadata["name"],
        namespace=metadata["namespace"],
        state=_state(job),
        best=None if value is None else float(value),
        best_trial=_number_of(best.get("name"), metadata["name"]),
        done=sum(trials.get(kind, 0) for kind in ("completed", "stoppedEarly", "failed")),
        planned=_planned(job["spec"]),
        running=trials.get("running", 0),
        gpu_hours=float(status.get("gpuHoursUsed") or 0),
        since=None if start is None else datetime.fromisoformat(start).timestamp(),
    )


def _planned(spec: Mapping[str, Any]) -> int:
    evaluation = spec.get("evaluation")
    retrained = (
        evaluation.get("top", Evaluation.model_fields["top"].default) * len(evaluation["seeds"]) if evaluation else 0
    )
    return int((spec.get("budget") or {}).get("trials", Budget.model_fields["trials"].default)) + int(retrained)


def _state(job: Mapping[str, Any]) -> str:
    conditions = {one["type"]: one for one in (job.get("status") or {}).get("conditions") or ()}

    def reason(kind: str) -> str | None:
        condition = conditions.get(kind, {})
        return str(condition["reason"]) if condition.get("status") == "True" else None

    if job["metadata"].get("deletionTimestamp"):
        return "being deleted"
    if conditions.get("Accepted", {}).get("status") == "False":
        return "refused"
    if finished := reason("Complete") or reason("Failed"):
        return _FINISHED_WORDS.get(finished, finished)
    if reason("Suspended"):
        return "suspended"
    running = reason("Running")
    return _RUNNING_WORDS.get(running, running) if running else "not taken up yet"


def _number_of(trial: str | None, job: str) -> str | None:
    """Return the number in a Trial's name, as commands take it."""
    if trial is None:
        return None
    number = trial.removeprefix(f"{job}-")
    return str(int(number)) if number.isdecimal() else trial


def list_jobs(where: Where, *, everywhere: bool, style: TextFormat, output: Output) -> None:
    """Show the runs of this machine; with an option that means a cluster, its TuningJobs.

    Raises:
        BackendError: The cluster cannot be asked, or does not answer this person.
    """
    where.check()
    if everywhere and where.runs is not None:
        raise typer.BadParameter("--runs means this machine; -A means a cluster")
    runs = where.local()
    is_cluster = everywhere or where.is_cluster or (where.runs is None and not runs.names() and has_cluster())
    if is_cluster:
        jobs = where.cluster()
        lines = [line_of_object(job) for job in jobs.objects(everywhere=everywhere)]
        place = f"all namespaces of {jobs.place.cluster}" if everywhere else str(jobs.place)
        empty = f"No TuningJobs in {place}."
    else:
        lines, place = local_lines(runs), f"{runs.root}/ of this machine"
        empty = f"No runs in {place}; start one with: tuning run FILE"
    if style is not TextFormat.TEXT:
        output.raw(documents.render(document(lines), style))
    elif lines:
        for line in table(lines, now=time.time()):
            output.line(line)
        output.note(f"In {place}.{'' if is_cluster else ' Jobs of a cluster: tuning status -n NAMESPACE'}")
    else:
        output.note(empty)


def local_lines(runs: LocalRuns) -> list[Line]:
    """Return the runs of this machine, newest first."""
    return [line_of_view(runs.load(name)) for name in runs.names()]


def table(lines: Sequence[Line], *, now: float) -> list[str]:
    """Return the table as plain lines, never cut; the namespace is a column for TuningJobs.

    Args:
        now: Seconds since the epoch.
    """
    head = ["job", "state", "best", "trial", "done", "running", "GPU-hours", "started"]
    rows = [head, *(_row(line, now) for line in lines)]
    if any(line.namespace is not None for line in lines):
        spaces = ["namespace", *(line.namespace or "" for line in lines)]
        rows = [[space, *row] for space, row in zip(spaces, rows, strict=True)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    words_first = len(rows[0]) - len(head) + 2
    return ["  ".join(_aligned(row, widths, words_first)).rstrip() for row in rows]


def _row(line: Line, now: float) -> list[str]:
    return [
        line.name,
        line.state,
        words.number(line.best),
        line.best_trial or "",
        f"{line.done} of {line.planned}",
        str(line.running),
        words.number(line.gpu_hours, digits=3) if line.gpu_hours else "",
        "" if line.since is None else f"{words.duration(math.floor(max(now - line.since, 0.0)))} ago",
    ]


def _aligned(row: Sequence[str], widths: Sequence[int], words_first: int) -> list[str]:
    return [
        cell.ljust(width) if place < words_first else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def document(lines: Sequence[Line]) -> documents.Document:
    """Return the same for programs."""
    return {
        "jobs": [
            {
                **({} if line.namespace is None else {"namespace": line.namespace}),
                "name": line.name,
                "state": line.state,
                "best": documents.number(line.best),
                "bestTrial": line.best_trial,
                "done": line.done,
                "planned": line.planned,
                "running": line.running,
                "gpuHours": line.gpu_hours,
                "started": line.since,
            }
            for line in lines
        ]
    }
