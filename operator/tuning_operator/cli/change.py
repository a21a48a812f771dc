"""``tuning suspend``, ``resume`` and ``stop``: one field of a TuningJob's spec each; the operator does the rest.

A run of this machine has no operator: its own process is told by signals, and continued by ``tuning run --resume``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tuning_operator.cli import words
from tuning_operator.cli.choice import Where
from tuning_operator.cli.cluster.jobs import ClusterJobs
from tuning_operator.cli.listing import line_of_object
from tuning_operator.errors import WrongState

if TYPE_CHECKING:
    from collections.abc import Callable

    from tuning_operator.cli.output import Output


def suspend(name: str, where: Where, output: Output) -> None:
    """Free all pods of a job; their trainers write checkpoints first."""
    jobs, job = _found(name, where, "suspended by Ctrl-C in its terminal")
    _refuse_finished(job, "suspend")
    if job["spec"].get("suspend"):
        output.line(f"{name} is suspended already.")
        return
    job = jobs.change(name, suspend=True)
    output.line(f"{name} is being suspended: {_running(job)} {_leaving(job)}.")
    if not (job["spec"].get("trial") or {}).get("checkpoint"):
        output.note("spec.trial.checkpoint is not set: trials that are cut short start again from the beginning")
    output.line(f"Go on with: tuning resume {name}{_options(where)}")


def resume(name: str, where: Where, output: Output) -> None:
    """Let a suspended job go on."""
    jobs, job = _found(name, where, "continued by: tuning run FILE --resume")
    _refuse_finished(job, "resume")
    if not job["spec"].get("suspend"):
        output.line(f"{name} is not suspended.")
        return
    jobs.change(name, suspend=False)
    output.line(f"{name} goes on; trials that were cut short continue from their newest checkpoint.")
    output.line(f"Look at it with: tuning watch {name}{_options(where)}")


def stop(name: str, where: Where, output: Output, *, confirm: Callable[[str], bool]) -> bool:
    """End a job for good and keep what it found; return whether it was done.

    Args:
        confirm: Is asked before it is done.
    """
    jobs, job = _found(name, where, "ended by Ctrl-C in its terminal; its results stay where they are")
    if job["spec"].get("cancel"):
        output.line(f"{name} was stopped already.")
        return True
    _refuse_finished(job, "stop")
    line = line_of_object(job)
    if not confirm(f"End {name} for good, after {line.done} of {line.planned} trials? It cannot be taken back"):
        return False
    job = jobs.change(name, cancel=True)
    output.line(f"{name} is being stopped: {_running(job)} {_leaving(job)} and end as Cancelled.")
    if line.best is None:
        output.line("No trial has a result yet.")
    else:
        output.line(f"The best is kept: trial {line.best_trial} with {words.number(line.best)}.")
    output.line(f"Its results stay until somebody deletes it: tuning status {name}{_options(where)}")
    return True


def _found(name: str, where: Where, on_this_machine: str) -> tuple[ClusterJobs, Mapping[str, Any]]:
    where.check()
    directory = None if where.is_cluster else where.local().find(name)
    if directory is not None:
        raise WrongState(
            f"{directory} is a run of this machine; it is {on_this_machine}. "
            f"If the TuningJob {name} of a cluster is meant, say where it is: -n NAMESPACE"
        )
    jobs = where.cluster()
    return jobs, jobs.get(name)


def _refuse_finished(job: Mapping[str, Any], verb: str) -> None:
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            reason = condition["reason"]
            why = words.FINISHED_SENTENCES.get(reason, reason)
            raise WrongState(f"{job['metadata']['name']} has finished ({why}); there is nothing to {verb}")


def _running(job: Mapping[str, Any]) -> str:
    return words.count(line_of_object(job).running, "running trial")


def _leaving(job: Mapping[str, Any]) -> str:
    one = line_of_object(job).running == 1
    if (job["spec"].get("trial") or {}).get("checkpoint"):
        return "writes its checkpoint and frees its pods" if one else "write their checkpoints and free their pods"
    return "frees its pods" if one else "free their pods"


def _options(where: Where) -> str:
    given = (("-n", where.namespace), ("--context", where.context), ("--kubeconfig", where.kubeconfig))
    return "".join(f" {option} {value}" for option, value in given if value is not None)
