"""How the conformance checks speak to a trial: plain HTTP, and every surprise is a sentence."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlencode, urlsplit

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from trial_protocol import names
from trial_protocol.errors import ProtocolError
from trial_protocol.history import HistoryRecord, parse_history


class Failed(ProtocolError):
    """A check found the trial wanting; the text says what it did."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def body(self) -> Mapping[str, object]:
        """The JSON object in the body; empty if there is none."""
        try:
            parsed = json.loads(self.text)
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}

    def __str__(self) -> str:
        return f"{self.status} {self.text[:160]!r}"


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """One scrape: the samples without labels, and the steps at which reported metrics were measured."""

    samples: Mapping[str, float]
    evaluation_steps: Mapping[str, float]
    open_metrics: bool
    cursor: str = ""
    """Of the history's end, where the answer says it."""

    def value(self, name: str) -> float:
        """Return one sample.

        Raises:
            Failed: It is not exported.
        """
        if name not in self.samples:
            raise Failed(f"GET /metrics does not export {name}")
        return self.samples[name]


@dataclass(frozen=True, kw_only=True)
class HistoryPage:
    """One answer of `GET /history`."""

    records: Sequence[HistoryRecord]
    cursor: str


class TrialClient:
    """Asks one trial.

    Raises:
        Failed: From every method, when no answer can be had or it cannot be read.
    """

    def __init__(self, base_url: str, *, timeout: float) -> None:
        parts = urlsplit(base_url)
        if parts.scheme != "http" or not parts.hostname:
            raise ProtocolError(f"expected an address such as http://127.0.0.1:8080; it is {base_url!r}")
        self._host, self._port, self._timeout = parts.hostname, parts.port or 80, timeout

    def get(self, path: str, *, accept: str = "*/*") -> Answer:
        """Send one GET request."""
        return self._request("GET", path, headers={"Accept": accept})

    def put_control(self, token: str) -> Answer:
        """Send one control token."""
        return self._request(
            "PUT", names.PATH_CONTROL, body=token.encode(), headers={"Content-Type": "application/jwt"}
        )

    def metrics(
        self, *, window: str = "conformance", requested: Sequence[str] = (), accept: str = "text/plain"
    ) -> Metrics:
        """Scrape."""
        query = [(names.QUERY_WINDOW, window), *((names.QUERY_NAMES, name) for name in requested)]
        answer = self._succeed(f"{names.PATH_METRICS}?{urlencode(query)}", accept=accept)
        content_type = answer.headers.get("content-type", "")
        open_metrics = content_type.startswith("application/openmetrics-text")
        if not open_metrics and not content_type.startswith("text/plain"):
            raise Failed(f"GET /metrics says that it is {content_type or 'of no content type'}, which nobody scrapes")
        try:
            families = list((parse_open_metrics if open_metrics else parse_text)(answer.text))
        except (ValueError, KeyError, IndexError) as error:
            raise Failed(f"GET /metrics is not the {content_type} that it says: {error}") from None
        samples: dict[str, float] = {}
        steps: dict[str, float] = {}
        for sample in (sample for family in families for sample in family.samples):
            if sample.name == names.METRIC_EVALUATION_STEP:
                steps[sample.labels.get(names.LABEL_METRIC, "")] = sample.value
            elif not sample.labels:
                samples[sample.name] = sample.value
        cursor = answer.headers.get(names.HEADER_NEXT.lower(), "")
        return Metrics(samples=samples, evaluation_steps=steps, open_metrics=open_metrics, cursor=cursor)

    def history(self, *, after: int | None = None, cursor: str | None = None, limit: int | None = None) -> HistoryPage:
        """Ask for the history; without a limit all pages of it, but not for ever what is added meanwhile."""
        records: list[HistoryRecord] = []
        largest = 0
        while True:
            given = {names.QUERY_AFTER: after, names.QUERY_CURSOR: cursor, names.QUERY_LIMIT: limit}
            query = urlencode({name: value for name, value in given.items() if value is not None})
            answer = self._succeed(f"{names.PATH_HISTORY}?{query}")
            try:
                page = parse_history(answer.text)
            except ProtocolError as error:
                raise Failed(f"GET /history is not JSON lines of evaluations: {error}") from None
            records += page
            following = answer.headers.get(names.HEADER_NEXT.lower(), "")
            largest = max(largest, len(page))
            if limit is not None or len(page) < largest or not page or following in ("", cursor):
                return HistoryPage(records=records, cursor=following)
            cursor = following

    @contextmanager
    def unfinished_request(self) -> Iterator[None]:
        """Hold a connection on which half a request was sent."""
        try:
            connection = socket.create_connection((self._host, self._port), timeout=self._timeout)
        except OSError as error:
            raise Failed(f"no connection to {self._host}:{self._port}: {error}") from None
        with connection:
            connection.sendall(b"GET /metr")
            yield

    def _succeed(self, path: str, *, accept: str = "*/*") -> Answer:
        answer = self.get(path, accept=accept)
        if answer.status != 200:
            raise Failed(f"GET {path} was answered with {answer}, not with 200")
        return answer

    def _request(self, method: str, path: str, *, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        connection = HTTPConnection(self._host, self._port, timeout=self._timeout)
        try:
            connection.request(method, path, body=body, headers=dict(headers))
            response = connection.getresponse()
            text = response.read().decode("utf-8")
            return Answer(
                status=response.status, headers={key.lower(): value for key, value in response.getheaders()}, text=text
            )
        except (OSError, HTTPException, UnicodeDecodeError) as error:
            raise Failed(f"{method} {path} was not answered: {type(error).__name__}: {error}") from None
        finally:
            connection.close()
