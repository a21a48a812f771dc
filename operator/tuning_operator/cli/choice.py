"""Which source a command reads from: this machine or a cluster.

An option that only a cluster has (``-n``, ``--context``, ``--kubeconfig``) means the cluster, ``--runs`` means this
machine. Without any of them a run directory of that name wins, and else the current context of the kubeconfig is asked.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tuning_operator.errors import RunNotFound

if TYPE_CHECKING:
    from tuning_operator.cli.cluster.jobs import ClusterJobs
    from tuning_operator.cli.source import LocalRuns, Source

RUNS: Final = Path("runs")
JobArgument = Annotated[
    str, typer.Argument(metavar="JOB", help="A job: a run directory, the name of a run under runs/, or a TuningJob.")
]
TuningJobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Name of a TuningJob on a cluster.")]
RunsOption = Annotated[
    Path | None, typer.Option("--runs", metavar="DIR", help="Folder that holds runs of this machine.  [default: runs]")
]
NamespaceOption = Annotated[
    str | None,
    typer.Option("--namespace", "-n", metavar="NAME", help="Namespace of the cluster.  [default: the context's]"),
]
ContextOption = Annotated[
    str | None, typer.Option("--context", metavar="NAME", help="Context of the kubeconfig.  [default: the current one]")
]
KubeconfigOption = Annotated[
    str | None,
    typer.Option("--kubeconfig", metavar="FILE", help="The kubeconfig.  [default: $KUBECONFIG, ~/.kube/config]"),
]


@dataclass(frozen=True, kw_only=True)
class Where:
    """What the options of a command say about where to look."""

    runs: Path | None = None
    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None

    @property
    def is_cluster(self) -> bool:
        """Whether an option says that a cluster is meant."""
        return any(one is not None for one in (self.namespace, self.context, self.kubeconfig))

    def check(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            typer.BadParameter: They do.
        """
        if self.runs is not None and self.is_cluster:
            raise typer.BadParameter("--runs means this machine; -n, --context and --kubeconfig mean a cluster")

    def local(self) -> LocalRuns:
        """Return the runs of this machine."""
        from tuning_operator.cli.source import LocalRuns

        return LocalRuns(self.runs or RUNS)

    def cluster(self) -> ClusterJobs:
        """Return the jobs of the cluster.

        Raises:
            BackendError: There is no kubeconfig, or no such context in it.
        """
        from tuning_operator.cli.cluster.jobs import ClusterJobs
        from tuning_operator.cli.cluster.place import find_place

        return ClusterJobs(find_place(namespace=self.namespace, kubeconfig=self.kubeconfig, context=self.context))

    def source(self, job: str) -> Source:
        """Return what to read a job from.

        Raises:
            RunNotFound: It is not here, and there is no cluster to ask, or it cannot be the name of a TuningJob.
            BackendError: There is no kubeconfig, or no such context in it.
        """
        self.check()
        if self.is_cluster:
            return self.cluster()
        runs = self.local()
        if self.runs is not None or runs.find(job) is not None:
            return runs
        try:
            runs.directory(job)
        except RunNotFound as error:
            if not may_be_tuning_job(job) or not has_cluster():
                raise RunNotFound(f"{error}{_no_cluster(job)}") from None
        return self.cluster()


def may_be_tuning_job(name: str) -> bool:
    """Return whether a word may be the name of an object, and is no path."""
    return os.sep not in name and name not in (".", "..") and name == name.lower()


def has_cluster() -> bool:
    """Return whether a cluster can be asked without being named."""
    from tuning_operator.cli.cluster.place import kubeconfig_files

    there = any(file.is_file() for file in kubeconfig_files(None, os.environ))
    return there or "KUBERNETES_SERVICE_HOST" in os.environ


def _no_cluster(job: str) -> str:
    if not may_be_tuning_job(job):
        return ""
    return "\nNeither is there a kubeconfig, so no cluster was asked; --kubeconfig names one."
