"""``tuning convert``: the TuningJob to standard output or a file, the table to standard error."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from tuning_operator.cli.convert.conversion import Conversion, convert
from tuning_operator.cli.convert.report import Outcome
from tuning_operator.cli.convert.settings import Settings
from tuning_operator.cli.exits import ExitCode
from tuning_operator.errors import ManifestError, Problem

if TYPE_CHECKING:
    from rich.table import Table

    from tuning_operator.cli.output import Output

_STYLES: Final = {Outcome.CONVERTED: "green", Outcome.WARNING: "yellow", Outcome.REFUSED: "bold red"}


def convert_file(file: Path, *, target: Path | None, settings: Settings, force: bool, output: Output) -> ExitCode:
    """Convert a file, or standard input for ``-``.

    Raises:
        ManifestError: It cannot be read, or is of a kind that is not known.
    """
    found = convert(_read(file), settings, source=str(file))
    output.note_table(table(found))
    refused, warned = found.of(Outcome.REFUSED), found.of(Outcome.WARNING)
    output.note(f"{len(found.of(Outcome.CONVERTED))} converted, {len(warned)} with a warning, {len(refused)} refused.")
    if found.manifest is None:
        output.error("nothing was written: the rest is no TuningJob that could run")
        return ExitCode.USAGE
    if refused and not force:
        output.error("nothing was written; do what the refused lines say, or write the rest with --force")
        return ExitCode.USAGE
    text = render(found, source=file.name)
    if target is None:
        output.raw(text)
    else:
        target.write_text(text, encoding="utf-8", newline="\n")
        output.note(f"Written to {target}; look at it with: tuning validate {target}")
    return ExitCode.OK


def render(found: Conversion, *, source: str) -> str:
    """Return the TuningJob as YAML, with what is left to do as comments above it."""
    head = [f"# Converted from {source} by `tuning convert`."]
    open_rows = [*found.of(Outcome.REFUSED), *found.of(Outcome.WARNING)]
    head += [f"# {row.outcome}: {row.path}: {row.note}" for row in open_rows]
    body = yaml.safe_dump(dict(found.manifest or {}), sort_keys=False, allow_unicode=True, width=110)
    return "\n".join(head) + "\n" + body


def table(found: Conversion) -> Table:
    """Return what became of each field."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    drawn.add_column("field", overflow="fold", ratio=3)
    drawn.add_column("outcome", no_wrap=True)
    drawn.add_column("in the TuningJob", overflow="fold", ratio=3)
    drawn.add_column("what to know", overflow="fold", ratio=4)
    for row in found.rows:
        drawn.add_row(
            Text(row.path.removeprefix("spec.").removeprefix("trialTemplate.")),
            Text(row.outcome, style=_STYLES[row.outcome]),
            Text(row.became),
            Text(row.note),
        )
    return drawn


def _read(file: Path) -> Any:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        documents = [one for one in yaml.safe_load_all(text) if one is not None]
    except OSError as error:
        why = f"the file cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        why = "the file cannot be read: it is not UTF-8 text"
    except yaml.YAMLError as error:
        why = f"it is no YAML: {error}".replace("\n", " ")
    else:
        if len(documents) == 1:
            return documents[0]
        why = f"it holds {len(documents)} documents; expected one"
    raise ManifestError([Problem(path="", expected=why)], source=str(file))
