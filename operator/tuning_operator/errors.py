"""What the operator and the command line raise; the tree's root is `trial_protocol.errors.TuningError`.

TuningError
 ├─ ManifestError          a manifest with mistakes: all of them, each with its path and its fix
 ├─ SchemaError            a model that Kubernetes could not serve, found when CRDs are generated
 ├─ SearchSpaceExhausted   every configuration of a finite space has been proposed
 ├─ SamplerUnavailable     a search algorithm whose library is not installed here
 ├─ LogError               a recorded run that cannot be read or does not belong to this job
 ├─ ScrapeError            a trial's answer that could not be had or read
 │   └─ ScrapeTimeout      a trial that did not answer in time
 ├─ BackendError           trials cannot be run here, with the reason
 │   └─ TrialNotStarted    one trial's process could not be made
 ├─ RunNotFound            no run of that name; the text suggests the nearest
 └─ WrongState             a job that is not in the state that a command needs
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trial_protocol.errors import TuningError


class SchemaError(TuningError):
    """A model has no structural schema; the text names the place and the fix."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One mistake in a manifest.

    Attributes:
        path: Where, in the user's terms: ``spec.parameters[lr].min``; empty for the file as a whole.
        found: What is there; empty where the sentence in `expected` says it.
        expected: What is allowed, or the whole sentence.
        suggestion: The nearest right name, or another fix; may be empty.
        line: Line in the source, counted from 1, where known.
        at: The path in fields and positions, as in the data.
    """

    path: str
    found: str = ""
    expected: str
    suggestion: str = ""
    line: int | None = None
    at: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        sentence = f"found {self.found}, expected {self.expected}" if self.found else self.expected
        place = f"{self.path}: " if self.path else ""
        fix = f"; {self.suggestion}" if self.suggestion else ""
        return f"{place}{sentence}{fix}"


class ManifestError(TuningError):
    """A manifest with mistakes: all of them, one a line.

    Attributes:
        problems: The mistakes, in the order of the source.
        source: Name of the file, for people.
    """

    def __init__(self, problems: Iterable[Problem], *, source: str) -> None:
        self.problems = tuple(problems)
        self.source = source
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """Return one line a problem: file, line where known, and the sentence."""
        return [
            f"{self.source}{'' if problem.line is None else f':{problem.line}'}: {problem}" for problem in self.problems
        ]


class SearchSpaceExhausted(TuningError):
    """Every configuration of a finite search space has been proposed already."""


class SamplerUnavailable(TuningError):
    """The search algorithm needs a library that is not installed here."""


class LogError(TuningError):
    """A recorded run cannot be read, or belongs to another job."""


class ScrapeError(TuningError):
    """A trial's answer could not be had or read."""


class ScrapeTimeout(ScrapeError):
    """A trial did not give its whole answer in time."""


class BackendError(TuningError):
    """Trials cannot be run here."""


class TrialNotStarted(BackendError):
    """One trial's process could not be made."""


class RunNotFound(TuningError):
    """No run of that name, or no run directory at that path."""


class WrongState(TuningError):
    """A job is not in the state that a command needs, for example over already."""


__all__ = [
    "BackendError",
    "LogError",
    "ManifestError",
    "Problem",
    "RunNotFound",
    "SamplerUnavailable",
    "SchemaError",
    "ScrapeError",
    "ScrapeTimeout",
    "SearchSpaceExhausted",
    "TrialNotStarted",
    "TuningError",
    "WrongState",
]
