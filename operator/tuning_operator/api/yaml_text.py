"""Reading YAML so that it means here what it means on a cluster, and so that mistakes have a line; writing it likewise.

Kubernetes reads ``1e-5`` as a number and dates as words; YAML 1.1, which PyYAML implements, does neither. Words that
YAML 1.1 turns into truth values (``on``, ``yes``), numbers with a leading zero and repeated keys are refused: readers
of YAML disagree about them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from tuning_operator.errors import Problem

At = tuple[str | int, ...]
"""A place in the data: fields and positions."""

_AMBIGUOUS: Final = "!ambiguous"
_NUMBER = re.compile(
    r"^[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"
)
_WHOLE = re.compile(r"^[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$")
_LEADING_ZERO = re.compile(r"^[-+]?0[0-9_]+$")
_TRUTH = re.compile(r"^(true|True|TRUE|false|False|FALSE)$")
_WORD_OF_TRUTH = re.compile(r"^(yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)$")


class _Loader(yaml.SafeLoader):
    """Resolves plain words by the rules below alone."""


_Loader.yaml_implicit_resolvers = {}


class _Dumper(yaml.SafeDumper):
    """Quotes every string that the rules below, or those of YAML 1.1, would not read as one."""


for _tag, _pattern, _first in (
    ("tag:yaml.org,2002:bool", _TRUTH, "tTfF"),
    (_AMBIGUOUS, _WORD_OF_TRUTH, "yYnNoO"),
    (_AMBIGUOUS, _LEADING_ZERO, "-+0"),
    ("tag:yaml.org,2002:int", _WHOLE, "-+0123456789"),
    ("tag:yaml.org,2002:float", _NUMBER, "-+.0123456789"),
    ("tag:yaml.org,2002:null", re.compile(r"^(~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:merge", re.compile(r"^<<$"), "<"),
):
    _Loader.add_implicit_resolver(_tag, _pattern, list(_first))
    _Dumper.add_implicit_resolver(_tag, _pattern, list(_first))
_Loader.add_constructor(_AMBIGUOUS, lambda _, node: node.value)


@dataclass
class Document:
    """One document of a file.

    Attributes:
        lines: Line of every place in the data, counted from 1.
        problems: What is wrong with the text itself.
    """

    data: Any
    line: int
    lines: dict[At, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def read(text: str) -> list[Document]:
    """Return the documents of a file that are not empty.

    Raises:
        yaml.YAMLError: Not YAML.
    """
    loader = _Loader(text)
    documents = []
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is None:
                continue
            document = Document(None, node.start_mark.line + 1)
            if _walk(node, (), document, frozenset()):
                document.data = loader.construct_document(node)
            if document.data is not None or document.problems:
                documents.append(document)
    finally:
        loader.dispose()
    return documents


def write(data: object) -> str:
    """Return a document that `read`, and every other reader of YAML, turns into the same data."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def syntax_problem(error: yaml.YAMLError) -> Problem:
    """Return a YAML error as a problem with line and column."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    context = getattr(error, "context", None)
    where = "" if mark is None else f" at column {mark.column + 1}"
    hint = "indent with spaces; tabs are not allowed" if "\\t" in what else ""
    sentence = f"this is not YAML{where}: {what}" + (f" ({context})" if context else "")
    return Problem(path="", expected=sentence, suggestion=hint, line=None if mark is None else mark.line + 1)


def _walk(node: yaml.Node, at: At, document: Document, above: frozenset[int]) -> bool:
    """Note lines and problems; return whether the data can be built at all."""
    line = node.start_mark.line + 1
    if id(node) in above:
        document.problems.append(Problem(path="", expected="an alias refers to itself", line=line, at=at))
        return False
    document.lines.setdefault(at, line)
    inside = above | {id(node)}
    usable = True
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            usable &= _walk(item, (*at, index), document, inside)
    elif isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
            key_line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag not in _KEY_TAGS:
                document.problems.append(
                    Problem(path="", found=f"the key {name}", expected="a word; put it in quotes", line=key_line, at=at)
                )
                usable = False
                continue
            if name in first and key.tag != _MERGE:
                document.problems.append(
                    Problem(
                        path="",
                        expected=f"{name} is given twice, first in line {first[name]}; keep one of them",
                        line=key_line,
                        at=(*at, name),
                    )
                )
            first.setdefault(name, key_line)
            document.lines[*at, name] = key_line
            usable &= _walk(value, (*at, name), document, inside)
    elif node.tag == _AMBIGUOUS:
        number = _LEADING_ZERO.match(node.value)
        document.problems.append(
            Problem(
                path="",
                found=node.value,
                expected="a number without a leading zero" if number else "true or false",
                suggestion=f'write "{node.value}" if you mean the word',
                line=line,
                at=at,
            )
        )
    return usable


_MERGE: Final = "tag:yaml.org,2002:merge"
_KEY_TAGS: Final = frozenset({"tag:yaml.org,2002:str", _MERGE, _AMBIGUOUS})


def walk(data: object, at: At = ()) -> Iterator[tuple[At, object]]:
    """Yield every place that holds neither a mapping nor a list, with what it holds."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from walk(value, (*at, key))
    elif isinstance(data, list | tuple):
        for index, value in enumerate(data):
            yield from walk(value, (*at, index))
    else:
        yield at, data
