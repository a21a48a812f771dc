"""The operator's log: lines for people, or one JSON object a line for those who collect logs."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

_TEXT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class LogFormat(StrEnum):
    """How a line looks."""

    TEXT = "text"
    JSON = "json"


class JsonFormatter(logging.Formatter):
    """Writes ``time`` (RFC 3339), ``level``, ``logger``, ``message`` and, of an error, ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        moment = datetime.fromtimestamp(record.created, tz=UTC)
        line = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up_logging(level: str, style: LogFormat) -> None:
    """Send all of the process's log to standard error.

    What kopf says of its own watch is left out but for errors: it is started anew whenever it ends.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if style is LogFormat.JSON else logging.Formatter(_TEXT))
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("kopf").setLevel(logging.DEBUG if level == "DEBUG" else logging.ERROR)
