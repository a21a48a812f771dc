"""Requests to programs that nobody vouches for: every one is bounded in time and in size.

A trial is somebody else's program. It may answer a byte a second, a page without an end, a redirect to another machine
or a few bytes that unpack to gigabytes; none of it may cost more than one request's share of time and memory.
"""

from __future__ import annotations

import errno
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import aiohttp

from tuning_operator.errors import ScrapeError, ScrapeTimeout

_INFLATED: Final = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_HEADERS: Final = {
    "Accept": "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4,*/*;q=0.1",
    "Accept-Encoding": "identity",
    "User-Agent": "tuning-operator",
}

Query = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may cost.

    Attributes:
        connect: Seconds until the connection stands.
        total: Seconds for the whole answer.
        size: Bytes of an answer, unpacked; what comes after is not read.
    """

    connect: float = 2.0
    total: float = 5.0
    size: int = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer of any status.

    Attributes:
        cut: The answer went on beyond the limit.
    """

    status: int
    headers: Mapping[str, str]
    body: str
    cut: bool = False


class Fetcher:
    """One pool of connections for all trials; use it as an asynchronous context manager."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits: Final = limits or Limits()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, use_dns_cache=False),
            timeout=aiohttp.ClientTimeout(total=self.limits.total, sock_connect=self.limits.connect),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, url: str, query: Query = ()) -> Answer:
        """Return the answer to a GET.

        Raises:
            ScrapeError: There was none, in one sentence; so also for `put` and `post`.
        """
        return await self._request("GET", url, query=query)

    async def put(self, url: str, body: str) -> Answer:
        """Return the answer to a PUT."""
        return await self._request("PUT", url, body=body)

    async def post(self, url: str, form: Mapping[str, str], *, headers: Mapping[str, str]) -> Answer:
        """Return the answer to a POST of a form."""
        return await self._request("POST", url, body=dict(form), headers=headers)

    async def _request(
        self,
        method: str,
        url: str,
        *,
        query: Query = (),
        body: str | dict[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        if self._session is None:
            raise RuntimeError("a Fetcher is used inside `async with`")
        try:
            async with self._session.request(
                method, url, params=list(query), data=body, headers=headers, allow_redirects=False
            ) as response:
                content, cut = await self._read(response)
                return Answer(
                    status=response.status,
                    headers=response.headers.copy(),
                    body=content.decode("utf-8", "replace"),
                    cut=cut,
                )
        except TimeoutError:
            raise ScrapeTimeout(f"no whole answer within {self.limits.total:g} s") from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise ScrapeError(f"its certificate is not trusted: {error.certificate_error}"[:200]) from None
        except aiohttp.ClientConnectorError as error:
            if error.os_error.errno == errno.ECONNREFUSED:
                raise ScrapeError("connection refused") from None
            raise ScrapeError(f"no connection: {error.os_error.strerror or error.os_error}") from None
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientPayloadError):
            raise ScrapeError("the connection broke off in the middle of an answer") from None
        except (aiohttp.ClientError, ValueError) as error:
            reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
            raise ScrapeError(f"the answer is not HTTP: {reason}") from None

    async def _read(self, response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
        """Read and unpack up to the limit; closing an unfinished answer drops its connection."""
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in _INFLATED and encoding not in ("", "identity"):
            raise ScrapeError(f"the answer is packed with {encoding[:40]}, which was not asked for")
        inflate = zlib.decompressobj(_INFLATED[encoding]) if encoding in _INFLATED else None
        content = bytearray()
        async for chunk in response.content.iter_any():
            room = self.limits.size + 1 - len(content)
            try:
                content += chunk[:room] if inflate is None else inflate.decompress(chunk, room)
            except zlib.error as error:
                raise ScrapeError(f"the answer cannot be unpacked: {error}") from None
            if len(content) > self.limits.size:
                response.close()
                return bytes(content[: self.limits.size]), True
        return bytes(content), False
