"""From a manifest's text to a TuningJob, or to all of its mistakes at once.

`draft_manifest` keeps what could be read next to the mistakes, so that other rooms can add theirs before anything is
raised: `tuning_operator.search.check.load_job` does so for the search space, and is what a command should call.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml
from pydantic import ValidationError

from tuning_operator.api.metadata import API_VERSION
from tuning_operator.api.problems import nearest, path_text, problems_of, show
from tuning_operator.api.tuning_job import TuningJob
from tuning_operator.api.yaml_text import At, read, syntax_problem, walk
from tuning_operator.errors import ManifestError, Problem

_KIND = "TuningJob"


@dataclass
class Draft:
    """A manifest as far as it could be read.

    Attributes:
        data: The manifest as plain data; None if there is none.
        job: The job, if its fields are right.
        problems: The mistakes so far.
    """

    source: str
    data: Any = None
    job: TuningJob | None = None
    problems: list[Problem] = field(default_factory=list)
    lines: Mapping[At, int] = field(default_factory=dict)

    def add(self, problems: Iterable[Problem]) -> None:
        """Add mistakes, with paths and lines filled in where they lack them."""
        for problem in problems:
            path = problem.path or path_text(problem.at, self.data)
            self.problems.append(replace(problem, path=path, line=problem.line or self._line(problem.at)))

    def finish(self) -> TuningJob:
        """Return the job.

        Raises:
            ManifestError: There are mistakes.
        """
        if self.problems or self.job is None:
            ordered = sorted(self.problems, key=lambda problem: problem.line or 0)
            raise ManifestError(ordered, source=self.source)
        return self.job

    def _line(self, at: At) -> int | None:
        while at not in self.lines and at:
            at = at[:-1]
        return self.lines.get(at)


def parse_manifest(text: str | Mapping[str, Any], *, source: str = "manifest") -> TuningJob:
    """Return the TuningJob of a manifest, given as YAML or as data; the search space is not looked into.

    Raises:
        ManifestError: All mistakes at once.
    """
    return draft_manifest(text, source=source).finish()


def draft_manifest(text: str | Mapping[str, Any], *, source: str = "manifest") -> Draft:
    """Read a manifest as far as possible; never raises for a mistake in it."""
    draft = Draft(source)
    if isinstance(text, str):
        if not _read(text, draft):
            return draft
    else:
        draft.data = dict(text)
    if not isinstance(draft.data, Mapping):
        draft.add(
            [Problem(path="", found=show(draft.data), expected="a TuningJob, which begins with apiVersion and kind")]
        )
        return draft
    draft.add(_identity(draft.data))
    if any(problem.at == ("kind",) and not problem.suggestion for problem in draft.problems):
        return draft  # Another kind of object: its fields would only be noise.
    draft.add(_not_finite(draft.data))
    try:
        job = TuningJob.model_validate(
            {**draft.data, "apiVersion": API_VERSION, "kind": _KIND}, by_alias=True, by_name=False
        )
    except ValidationError as error:
        said = {problem.at for problem in draft.problems}
        problems = problems_of(error.errors(include_url=False), draft.data)
        draft.add(problem for problem in problems if problem.at not in said)
    else:
        draft.job = job
    draft.add(_cross_field(draft.data))
    return draft


def _read(text: str, draft: Draft) -> bool:
    try:
        documents = read(text)
    except yaml.YAMLError as error:
        draft.add([syntax_problem(error)])
        return False
    if not documents:
        draft.add([Problem(path="", expected="the file is empty; expected a TuningJob")])
        return False
    if len(documents) > 1:
        lines = ", ".join(str(document.line) for document in documents)
        draft.add(
            [
                Problem(
                    path="",
                    found=f"{len(documents)} documents, at the lines {lines}",
                    expected="one TuningJob; put each object into a file of its own",
                )
            ]
        )
        return False
    document = documents[0]
    draft.data, draft.lines = document.data, document.lines
    draft.add(document.problems)
    return document.data is not None


def _identity(data: Mapping[str, Any]) -> Iterable[Problem]:
    for name, allowed in (("apiVersion", API_VERSION), ("kind", _KIND)):
        value = data.get(name)
        if value != allowed:
            yield Problem(path=name, found=show(value), expected=allowed, at=(name,),
                          suggestion=nearest(value, [allowed]) if value is not None else "add it")  # fmt: skip


def _not_finite(data: Mapping[str, Any]) -> Iterable[Problem]:
    for at, value in walk(data):
        if isinstance(value, float) and not math.isfinite(value) and at[:3] != ("spec", "trial", "template"):
            yield Problem(path="", found=show(value), expected="a finite number", at=at)


def _cross_field(data: Mapping[str, Any]) -> Iterable[Problem]:
    """Mistakes between fields, looked for in the data so that they are found next to others."""
    spec = _mapping(data.get("spec"))
    metric = _mapping(spec.get("objective")).get("metric")
    axis = _mapping(spec.get("axis")).get("metric", "train_step")
    if metric is not None and metric == axis:
        yield _sentence(
            ("spec", "axis", "metric"),
            f"the axis and the objective are both {show(metric)}; the axis counts training, such as train_step, and "
            "the objective is what is to be made better",
        )
    seeds = _mapping(spec.get("evaluation")).get("seeds")
    own = _mapping(spec.get("search")).get("seed", 0)
    known: list[Any] = list(seeds) if isinstance(seeds, list | tuple) else []
    for index, seed in enumerate(known):
        at: At = ("spec", "evaluation", "seeds", index)
        if seed in known[:index]:
            yield _sentence(at, f"seed {show(seed)} is given twice; each finalist is trained once with each seed")
        elif seed == own:
            yield _sentence(
                at,
                f"seed {show(seed)} is also spec.search.seed; finalists are judged on seeds that the search never saw",
            )


def _sentence(at: At, sentence: str) -> Problem:
    return Problem(path="", expected=sentence, at=at)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
