"""What is asked of a Prometheus server, when, and what becomes of its answers; the server is played."""

from __future__ import annotations

import math
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.testbed.certificates import Authority
from tests.unit.scrape.fake_prometheus import FakePrometheus, Result, failure, fake_prometheus, series, success
from tests.unit.scrape.test_scrape_reader import spec

from tuning_operator.api.tuning_job import Metrics, Prometheus
from tuning_operator.scrape.fetch import Limits
from tuning_operator.scrape.look import Look
from tuning_operator.scrape.prometheus import Access, selector
from tuning_operator.scrape.prometheus_source import PrometheusReader, PrometheusSource
from tuning_operator.scrape.scraper import DirectSource, Scraper
from tuning_operator.scrape.source import Place


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def fake() -> AsyncIterator[FakePrometheus]:
    async with fake_prometheus() as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Asking:
    """A source of one job, asked by a test."""

    def __init__(self, scraper: Scraper, url: str, matchers: dict[str, str]) -> None:
        job = spec().model_copy(update={"metrics": Metrics(prometheus=Prometheus(url=url, matchers=matchers))})
        source = scraper.source(spec=job, namespace="team")
        assert isinstance(source, PrometheusSource)
        self.source = source

    def reader(self, pod: str = "job-0000-a", since: float | None = None) -> PrometheusReader:
        return self.source.reader(Place(url="", pod=pod, attempt=1, since=since, seen=set()))

    async def look(self, reader: PrometheusReader) -> Sequence[Look]:
        (looks,) = await self.source.look([reader])
        return looks


@pytest.fixture
async def asking(fake: FakePrometheus, clock: Clock) -> AsyncIterator[Any]:
    async with Scraper(clock=clock) as scraper:
        yield lambda url=None, **matchers: Asking(scraper, url or fake.url, matchers)


def page(time: float, step: int, loss: float, **more: str) -> Result:
    return [series("eval_loss", (time, str(loss)), **more), series("train_step", (time, str(step)), **more)]


def seconds_of(question: str) -> int:
    return int(re.fullmatch(r".*\}\[(\d+)s\]", question)[1])  # type: ignore[index]


async def test_without_the_field_trials_are_read_themselves() -> None:
    async with Scraper() as scraper:
        assert isinstance(scraper.source(spec=spec(), namespace="team"), DirectSource)


def test_the_selector_takes_names_and_values_literally() -> None:
    assert selector(
        ("a", "b"), objective="a", namespace="team", pods=("x.y-0", "z"), matchers={"cluster": 'say "eu"\\'}
    ) == ('{__name__=~"a|b",metric=~"|a",namespace="team",pod=~"x[.]y-0|z",cluster="say \\"eu\\"\\\\"}')


async def test_every_scrape_is_a_look(fake: FakePrometheus, asking: Any, clock: Clock) -> None:
    asked = asking()
    reader = asked.reader(since=990.0)
    fake.answer = lambda _: success([*page(991.5, 10, 0.5), *page(996.5, 20, 0.25)])
    looks = await asked.look(reader)
    assert [look.position for look in looks] == [10.0, 20.0]
    assert [(one.position, one.value, one.time) for look in looks for one in look.observations] == [
        (10.0, 0.5, 991.5),
        (20.0, 0.25, 996.5),
    ]
    assert (fake.path, seconds_of(fake.questions[0])) == ("/api/v1/query", 70)
    clock.now = 1005.0
    assert list(await asked.look(reader)) == [], "nothing is new"
    assert seconds_of(fake.questions[1]) == 65, "since the last answer, and what may have come late"


async def test_values_arrive_as_they_were_exported(fake: FakePrometheus, asking: Any) -> None:
    asked = asking()
    texts = ["0.1", "1e-300", "NaN", "+Inf", "-Inf", "0.30000000000000004"]
    fake.answer = lambda _: success(
        [row for number, text in enumerate(texts, 1) for row in page(990.0 + number, number, text)]  # type: ignore[arg-type]
    )
    looks = await asked.look(asked.reader())
    found = [one.value for look in looks for one in look.observations]
    assert found[:2] == [0.1, 1e-300]
    assert math.isnan(found[2])
    assert found[3:] == [math.inf, -math.inf, 0.1 + 0.2]


