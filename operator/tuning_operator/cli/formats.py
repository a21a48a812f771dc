"""Names of the formats that commands can write; apart from the writers, so that help loads nothing else."""

from __future__ import annotations

from enum import StrEnum


class DocumentFormat(StrEnum):
    """How a document is written."""

    JSON = "json"
    YAML = "yaml"


class TextFormat(StrEnum):
    """How an answer is written when people may read it too."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"
