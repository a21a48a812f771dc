"""A reader against the real client, against exporters of other people, and against what must not count as a value."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_client import CollectorRegistry, Gauge, start_http_server
from tests.unit.scrape.servers import Talk, answers, page, server

from trial_protocol.control import ControlMessage, generate_key_pair
from trial_protocol.environment import TrialEnvironment
from trial_protocol.history import HistoryRecord, render_history
from tuning_operator.api.parse import parse_manifest
from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.scrape.fetch import Answer, Fetcher, Limits
from tuning_operator.scrape.look import Look
from tuning_operator.scrape.reader import TrialReader
from tuning_operator.scrape.scraper import Scraper
from tuning_operator.scrape.source import Place
from tuning_operator.scrape.steering import Sent, Steering, is_behind
from tuning_trainer.client import Trial

KEYS = generate_key_pair()
QUICK = Limits(connect=0.5, total=0.5)


def spec(*, axis: str = "train_step") -> TuningJobSpec:
    return parse_manifest(
        {
            "apiVersion": "tuning-operator.io/v1alpha1",
            "kind": "TuningJob",
            "metadata": {"name": "job"},
            "spec": {
                "objective": {"metric": "eval_loss"},
                "axis": {"metric": axis, "total": 100},
                "parameters": [{"name": "lr", "type": "Float", "min": 0.1, "max": 1}],
            },
        }
    ).spec


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    environment = TrialEnvironment(
        job="job",
        trial="job-0001",
        total=100.0,
        public_key=KEYS.public_pem,
        termination_path=str(tmp_path / "result.json"),
    )
    trial = Trial(environment)
    yield trial
    trial.close()


def url_of(trial: Trial) -> str:
    return f"http://127.0.0.1:{trial.port}"


async def look_once(talk: Talk, **settings: str) -> Look:
    async with server(talk) as url, Scraper(limits=QUICK) as scraper:
        return await scraper.look(scraper.reader(url=url, spec=spec(**settings), attempt=1))


async def test_a_trial_of_ours(trial: Trial) -> None:
    async with Scraper(clock=lambda: 1000.0) as scraper:
        reader = scraper.reader(url=url_of(trial), spec=spec(), attempt=1)
        empty = await scraper.look(reader)
        assert (empty.error, empty.records, empty.observations) == (None, (), ())

        for step in range(1, 31):
            trial.record_step(step=step, loss=math.nan if step == 7 else step / 10, learning_rate=0.5)
            if step % 10 == 0:
                trial.report(step=step, eval_loss=1 / step, accuracy=0.5)
        look = await scraper.look(reader)
        assert look.error is None
        assert (look.position, look.fraction, look.revision, look.time) == (30.0, 0.3, 0, 1000.0)
        assert [(one.position, one.value) for one in look.observations] == [(10, 0.1), (20, 0.05), (30, 1 / 30)]
        assert look.records[0].values["accuracy"] == 0.5
        pulse = look.pulse
        assert pulse is not None
        assert (pulse.count, pulse.nonfinite, pulse.minimum, pulse.maximum) == (29, 1, 0.1, 3.0)
        assert pulse.learning_rate == 0.5

        trial.record_step(step=31, loss=2.0)
        again = await scraper.look(reader)
        assert (again.records, again.position) == ((), 31.0)
        assert again.pulse is not None
        assert (again.pulse.count, again.pulse.nonfinite) == (1, 0)


async def test_a_trial_that_goes_back_is_heard_again(trial: Trial) -> None:
    async with Scraper() as scraper:
        reader = scraper.reader(url=url_of(trial), spec=spec(), attempt=1)
        for step in (10, 20, 30):
            trial.report(step=step, eval_loss=float(step))
        assert len((await scraper.look(reader)).records) == 3
        trial.report(step=20, eval_loss=7.0)
        look = await scraper.look(reader)
        assert [(one.position, one.value) for one in look.observations] == [(20.0, 7.0)]


async def test_a_history_is_asked_only_when_there_is_something_new(trial: Trial) -> None:
    async with Scraper() as scraper:
        reader = scraper.reader(url=url_of(trial), spec=spec(), attempt=1)
        asked = paths_asked(scraper.fetcher)
        for _ in range(3):
            assert (await scraper.look(reader)).records == ()
        assert asked == ["/metrics", "/history", "/metrics", "/metrics"]
        trial.report(step=10, eval_loss=1.0)
        assert [record.step for record in (await scraper.look(reader)).records] == [10]
        assert (await scraper.look(reader)).records == ()
        assert asked[4:] == ["/metrics", "/history", "/metrics"]


def paths_asked(fetcher: Fetcher) -> list[str]:
    """Note the path of every GET from now on."""
    paths: list[str] = []
    get = fetcher.get

    async def noted(url: str, query: Sequence[tuple[str, str]] = ()) -> Answer:
        paths.append(urlsplit(url).path)
        return await get(url, query)

    fetcher.get = noted  # type: ignore[method-assign]
    return paths


async def test_a_long_history_comes_in_pages(trial: Trial) -> None:
    total = 4_500
    for step in range(1, total + 1):
        trial.report(step=step, eval_loss=float(step))
    async with Scraper(limits=Limits(size=100_000)) as scraper:
        reader = scraper.reader(url=url_of(trial), spec=spec(), attempt=1)
        look = await scraper.look(reader)
        assert [record.step for record in look.records] == list(range(1, total + 1))
        assert look.error is None
        assert (await scraper.look(reader)).records == ()


async def test_a_history_that_knows_only_steps() -> None:
    """The least that another implementation needs: `after`, and nothing of cursors and limits."""
    records = [HistoryRecord(step=step, attempt=1, time=0.0, values={"eval_loss": 1.0}) for step in (1, 2, 3)]
    requests: list[str] = []

    async def talk(request: str, writer: asyncio.StreamWriter) -> None:
        requests.append(request)
        after = int(request.partition("after=")[2].split(" ")[0].split("&")[0] or -1)
        body = render_history(one for one in records if one.step > after) if "/history" in request else "train_step 3\n"
        await answers(body)(request, writer)

    async with server(talk) as url, Scraper(limits=QUICK) as scraper:
        reader = scraper.reader(url=url, spec=spec(), attempt=1)
        assert [one.step for one in (await scraper.look(reader)).records] == [1, 2, 3]
        records.append(HistoryRecord(step=4, attempt=1, time=0.0, values={"eval_loss": 1.0}))
        assert [one.step for one in (await scraper.look(reader)).records] == [4]
    assert "after=3" in requests[-1]


async def test_only_wanted_names_are_asked_for() -> None:
    requests: list[str] = []

    async def talk(request: str, writer: asyncio.StreamWriter) -> None:
        requests.append(request)
        await page("eval_loss 1\n")(request, writer)

    await look_once(talk)
    assert "window=operator" in requests[0]
    assert "name%5B%5D=eval_loss" in requests[0] or "name[]=eval_loss" in requests[0]


async def test_any_exporter_will_do() -> None:
    registry = CollectorRegistry()
    loss, tokens = Gauge("eval_loss", "", registry=registry), Gauge("train_tokens", "", registry=registry)
    exporter, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    now = 50.0
    try:
        async with Scraper(clock=lambda: now) as scraper:
            url = f"http://127.0.0.1:{exporter.server_port}"
            reader = scraper.reader(url=url, spec=spec(axis="train_tokens"), attempt=1)
            assert (await scraper.look(reader)).records == (), "a gauge that was never set shows 0"
            loss.set(0.5)
            tokens.set(10)
            look = await scraper.look(reader)
            assert [(one.position, one.value, one.time) for one in look.observations] == [(10.0, 0.5, 50.0)]
            assert (look.fraction, look.revision) == (0.1, None)
            assert (await scraper.look(reader)).records == (), "nothing has changed"
            loss.set(math.nan)
            assert len((await scraper.look(reader)).records) == 1
            assert (await scraper.look(reader)).records == ()
    finally:
        exporter.shutdown()
        exporter.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("<html>Sign in</html>", "not in Prometheus' text format"),
        ('eval_loss{rank="0"} 1\neval_loss{rank="1"} 2\n', "2 values with different labels"),
        ("tuning_attempt 3\neval_loss 1\n", "attempt 3 answers there"),
        ("eval_loss 1\n" * 200_000, "larger than 1024 KiB"),
    ],
    ids=["html", "labels", "attempt", "large"],
)
async def test_a_bad_page_is_an_error_and_no_value(text: str, sentence: str) -> None:
    look = await look_once(page(text))
    assert look.error is not None
    assert sentence in look.error
    assert (look.records, look.pulse, look.position) == ((), None, None)


async def test_an_error_of_the_server_is_no_value() -> None:
    look = await look_once(answers("eval_loss 1\ntrain_step 5\n", status=500))
    assert look.error == "answered 500 to /metrics"
    assert look.records == ()
    moved = await look_once(answers("", status=301, headers="Location: http://127.0.0.1:1/\r\n"))
    assert moved.error == "answered 301 to /metrics (redirects are not followed)"


async def test_a_missing_metric_is_no_value_and_is_explained() -> None:
    for text in ("train_step 5\n", "eval_loss 0.5\n", "# nothing yet\n", ""):
        look = await look_once(page(text))
        assert (look.error, look.records) == (None, ())
    async with server(page("train_step 5\neval_los 0.5\nprocess_open_fds 3\n")) as url, Scraper() as scraper:
        reader = scraper.reader(url=url, spec=spec(), attempt=1)
        assert await reader.explain() == "no metric eval_loss; it has: eval_los, train_step; did you mean eval_los?"


async def test_a_history_with_a_bad_line_loses_only_that_line() -> None:
    good = HistoryRecord(step=1, attempt=1, time=0.0, values={"eval_loss": 0.5})

    async def talk(request: str, writer: asyncio.StreamWriter) -> None:
        body = f"{good.to_json()}\nnonsense\n" if "/history" in request else "train_step 3\n"
        await answers(body)(request, writer)

    look = await look_once(talk)
    assert look.error is not None
    assert "cannot be read" in look.error
    assert [one.value for one in look.observations] == [0.5]


async def test_evaluations_without_the_objective_are_named() -> None:
    record = HistoryRecord(step=1, attempt=1, time=0.0, values={"eval_losses": 0.5})

    async def talk(request: str, writer: asyncio.StreamWriter) -> None:
        await answers(record.to_json() if "/history" in request else "train_step 3\n")(request, writer)

    look = await look_once(talk)
    assert look.error is not None
    assert "no metric eval_loss in its evaluations" in look.error
    assert "did you mean eval_losses?" in look.error


async def test_hanging_trials_delay_nobody() -> None:
    async def silent(request: str, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    async with (
        server(silent) as hung,
        server(page("eval_loss 1\ntrain_step 2\n")) as well,
        Scraper(limits=Limits(connect=2, total=2)) as scraper,
    ):

        def reader(url: str) -> TrialReader:
            return scraper.reader(url=url, spec=spec(), attempt=1)

        bad = [reader(hung) for _ in range(300)]
        await asyncio.gather(*(scraper.look(one) for one in bad))
        assert all(one.hangs for one in bad)
        hanging = [asyncio.create_task(scraper.look(one)) for one in bad]
        await asyncio.sleep(0)
        looks = await asyncio.gather(*(scraper.look(reader(well)) for _ in range(50)))
        assert all(look.error is None and look.observations for look in looks)
        assert sum(one.done() for one in hanging) < 200, "the good ones waited for the bad ones"
        for one in hanging:
            one.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


async def test_what_a_trial_says_late_comes_with_the_next_look() -> None:
    answer = asyncio.Event()

    async def late(request: str, writer: asyncio.StreamWriter) -> None:
        await answer.wait()
        await page("eval_loss 1\ntrain_step 2\n")(request, writer)

    async with (
        server(late) as slow,
        server(page("eval_loss 1\ntrain_step 2\n")) as well,
        Scraper(limits=Limits(connect=1, total=20), patience=0.1) as scraper,
    ):
        source = scraper.source(spec=spec(), namespace="default")

        def reader(url: str) -> Any:
            return source.reader(Place(url=url, pod="pod", attempt=1, since=None, seen=set()))

        both = [reader(slow), reader(well)]
        for _ in range(2):
            late_looks, (look,) = await source.look(both)
            assert late_looks == ()
            assert look.error is None
        answer.set()
        async with asyncio.timeout(10):
            while not (late_looks := (await source.look(both))[0]):
                pass
        assert [one.position for one in late_looks[0].observations] == [2.0]

        answer.clear()
        await source.look(both)  # What is under way when the scraper ends, ends with it.


async def test_a_control_message_is_sent_until_it_is_reported(trial: Trial) -> None:
    message = ControlMessage(trial="job-0001", revision=2, learning_rate_scale=0.5)
    async with Scraper() as scraper:
        steering = Steering(scraper.fetcher, private_key=KEYS.private_pem)
        reader = scraper.reader(url=url_of(trial), spec=spec(), attempt=1)
        look = await scraper.look(reader)
        assert is_behind(wanted=2, reported=look.revision)
        assert await steering.send(url_of(trial), message) is None
        assert await steering.send(url_of(trial), message) is None, "sending twice is no error"
        assert is_behind(wanted=2, reported=(await scraper.look(reader)).revision), "not before a step boundary"
        assert trial.poll(step=1) == message
        assert not is_behind(wanted=2, reported=(await scraper.look(reader)).revision)

        foreign = Steering(scraper.fetcher, private_key=generate_key_pair().private_pem)
        refused = await foreign.send(url_of(trial), ControlMessage(trial="job-0001", revision=3))
        assert refused is not None
        assert "signature" in refused
        wrong = await steering.send(url_of(trial), ControlMessage(trial="job-0002", revision=3))
        assert wrong is not None
        assert "WrongTrial" in wrong
        bad = await steering.send(url_of(trial), ControlMessage(trial="job-0001", revision=3, learning_rate_scale=-1))
        assert bad is not None
        assert "learningRateScale" in bad


async def test_it_is_told_what_becomes_of_each_message(trial: Trial) -> None:
    told: list[Sent] = []
    async with Scraper() as scraper:
        steering = Steering(scraper.fetcher, private_key=KEYS.private_pem, observe=told.append)
        await steering.send(url_of(trial), ControlMessage(trial="job-0001", revision=1))
        await steering.send(url_of(trial), ControlMessage(trial="job-0002", revision=2))
        await steering.send("http://127.0.0.1:1", ControlMessage(trial="job-0001", revision=3))
    assert told == [Sent.TAKEN, Sent.REFUSED, Sent.UNREACHED]


async def test_a_program_without_control_says_so() -> None:
    async with server(answers("no", status=404)) as url, Scraper() as scraper:
        steering = Steering(scraper.fetcher, private_key=KEYS.private_pem)
        sentence = await steering.send(url, ControlMessage(trial="job-0001", revision=1))
    assert sentence == "answered 404: this trial takes no control messages"