async def test_many_trials_are_one_question(fake: FakePrometheus, asking: Any) -> None:
    asked = asking(cluster="eu")
    readers = [asked.reader(f"job-{number:04d}-x") for number in range(110)]
    fake.answer = lambda question: success(page(999.0, 4, 0.5, pod="job-0003-x") if "job-0003-x" in question else [])
    looks = await asked.source.look(readers)
    assert [len(one) for one in looks] == [int(number == 3) for number in range(110)]
    assert len(fake.questions) == 2
    assert all('namespace="team"' in one and 'cluster="eu"' in one for one in fake.questions)
    assert await asked.source.look([]) == []
    assert len(fake.questions) == 2


async def test_a_long_absence_is_asked_about_apart(fake: FakePrometheus, asking: Any) -> None:
    asked = asking()
    await asked.source.look([asked.reader("new", since=999.0), asked.reader("old", since=1000.0 - 7200)])
    assert [(seconds_of(one), "old" in one) for one in fake.questions] == [(61, False), (7260, True)]


async def test_an_outage_is_no_silence_of_the_trials(fake: FakePrometheus, asking: Any, clock: Clock) -> None:
    asked = asking()
    reader = asked.reader()
    await asked.look(reader)
    fake.answer = lambda _: failure(503, "unavailable", "Service Unavailable")
    clock.now = 1030.0
    (look,) = await asked.look(reader)
    assert look.error == asked.source.trouble
    assert look.error is not None
    assert look.error.startswith(f"spec.metrics.prometheus.url: {fake.url}: it answered 503")
    assert (look.records, look.pulse) == ((), None)
    assert await asked.source.look([]) == []
    assert asked.source.trouble, "to ask nothing is no success"
    fake.answer = lambda _: success(page(1029.0, 10, 0.5))
    clock.now = 1400.0
    (look,) = await asked.look(reader)
    assert look.position == 10.0
    assert (asked.source.trouble, asked.source.reads_since) == ("", 1400.0)
    assert seconds_of(fake.questions[-1]) == 460, "what was scraped in between is not lost"


async def test_what_is_too_much_is_asked_in_parts(fake: FakePrometheus, asking: Any) -> None:
    asked = asking()
    readers = [asked.reader(name, since=1000.0 - 3600) for name in ("a", "b", "c")]

    def answer(question: str) -> web.Response:
        pods = re.findall(r'pod=~"([^"]*)"', question)[0].split("|")
        if len(pods) > 1 or (pods == ["c"] and seconds_of(question) > 2000):
            return failure(422, "execution", "query processing would load too many samples into memory")
        return success(page(999.0, 4, 0.5, pod=pods[0]))

    fake.answer = answer
    assert [len(looks) for looks in await asked.source.look(readers)] == [1, 1, 1]
    assert seconds_of(fake.questions[-1]) == 1830


async def test_an_endless_answer_is_cut(fake: FakePrometheus, clock: Clock) -> None:
    async with Scraper(clock=clock) as scraper:
        asked = Asking(scraper, fake.url, {})
        asked.source._server._fetcher.limits = Limits(size=1000)  # type: ignore[misc]
        fake.answer = lambda _: success(page(999.0, 4, 0.5) * 100)
        (look,) = await asked.look(asked.reader())
    assert look.error is not None
    assert "larger than" in look.error


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (failure(400, "bad_data", "invalid parameter"), "it answered 400, bad_data: invalid parameter"),
        (
            web.Response(status=401, text="who are you"),
            "it answered 401: it wants to know who asks; the operator sends",
        ),
        (web.Response(status=404, text="secret page"), "it answered 404 to /api/v1/query with text/plain, which is no"),
        (web.Response(text="<html>Sign in</html>", content_type="text/html"), "it answered 200 to /api/v1/query with"),
        (web.Response(status=302, headers={"Location": "/login"}), "it answered 302: it sends elsewhere, which is not"),
        (web.Response(status=502, text="secret page"), "it answered 502: it does not work now"),
        (web.json_response({"status": "success", "data": {}}), "its answer does not follow Prometheus' API"),
        (
            web.json_response({"status": "success", "data": {"result": [{"metric": {}, "values": 1}]}}),
            "its answer",
        ),
        (web.json_response(["success"]), "which is no answer of Prometheus"),
    ],
    ids=["bad query", "stranger", "wrong path", "login", "redirect", "gateway", "no result", "no pairs", "other JSON"],
)
async def test_what_is_wrong_is_said_with_the_field(
    fake: FakePrometheus, asking: Any, answer: web.Response, sentence: str
) -> None:
    asked = asking(f"{fake.url}/prefix/")
    body, status, headers = answer.body, answer.status, dict(answer.headers)
    fake.answer = lambda _: web.Response(body=body, status=status, headers=headers)
    said = await asked.source.check()
    assert said is not None
    assert said.startswith(f"spec.metrics.prometheus.url: {fake.url}/prefix: ")
    assert sentence in said
    assert "secret" not in said, "what a stranger's server says is not shown to who may write a job"
    assert fake.path == "/prefix/api/v1/query"


