"""The commands that begin with a manifest: run it here, check it, or convert it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tuning_operator.cli.output import Output

commands = typer.Typer()
ManifestArgument = Annotated[Path, typer.Argument(metavar="FILE", help="Manifest of a TuningJob.")]


@commands.command(
    short_help="Run a job on this machine.",
    epilog="Example: tuning run examples/digits.yaml    Continue: tuning run examples/digits.yaml --resume",
)
def run(
    context: typer.Context,
    file: ManifestArgument,
    directory: Annotated[
        Path | None, typer.Option("--directory", "-d", help="Where the run is kept.  [default: runs/NAME]")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was interrupted.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of a view that redraws itself.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the summary at the end.")] = False,
) -> None:
    """Run a job on this machine, then write its report.html and results.csv."""
    from tuning_operator.cli.run_job import run_job

    output: Output = context.obj
    raise typer.Exit(run_job(file, directory=directory, resume=resume, plain=plain, quiet=quiet, output=output))


@commands.command(
    short_help="Check a manifest and tell what the job would do.",
    epilog="Example: tuning validate examples/digits.yaml",
)
def validate(context: typer.Context, file: ManifestArgument) -> None:
    """Say all mistakes of a manifest at once, or what the job would do and when each rule may act."""
    from tuning_operator.cli.manifest import load
    from tuning_operator.cli.plan import plan

    output: Output = context.obj
    for line in plan(load(file)):
        output.line(line)


@commands.command(
    short_help="Convert a Katib Experiment or an OptimizationJob to a TuningJob.",
    epilog="Example: tuning convert experiment.yaml --total 2000 > job.yaml    "
    "From a cluster: kubectl get experiment digits -o yaml | tuning convert - --total 2000",
)
def convert(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The manifest; - reads standard input.")],
    target: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write it.  [default: standard output]"),
    ] = None,
    total: Annotated[
        float | None, typer.Option("--total", min=0, help="Length of a training, which Katib does not know.")
    ] = None,
    axis: Annotated[
        str, typer.Option("--axis", metavar="METRIC", help="Unit of that length: a counter that trials report.")
    ] = "train_step",
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, help="Trials in all, if the file sets no bound.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write it although something was refused.")] = False,
) -> None:
    """Convert a Katib Experiment or a Kubeflow OptimizationJob, and tell what became of each field."""
    from tuning_operator.cli.convert.command import convert_file
    from tuning_operator.cli.convert.settings import Settings

    settings = Settings(axis=axis, total=total, trials=trials)
    raise typer.Exit(convert_file(file, target=target, settings=settings, force=force, output=context.obj))
