"""The commands that change a TuningJob on a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tuning_operator.cli.choice import ContextOption, KubeconfigOption, NamespaceOption, TuningJobArgument, Where
from tuning_operator.cli.exits import ExitCode

if TYPE_CHECKING:
    from tuning_operator.cli.output import Output

commands = typer.Typer()


@commands.command(
    short_help="Free all pods of a job, to go on later.",
    epilog="Example: tuning suspend digits -n team    The same with kubectl: set spec.suspend to true",
)
def suspend(
    context: typer.Context,
    job: TuningJobArgument,
    namespace: NamespaceOption = None,
    cluster: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Free all pods of a job on a cluster: its trainers write checkpoints and end, and no trial starts.

    Time while it is suspended does not count against budget.duration. tuning resume goes on.
    """
    from tuning_operator.cli import change

    output: Output = context.obj
    change.suspend(job, Where(namespace=namespace, context=cluster, kubeconfig=kubeconfig), output)


@commands.command(
    short_help="Go on with a suspended job.",
    epilog="Example: tuning resume digits -n team    The same with kubectl: set spec.suspend to false",
)
def resume(
    context: typer.Context,
    job: TuningJobArgument,
    namespace: NamespaceOption = None,
    cluster: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Go on with a suspended job on a cluster; its trials continue from their newest checkpoints."""
    from tuning_operator.cli import change

    output: Output = context.obj
    change.resume(job, Where(namespace=namespace, context=cluster, kubeconfig=kubeconfig), output)


@commands.command(
    short_help="End a job for good and keep its results.",
    epilog="Example: tuning stop digits -n team    The same with kubectl: set spec.cancel to true",
)
def stop(
    context: typer.Context,
    job: TuningJobArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
    namespace: NamespaceOption = None,
    cluster: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
) -> None:
    """End a job on a cluster for good: running trials write checkpoints and end as Cancelled, the best is kept.

    At a terminal it asks first, because it cannot be taken back. The TuningJob and its results stay until deleted.
    """
    from tuning_operator.cli import change

    output: Output = context.obj
    where = Where(namespace=namespace, context=cluster, kubeconfig=kubeconfig)

    def confirm(question: str) -> bool:
        return yes or not output.asks or typer.confirm(question, err=True)

    if not change.stop(job, where, output, confirm=confirm):
        output.note("Nothing was changed.")
        raise typer.Exit(ExitCode.INTERRUPTED)
