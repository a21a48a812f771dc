"""Every request is bounded, whatever the other side does."""

from __future__ import annotations

import asyncio
import gzip
import time
import zlib

import pytest
from tests.unit.scrape.servers import Talk, answers, server

from tuning_operator.errors import ScrapeError, ScrapeTimeout
from tuning_operator.scrape.fetch import Answer, Fetcher, Limits

QUICK = Limits(connect=0.3, total=0.3, size=10_000)


async def get(talk: Talk, limits: Limits = QUICK) -> Answer:
    async with server(talk) as url, Fetcher(limits) as fetcher:
        return await fetcher.get(f"{url}/metrics")


async def test_an_answer_comes_whole() -> None:
    answer = await get(answers("eval_loss 1\n", headers="Tuning-Next: 5\r\n"))
    assert (answer.status, answer.body, answer.cut) == (200, "eval_loss 1\n", False)
    assert answer.headers["tuning-next"] == "5"


async def test_a_byte_a_second_is_cut_off() -> None:
    async def drip(request: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(1000):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    began = time.perf_counter()
    with pytest.raises(ScrapeTimeout, match=r"within 0\.3 s"):
        await get(drip)
    assert time.perf_counter() - began < 2.0


async def test_silence_is_cut_off() -> None:
    async def silent(request: str, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    with pytest.raises(ScrapeTimeout):
        await get(silent)


async def test_fifty_megabytes_are_not_read() -> None:
    sent = 0

    async def endless(request: str, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 52428800\r\n\r\n")
        for _ in range(800):
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    answer = await get(endless, Limits(total=5.0, size=1 << 20))
    assert answer.cut
    assert len(answer.body) == 1 << 20
    assert sent < 20 << 20


@pytest.mark.parametrize(
    ("packed", "encoding"), [(gzip.compress(b"y" * 50_000_000), "gzip"), (zlib.compress(b"y" * 50_000_000), "deflate")]
)
async def test_a_bomb_is_unpacked_to_the_limit_only(packed: bytes, encoding: str) -> None:
    answer = await get(answers(packed, headers=f"Content-Encoding: {encoding}\r\n"), Limits(size=10_000))
    assert answer.cut
    assert answer.body == "y" * 10_000


async def test_packed_answers_are_read() -> None:
    answer = await get(answers(gzip.compress(b"eval_loss 1\n"), headers="Content-Encoding: gzip\r\n"))
    assert answer.body == "eval_loss 1\n"


async def test_a_redirect_is_not_followed() -> None:
    async with server(answers("secret")) as elsewhere:
        answer = await get(answers("", status=302, headers=f"Location: {elsewhere}/\r\n"))
    assert (answer.status, answer.body) == (302, "")


async def _hang_up(request: str, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _no_http(request: str, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 smtp.example.org ESMTP\r\n\r\n")
    await writer.drain()


async def _half(request: str, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    await writer.drain()


@pytest.mark.parametrize(
    ("talk", "sentence"),
    [
        (_hang_up, "broke off"),
        (_no_http, "not HTTP"),
        (_half, "broke off"),
        (answers("x", headers="Content-Encoding: br\r\n"), "packed with br"),
        (answers("not packed", headers="Content-Encoding: gzip\r\n"), "cannot be unpacked"),
        (answers("x", headers=f"X-Large: {'h' * 100_000}\r\n"), "not HTTP"),
    ],
    ids=["hang-up", "no-http", "half", "brotli", "lie", "headers"],
)
async def test_what_goes_wrong_becomes_a_sentence(talk: Talk, sentence: str) -> None:
    with pytest.raises(ScrapeError, match=sentence):
        await get(talk)


async def test_nobody_listens(unused_tcp_port: int) -> None:
    async with Fetcher(QUICK) as fetcher:
        with pytest.raises(ScrapeError, match=r"^connection refused$"):
            await fetcher.get(f"http://127.0.0.1:{unused_tcp_port}/metrics")
