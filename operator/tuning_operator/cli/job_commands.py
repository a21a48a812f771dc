"""The commands that read a job, from a run directory of this machine or from a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuning_operator.cli.choice import (
    ContextOption,
    JobArgument,
    KubeconfigOption,
    NamespaceOption,
    RunsOption,
    Where,
)
from tuning_operator.cli.exits import ExitCode
from tuning_operator.cli.formats import DocumentFormat, TextFormat

if TYPE_CHECKING:
    from tuning_operator.cli.output import Output

commands = typer.Typer()
_TextStyle = Annotated[TextFormat, typer.Option("--output", "-o", help="How to write it.")]


@commands.command(
    short_help="Show how a job is doing, or list all jobs.",
    epilog="Example: tuning status digits    On a cluster: tuning status digits -n team    All jobs: tuning status -A",
)
def status(
    context: typer.Context,
    job: Annotated[
        str | None, typer.Argument(metavar="JOB", help="A run directory, a run under runs/, or a TuningJob.")
    ] = None,
    style: _TextStyle = TextFormat.TEXT,
    everywhere: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="List the jobs of all namespaces of the cluster.")
    ] = False,
    namespace: NamespaceOption = None,
    cluster: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    runs: RunsOption = None,
) -> None:
    """Show how a job is doing: counts, the best trial, learning-rate changes, compute used and saved.

    Without JOB, list the runs of this machine, or with -n, -A or --context the jobs of the cluster.
    """
    from tuning_operator.cli import documents
    from tuning_operator.cli.summary import summary

    output: Output = context.obj
    where = Where(runs=runs, namespace=namespace, context=cluster, kubeconfig=kubeconfig)
    if job is None:
        from tuning_operator.cli.listing import list_jobs

        list_jobs(where, everywhere=everywhere, style=style, output=output)
        return
    if everywhere:
        raise typer.BadParameter("-A lists the jobs of all namespaces; a single JOB is looked up with -n NAMESPACE")
    source = where.source(job)
    view = source.load(job)
    if style is not TextFormat.TEXT:
        output.raw(documents.render(documents.status_document(view), style))
        return
    for line in summary(view):
        output.line(line)
    output.line(f"Found in:   {source.where(job)}")


@commands.command(
    short_help="Watch a job live.",
    epilog="Example: tuning watch digits -n team",
)
def watch(
    context: typer.Context,
    job: JobArgument,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of a view that redraws itself.")] = False,
    namespace: NamespaceOption = None,
    cluster: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    runs: RunsOption = None,
) -> None:
    """Show a job live until it is over. Ctrl-C ends the view and leaves the job alone."""
    from tuning_operator.cli.watch import watch_job

    output: Output = context.obj
    source = Where(runs=runs, namespace=namespace, context=cluster, kubeconfig=kubeconfig).source(job)
    raise typer.Exit(watch_job(source, job, plain=plain, output=output))


@commands.command(
    short_help="Print the best parameters.",
    epilog="Example: tuning best digits > best.yaml    On a cluster: tuning best digits -n team -o json",
)
def best(
    context: typer.Context,
    job: JobArgument,
    style: Annotated[DocumentFormat, typer.Option("--output", "-o", help="How to write it.")] = DocumentFormat.YAML,
    namespace: NamespaceOption = None,
    cluster: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    runs: RunsOption = None,
) -> None:
    """Print the best parameters and nothing else, to be piped on."""
    from tuning_operator.cli import documents
    from tuning_operator.cli.summary import steering_sentences

    output: Output = context.obj
    view = Where(runs=runs, namespace=namespace, context=cluster, kubeconfig=kubeconfig).source(job).load(job)
    if view.best is None:
        output.error(f"no trial of {view.name} has a finite {view.spec.objective.metric} yet")
        raise typer.Exit(ExitCode.NO_RESULT)
    output.raw(documents.render(documents.plain_mapping(view.best.parameters), style))
    for sentence in steering_sentences(view, view.best):
        output.note(f"trial {view.best.number}: {sentence}")


@commands.command(
    short_help="Tell every decision on a trial.",
    epilog="Example: tuning explain digits 7    On a cluster: tuning explain digits 7 -n team",
)
def explain(
    context: typer.Context,
    job: JobArgument,
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="Number or name of a trial.")],
    style: _TextStyle = TextFormat.TEXT,
    namespace: NamespaceOption = None,
    cluster: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    runs: RunsOption = None,
) -> None:
    """Tell every decision on a trial with its numbers, or why there was none."""
    from tuning_operator.cli import documents
    from tuning_operator.cli import explain as explaining

    output: Output = context.obj
    view = Where(runs=runs, namespace=namespace, context=cluster, kubeconfig=kubeconfig).source(job).load(job)
    found = explaining.find_trial(view, trial)
    if style is not TextFormat.TEXT:
        output.raw(documents.render(explaining.explain_document(view, found), style))
        return
    for line in explaining.explain(view, found):
        output.line(line)


@commands.command(
    short_help="Write the report: pictures, decisions, trials.",
    epilog="Example: tuning report digits --open    On a cluster: tuning report digits -n team -o digits.html",
)
def report(
    context: typer.Context,
    job: JobArgument,
    target: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The page.  [default: report.html in the run directory; JOB-report.html here for a TuningJob]",
        ),
    ] = None,
    table: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Also write one row a trial.")] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    namespace: NamespaceOption = None,
    cluster: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    runs: RunsOption = None,
) -> None:
    """Write one self-contained page with every picture and every decision of a job."""
    from tuning_operator.cli.run_job import write_text

    output: Output = context.obj
    source = Where(runs=runs, namespace=namespace, context=cluster, kubeconfig=kubeconfig).source(job)
    page_path = target or source.report_path(job)
    view = source.load(job)

    from tuning_operator.cli.report.page import page

    write_text(page_path, page(view))
    output.line(f"Report: {page_path}")
    if table is not None:
        from tuning_operator.cli.results import results_csv

        write_text(table, results_csv(view))
        output.line(f"Table:  {table}")
    if show:
        typer.launch(page_path.resolve().as_uri())
