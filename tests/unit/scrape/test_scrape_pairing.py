"""Which samples of a Prometheus server belong together, and what a page made of them says."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.scrape.test_scrape_reader import spec

from trial_protocol import names
from trial_protocol.history import HistoryRecord
from tuning_operator.scrape.exposition import Samples
from tuning_operator.scrape.page import PageReader
from tuning_operator.scrape.pairing import Pages, by_pod
from tuning_operator.scrape.prometheus import Series

WANTED = ("eval_loss", "train_step", "tuning_learning_rate")


def one(name: str, *samples: tuple[int, float], **labels: str) -> Series:
    return Series(
        {"__name__": name, "pod": "a", "job": "j", "instance": "i", **labels},
        [[time / 1000, str(value)] for time, value in samples],
    )


def values(pages: list[object]) -> list[tuple[int, dict[str, float]]]:
    return [(page.time, page.samples.values) for page in pages]  # type: ignore[attr-defined]


def test_only_samples_of_one_scrape_are_paired() -> None:
    series = [
        one("eval_loss", (1000, 0.5), (3000, 0.25)),
        one("train_step", (1000, 10), (2000, 20), (3000, 30)),
        one("tuning_learning_rate", (2000, 0.1)),
    ]
    assert values(Pages(WANTED).of(series)) == [
        (1000, {"eval_loss": 0.5, "train_step": 10}),
        (2000, {"train_step": 20, "tuning_learning_rate": 0.1}),
        (3000, {"eval_loss": 0.25, "train_step": 30}),
    ]


def test_a_page_is_returned_once() -> None:
    pages = Pages(WANTED)
    first = one("train_step", (1000, 10), (2000, 20))
    assert [page.time for page in pages.of([first])] == [1000, 2000]
    again = one("train_step", (1000, 10), (2000, 20), (3000, 30))
    assert values(pages.of([again])) == [(3000, {"train_step": 30})]
    assert pages.of([again]) == []


def test_two_targets_at_the_same_time_are_two_pages() -> None:
    series = [
        one("eval_loss", (1000, 0.5), instance="x"),
        one("train_step", (1000, 10), instance="x"),
        one("eval_loss", (1000, 0.4), instance="y"),
        one("train_step", (1000, 11), instance="y"),
    ]
    assert values(Pages(WANTED).of(series)) == [
        (1000, {"eval_loss": 0.5, "train_step": 10}),
        (1000, {"eval_loss": 0.4, "train_step": 11}),
    ]


def test_labels_of_the_sample_itself_are_treated_as_on_a_page() -> None:
    labelled = [one("eval_loss", (1000, 0.5), split="val"), one("train_step_total", (1000, 10))]
    assert values(Pages(WANTED).of(labelled)) == [(1000, {"eval_loss": 0.5, "train_step": 10})]
    plain_first = [one("eval_loss", (1000, 0.5), split="val"), one("eval_loss", (1000, 0.25))]
    assert values(Pages(WANTED).of(plain_first)) == [(1000, {"eval_loss": 0.25})]
    two = [one("eval_loss", (1000, 0.5), rank="0"), one("eval_loss", (1000, 0.25), rank="1")]
    (page,) = Pages(WANTED).of(two)
    assert (page.samples.values, page.samples.ambiguous) == ({}, {"eval_loss": 2})
    assert PageReader(spec(), attempt=1).problem(page.samples) == (
        "eval_loss has 2 values with different labels; export it once"
    )


def test_pods_are_kept_apart() -> None:
    series = [one("eval_loss", (1000, 0.5), pod="a"), one("eval_loss", (1000, 0.7), pod="b")]
    assert {pod: values(Pages(WANTED).of(found)) for pod, found in by_pod(series).items()} == {
        "a": [(1000, {"eval_loss": 0.5})],
        "b": [(1000, {"eval_loss": 0.7})],
    }


@settings(max_examples=50)
@given(st.lists(st.sets(st.sampled_from(WANTED)), max_size=12), st.integers(1, 5))
def test_every_scrape_comes_whole_and_once_however_often_is_asked(scrapes: list[set[str]], every: int) -> None:
    """Questions overlap, scrapes may lack samples; what is paired is what was scraped together."""
    pages, found = Pages(WANTED), []
    for asked in [*range(every, len(scrapes), every), len(scrapes)]:
        series = [
            one(name, *((time, time + WANTED.index(name) / 10) for time in range(asked) if name in scrapes[time]))
            for name in WANTED
        ]
        found += pages.of(series)
    expected = [
        (time, {name: time + WANTED.index(name) / 10 for name in WANTED if name in scrape})
        for time, scrape in enumerate(scrapes)
        if scrape
    ]
    assert values(found) == expected


def evaluation(axis: str = "train_step", **samples: float) -> list[HistoryRecord]:
    return PageReader(spec(axis=axis), attempt=1).evaluation(Samples(values=samples, ambiguous={}), time=50.0)


def test_an_evaluation_that_our_client_shows_is_its_record_in_the_history() -> None:
    told = {
        "eval_loss": 0.5,
        "train_step": 19.0,
        "train_tokens": 1900.0,
        names.METRIC_LEARNING_RATE: 0.1,
        names.METRIC_EVALUATION_STEP: 10.0,
        names.METRIC_EVALUATION_TIME: 7.5,
        names.METRIC_EVALUATION_LEARNING_RATE: 0.2,
    }
    (record,) = evaluation(**told, **{names.METRIC_EVALUATION_POSITION: 10.0})
    assert (record.step, record.time, record.learning_rate) == (10, 7.5, 0.2)
    assert record.values == {"train_step": 10.0, "eval_loss": 0.5}
    (record,) = evaluation("train_tokens", **told, **{names.METRIC_EVALUATION_POSITION: 1000.0})
    assert record.values == {"train_tokens": 1000.0, "eval_loss": 0.5}
    assert evaluation("train_epochs", **told) == [], "the evaluation was never put on this axis"


def test_an_evaluation_of_another_program_belongs_to_the_place_beside_it() -> None:
    (record,) = evaluation(eval_loss=0.5, train_step=19.0, tuning_learning_rate=0.1)
    assert (record.step, record.time, record.learning_rate) == (19, 50.0, 0.1)
    (record,) = evaluation(eval_loss=0.5, train_step=19.0, **{names.METRIC_EVALUATION_STEP: 10.0})
    assert (record.step, record.values["train_step"]) == (10, 10.0)
    assert evaluation(eval_loss=0.0, train_step=0.0) == [], "a gauge that was never set shows 0"
    assert evaluation(eval_loss=0.5) == evaluation(train_step=3.0) == []


def test_an_evaluation_counts_once_and_again_when_it_is_made_again() -> None:
    reader = PageReader(spec(), attempt=1)

    def shown(time: float, value: float = math.nan) -> int:
        step = {names.METRIC_EVALUATION_STEP: 10.0, names.METRIC_EVALUATION_TIME: time}
        samples = Samples(values={"eval_loss": value, "train_step": 12.0, **step}, ambiguous={})
        return len(reader.evaluation(samples, time=time))

    assert [shown(1.0), shown(1.0), shown(2.0), shown(2.0), shown(3.0, 0.5), shown(3.0, 0.5)] == [1, 0, 1, 0, 1, 0]
