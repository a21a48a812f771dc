"""What became of each field of a foreign manifest, and a reader that forgets none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What became of a field."""

    CONVERTED = "converted"
    WARNING = "warning"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        path: Where, in the foreign manifest.
        became: What it is in the TuningJob; empty if nothing.
        note: What a person must know or do.
    """

    path: str
    outcome: Outcome
    became: str = ""
    note: str = ""


class Report:
    """The table, in the order of reading."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def converted(self, path: str, became: str, note: str = "") -> None:
        """A field means the same in the TuningJob."""
        self.rows.append(Row(path=path, outcome=Outcome.CONVERTED, became=became, note=note))

    def warn(self, path: str, became: str, note: str) -> None:
        """A field becomes something else, or nothing that would change a result."""
        self.rows.append(Row(path=path, outcome=Outcome.WARNING, became=became, note=note))

    def refuse(self, path: str, note: str) -> None:
        """A field cannot be converted; the note says what to do."""
        self.rows.append(Row(path=path, outcome=Outcome.REFUSED, note=note))

    def of(self, outcome: Outcome) -> list[Row]:
        """Return the rows with one outcome."""
        return [row for row in self.rows if row.outcome is outcome]


class Fields:
    """One mapping of a manifest, whose every field is to be taken; what is left over is refused by `finish`."""

    def __init__(self, data: object, path: str, report: Report) -> None:
        self.path = path
        self.report = report
        self._data: Mapping[str, Any] = data if isinstance(data, Mapping) else {}
        self._taken: set[str] = set()
        if data is not None and not isinstance(data, Mapping):
            report.refuse(path, "a mapping is expected here")

    def __contains__(self, name: str) -> bool:
        return self._data.get(name) is not None

    def at(self, name: str) -> str:
        """Return the path of a field."""
        return f"{self.path}.{name}" if self.path else name

    def take(self, name: str) -> Any:
        """Return a field, or None."""
        self._taken.add(name)
        return self._data.get(name)

    def text(self, name: str) -> str:
        """Return a field as text; empty if it is not there."""
        found = self.take(name)
        return "" if found is None else str(found)

    def fields(self, name: str) -> Fields:
        """Return a mapping below."""
        return Fields(self.take(name), self.at(name), self.report)

    def entries(self, name: str) -> Iterator[Fields]:
        """Yield the mappings of a list below, each under its name where it has one."""
        found = self.take(name)
        if found is not None and not isinstance(found, list):
            self.report.refuse(self.at(name), "a list is expected here")
            return
        for index, entry in enumerate(found or ()):
            named = entry.get("name", index) if isinstance(entry, Mapping) else index
            yield Fields(entry, f"{self.at(name)}[{named}]", self.report)

    def drop(self, note: str, *names: str) -> None:
        """Take fields that the TuningJob does not need, and say why."""
        for name in names:
            if self.take(name) is not None:
                self.report.warn(self.at(name), "", note)

    def finish(self) -> None:
        """Refuse what nobody has taken."""
        for name, value in self._data.items():
            if name not in self._taken and value is not None:
                self.report.refuse(self.at(name), "it is not known how to convert this field; take it out")
