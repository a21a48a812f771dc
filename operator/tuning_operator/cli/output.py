"""The one door to the terminal: everything that the command says goes through here.

Results go to standard output, everything about them to standard error. Colours and widths follow the terminal and
``NO_COLOR``; what another program reads (`Output.raw`) is never wrapped, coloured or cut.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.style import StyleType


class Output:
    """Where a command writes.

    Args:
        out: Standard output, or a stand-in.
        err: Standard error, or a stand-in.
        environment: Read for ``CI`` and ``NO_COLOR``.
        width: Fixes the width instead of asking the terminal.
    """

    def __init__(
        self,
        *,
        out: IO[str] | None = None,
        err: IO[str] | None = None,
        environment: Mapping[str, str] | None = None,
        width: int | None = None,
    ) -> None:
        self._environment = os.environ if environment is None else environment
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self.console = Console(file=self._out, width=width, highlight=False, emoji=False, markup=False)
        self._errors = Console(file=self._err, width=width, highlight=False, emoji=False, markup=False)

    @property
    def live(self) -> bool:
        """Whether a view that redraws itself makes sense: a colour terminal with a person in front of it."""
        quiet_place = self._environment.get("CI", "").lower() in ("1", "true", "yes")
        return self.console.is_terminal and not self.console.no_color and not quiet_place

    @property
    def asks(self) -> bool:
        """Whether there is a person to ask."""
        return sys.stdin.isatty() and self._errors.is_terminal

    def line(self, text: str = "", *, style: StyleType | None = None) -> None:
        """Write one line for a person; soft-wrapped by the terminal, never by us."""
        self.console.print(text, style=style, soft_wrap=True)

    def show(self, renderable: RenderableType) -> None:
        """Write a table or a panel that fits the terminal."""
        self.console.print(renderable)

    def raw(self, text: str) -> None:
        """Write text for another program, exactly as it is."""
        self._out.write(text if text.endswith("\n") else text + "\n")
        self._out.flush()

    def note(self, text: str) -> None:
        """Say something about the result on standard error."""
        self._errors.print(text, style="dim", soft_wrap=True)

    def note_table(self, renderable: RenderableType) -> None:
        """Show a table about the result on standard error."""
        self._errors.print(renderable)

    def error(self, text: str) -> None:
        """Say on standard error what went wrong."""
        self._errors.print(f"error: {text}", style="red", soft_wrap=True)
