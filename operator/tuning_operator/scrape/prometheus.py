"""One Prometheus server and the one question that is put to it: `POST /api/v1/query`.

The API is that of https://prometheus.io/docs/prometheus/latest/querying/api/; Thanos, Mimir and VictoriaMetrics answer
it too. A range selector (``metric[60s]``) returns the samples as they were scraped, each with the time of its scrape.
`query_range` would interpolate and look back.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tuning_operator.errors import ScrapeError
from tuning_operator.scrape.fetch import Answer, Fetcher, Limits

LIMITS: Final = Limits(connect=3.0, total=15.0, size=32 << 20)
FIELD: Final = "spec.metrics.prometheus"
_PATH: Final = "/api/v1/query"
_TIMEOUT: Final = "10s"
"""After which the server gives a question up by itself."""
_LONGEST: Final = 300


class TooMuch(ScrapeError):
    """The answer is larger than an answer may be; ask for less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The server that the operator was set up with.

    Attributes:
        token_file: Holds a bearer token; read anew for each question, since tokens are replaced while they are used.
    """

    url: str
    token_file: Path


@dataclass(frozen=True, slots=True)
class Series:
    """The samples of one series as they came: pairs of a time in seconds and a value as text, oldest first."""

    labels: Mapping[str, str]
    pairs: Sequence[Any]

    def newer(self, after: int) -> Iterator[tuple[int, float]]:
        """Return the samples after a time in milliseconds since the epoch by the server's clock, newest first.

        Most samples are known already, for questions overlap; only the others are looked into.

        Raises:
            ScrapeError: A sample is not one.
        """
        for pair in reversed(self.pairs):
            try:
                time = round(float(pair[0]) * 1000)
                if time <= after:
                    return
                value = float(pair[1])
            except (ValueError, TypeError, LookupError):
                raise ScrapeError(f"{FIELD}.url: a sample of its answer cannot be read: {str(pair)[:40]}") from None
            yield time, value


class PrometheusServer:
    """A server by its base address, path prefix included.

    Args:
        access: Whose token is sent; only to the very server it names, whatever a job names.

    Attributes:
        warning: What the server had to remark about its last answer, such as a store that did not answer.
    """

    def __init__(self, fetcher: Fetcher, *, url: str, access: Access | None = None) -> None:
        self.url: Final = url.rstrip("/")
        self.warning = ""
        self._fetcher = fetcher
        self._token_file = access.token_file if access is not None and access.url.rstrip("/") == self.url else None

    async def query(self, expression: str) -> list[Series]:
        """Return the series that an expression selects.

        Raises:
            TooMuch: The answer would be too large.
            ScrapeError: There is no answer that can be used; the sentence begins with the field of the manifest.
        """
        form = {"query": expression, "timeout": _TIMEOUT}
        try:
            answer = await self._fetcher.post(self.url + _PATH, form, headers=await self._headers())
        except ScrapeError as error:
            raise ScrapeError(f"{FIELD}.url: {self.url} cannot be asked: {error}") from None
        if answer.cut:
            raise TooMuch(self._said(f"its answer is larger than {self._fetcher.limits.size >> 20} MiB"))
        return self._series(answer)

    async def _headers(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        try:
            token = await asyncio.to_thread(self._token_file.read_text)
        except OSError as error:
            raise ScrapeError(f"the token {self._token_file} cannot be read: {error.strerror}") from None
        return {"Authorization": f"Bearer {token.strip()}"}

    def _series(self, answer: Answer) -> list[Series]:
        try:
            body = json.loads(answer.body)
            is_answer = body["status"] in ("success", "error")
        except (ValueError, KeyError, TypeError):
            is_answer = False
        if not is_answer:
            raise ScrapeError(self._said(_foreign(answer)))
        if body["status"] == "error":
            sentence = f"{body.get('errorType', 'error')}: {body.get('error', '')}"[:_LONGEST]
            kind = TooMuch if "too many samples" in sentence else ScrapeError
            raise kind(self._said(f"it answered {answer.status}, {sentence}"))
        warnings = body.get("warnings") or ()
        self.warning = str(warnings[0])[:_LONGEST] if warnings else ""
        try:
            return [_parse(one) for one in body["data"]["result"]]
        except (ValueError, KeyError, TypeError):
            raise ScrapeError(self._said("its answer does not follow Prometheus' API")) from None

    def _said(self, sentence: str) -> str:
        return f"{FIELD}.url: {self.url}: {sentence}"


def selector(
    names: Collection[str], *, objective: str, namespace: str, pods: Collection[str], matchers: Mapping[str, str]
) -> str:
    """Return the selector of these metrics of these pods; no names are all names.

    Series with the label ``metric``, by which a trial tells its evaluations apart, are wanted for the objective only.
    """
    parts = [f'__name__=~"{"|".join(names)}"', f'metric=~"|{objective}"'] if names else []
    parts += [f"namespace={_quoted(namespace)}", f'pod=~"{"|".join(pod.replace(".", "[.]") for pod in pods)}"']
    parts += [f"{label}={_quoted(value)}" for label, value in matchers.items()]
    return f"{{{','.join(parts)}}}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _parse(one: Any) -> Series:
    pairs = one["values"] if "values" in one else [one["value"]] if "value" in one else []
    if not isinstance(one["metric"], dict) or not isinstance(pairs, list):
        raise TypeError
    return Series(one["metric"], pairs)


def _foreign(answer: Answer) -> str:
    """Say what is wrong with an answer that is none of Prometheus; its text is somebody else's and is not shown."""
    status = f"it answered {answer.status}"
    if answer.status in (401, 403):
        return (
            f"{status}: it wants to know who asks; the operator sends a token only to the server of its own option "
            "--prometheus-url"
        )
    if 300 <= answer.status < 400:
        return f"{status}: it sends elsewhere, which is not followed; name the address behind it"
    if answer.status >= 500:
        return f"{status}: it does not work now"
    kind = answer.headers.get("Content-Type", "no type").partition(";")[0][:40]
    return (
        f"{status} to {_PATH} with {kind}, which is no answer of Prometheus; give its base address, with its path "
        "prefix if it has one"
    )
