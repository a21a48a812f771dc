"""The `tuning` command. Each command imports what it needs when it runs, so that help and completion stay instant."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from tuning_operator.cli import change_commands, file_commands, job_commands
from tuning_operator.cli.exits import EXIT_CODES, ExitCode, exit_code
from tuning_operator.errors import TuningError

app = typer.Typer(
    name="tuning",
    help="Tune hyperparameters by reading training curves while they grow: stop, pause or re-steer trials.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # Drawing help with rich takes longer than everything else together.
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (file_commands, job_commands, change_commands):
    app.add_typer(part.commands)


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