async def test_a_sample_that_is_none_is_an_error(fake: FakePrometheus, asking: Any) -> None:
    asked = asking()
    fake.answer = lambda _: success([*page(999.0, 4, "what"), *page(999.0, 5, 0.5, pod="b")])  # type: ignore[arg-type]
    (look,), (other,) = await asked.source.look([asked.reader(), asked.reader("b")])
    assert look.error == "spec.metrics.prometheus.url: a sample of its answer cannot be read: [999.0, 'what']"
    assert (look.records, other.position) == ((), 5.0)


async def test_a_server_that_is_not_there(asking: Any) -> None:
    asked = asking("http://127.0.0.1:1")
    said = "spec.metrics.prometheus.url: http://127.0.0.1:1 cannot be asked: connection refused"
    assert await asked.source.check() == said
    (look,) = await asked.look(asked.reader())
    assert look.error == said


async def test_a_certificate_of_nobody_is_refused_in_a_sentence(asking: Any, tmp_path: Path) -> None:
    pair = Authority(tmp_path / "certificates").serving("server", ["127.0.0.1"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    runner = web.AppRunner(web.Application())
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        said = await asking(url).source.check()
    finally:
        await runner.cleanup()
    assert said is not None
    assert said.startswith(f"spec.metrics.prometheus.url: {url} cannot be asked: its certificate is not trusted")


async def test_the_token_goes_to_the_operators_own_server_only(
    fake: FakePrometheus, clock: Clock, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    async with Scraper(clock=clock, access=Access(url=f"{fake.url}/own/", token_file=token)) as scraper:
        own, other = Asking(scraper, f"{fake.url}/own", {}), Asking(scraper, f"{fake.url}/own2", {})
        assert await own.source.check() is None
        token.write_text("second\n")
        assert await own.source.check() is None
        assert await other.source.check() is None
        assert [one.get("Authorization") for one in fake.headers] == ["Bearer first", "Bearer second", None]
        token.unlink()
        said = await own.source.check()
    assert said is not None
    assert f"the token {token} cannot be read: No such file or directory" in said


async def test_why_a_trial_is_silent_is_explained(fake: FakePrometheus, asking: Any) -> None:
    asked = asking(cluster="eu")
    reader = asked.reader()

    def now(name: str, value: str = "1", **labels: str) -> dict[str, Any]:
        one = series(name, **labels)
        return {"metric": one["metric"], "value": [999.0, value]}

    said = await reader.explain()
    assert '{namespace="team",pod=~"job-0000-a",cluster="eu"}' in said
    assert "PodMonitor" in said
    assert "or correct spec.metrics.prometheus.matchers" in said
    fake.answer = lambda _: success([], warnings=["store eu-2 did not answer"])
    assert "it warns: store eu-2 did not answer" in await reader.explain()
    fake.answer = lambda _: success([now("up", "0"), now("scrape_duration_seconds")])
    assert "cannot scrape 10.0.0.1:9464 (up is 0)" in await reader.explain()
    fake.answer = lambda _: success([now("up"), now("eval_los"), now("train_step"), now("scrape_duration_seconds")])
    said = await reader.explain()
    assert said == f"through {fake.url}: no metric eval_loss; it has: eval_los, train_step; did you mean eval_los?"
    fake.answer = lambda _: failure(500, "internal", "broken")
    assert "it answered 500, internal: broken" in await reader.explain()
