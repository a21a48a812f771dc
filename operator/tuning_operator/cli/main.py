"""The `tuning` command. Each command imports what it needs when it runs, so that help and completion stay instant."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuning_operator.cli.exits import EXIT_CODES, ExitCode, exit_code
from tuning_operator.cli.formats import DocumentFormat, TextFormat
from tuning_operator.errors import TuningError

if TYPE_CHECKING:
    from tuning_operator.cli.output import Output

app = typer.Typer(
    name="tuning",
    help="Tune hyperparameters by reading training curves while they grow: stop, pause or re-steer trials.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Drawing help with rich takes longer than everything else together.
    context_settings={"help_option_names": ["-h", "--help"]},
)

RunsOption = Annotated[Path, typer.Option("--runs", help="Folder that holds runs, for jobs given by name.")]
JobArgument = Annotated[str, typer.Argument(metavar="DIR", help="A run directory, or the name of a job under runs/.")]
_RUNS = Path("runs")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        from tuning_operator.cli.output import Output

        Output().raw(f"tuning {version('tuning-operator')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,  # noqa: ARG001
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", help="Show the version and end.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Take in the options that stand before a command."""
    from tuning_operator.cli.output import Output

    context.obj = Output()


@app.command(
    short_help="Run a job on this machine.",
    epilog="Example: tuning run examples/digits.yaml    Continue: tuning run examples/digits.yaml --resume",
)
def run(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Manifest of a TuningJob.")],
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


@app.command(
    short_help="Check a manifest and tell what the job would do.",
    epilog="Example: tuning validate examples/digits.yaml",
)
def validate(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Manifest of a TuningJob.")],
) -> None:
    """Say all mistakes of a manifest at once, or what the job would do and when each rule may act."""
    from tuning_operator.cli.manifest import load
    from tuning_operator.cli.plan import plan

    output: Output = context.obj
    for line in plan(load(file)):
        output.line(line)


@app.command(
    short_help="Show how a job is doing.",
    epilog="Example: tuning status digits -o json",
)
def status(
    context: typer.Context,
    job: JobArgument,
    style: Annotated[TextFormat, typer.Option("--output", "-o", help="How to write it.")] = TextFormat.TEXT,
    runs: RunsOption = _RUNS,
) -> None:
    """Show how a job is doing: counts, the best trial, learning-rate changes, compute used and saved."""
    from tuning_operator.cli import documents
    from tuning_operator.cli.source import LocalRuns
    from tuning_operator.cli.summary import summary

    output: Output = context.obj
    view = LocalRuns(runs).load(job)
    if style is not TextFormat.TEXT:
        output.raw(documents.render(documents.status_document(view), style))
        return
    for line in summary(view):
        output.line(line)


@app.command(
    short_help="Print the best parameters.",
    epilog="Example: tuning best digits > best.yaml",
)
def best(
    context: typer.Context,
    job: JobArgument,
    style: Annotated[DocumentFormat, typer.Option("--output", "-o", help="How to write it.")] = DocumentFormat.YAML,
    runs: RunsOption = _RUNS,
) -> None:
    """Print the best parameters and nothing else, to be piped on."""
    from tuning_operator.cli import documents
    from tuning_operator.cli.source import LocalRuns
    from tuning_operator.cli.summary import steering_sentences

    output: Output = context.obj
    view = LocalRuns(runs).load(job)
    if view.best is None:
        output.error(f"no trial of {view.name} has a finite {view.spec.objective.metric} yet")
        raise typer.Exit(ExitCode.NO_RESULT)
    output.raw(documents.render(documents.plain_mapping(view.best.parameters), style))
    for sentence in steering_sentences(view, view.best):
        output.note(f"trial {view.best.number}: {sentence}")


@app.command(
    short_help="Tell every decision on a trial.",
    epilog="Example: tuning explain digits 7",
)
def explain(
    context: typer.Context,
    job: JobArgument,
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="Number or name of a trial.")],
    style: Annotated[TextFormat, typer.Option("--output", "-o", help="How to write it.")] = TextFormat.TEXT,
    runs: RunsOption = _RUNS,
) -> None:
    """Tell every decision on a trial with its numbers, or why there was none."""
    from tuning_operator.cli import documents
    from tuning_operator.cli import explain as explaining
    from tuning_operator.cli.source import LocalRuns

    output: Output = context.obj
    view = LocalRuns(runs).load(job)
    found = explaining.find_trial(view, trial)
    if style is not TextFormat.TEXT:
        output.raw(documents.render(explaining.explain_document(view, found), style))
        return
    for line in explaining.explain(view, found):
        output.line(line)


@app.command(
    short_help="Write the report: pictures, decisions, trials.",
    epilog="Example: tuning report digits --open",
)
def report(
    context: typer.Context,
    job: JobArgument,
    target: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The page.  [default: DIR/report.html]")
    ] = None,
    table: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Also write one row a trial.")] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    runs: RunsOption = _RUNS,
) -> None:
    """Write one self-contained page with every picture and every decision of a job."""
    from tuning_operator.cli.run_job import write_text
    from tuning_operator.cli.source import LocalRuns

    output: Output = context.obj
    source = LocalRuns(runs)
    page_path = target or source.directory(job) / "report.html"
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and end the process with an `ExitCode`; no traceback without ``--debug``."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    try:
        app(args=given, prog_name="tuning")
    except TuningError as error:
        _explain_error(str(error), debug=debug)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except OSError as error:
        _explain_error(f"{error.strerror or error}: {error.filename}" if error.filename else str(error), debug=debug)
        sys.exit(ExitCode.ENVIRONMENT)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        _explain_error(f"{what}. This is a mistake of the program; --debug shows where", debug=debug)
        sys.exit(ExitCode.INTERNAL)


def _explain_error(text: str, *, debug: bool) -> None:
    from tuning_operator.cli.output import Output

    output = Output()
    if debug:
        output.note(traceback.format_exc())
    for line in text.splitlines() or [text]:
        output.error(line)
