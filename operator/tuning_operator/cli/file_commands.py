"""The commands that begin with a manifest: run it here, or check it."""

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
