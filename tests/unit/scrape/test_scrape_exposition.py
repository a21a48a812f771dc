"""Our reader of Prometheus text against the reference writer, the reference reader, and what people really export."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tuning_operator.scrape.exposition import read_samples, sample_names


def value(page: str, name: str = "eval_loss") -> float | None:
    return read_samples(page, [name]).values.get(name)


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("eval_loss 0.5\n", 0.5),
        ("eval_loss 0.5", 0.5),
        ("eval_loss 0.5\r\n", 0.5),
        ("  eval_loss\t 5e-1 \n", 0.5),
        ("eval_loss{} 0.5\n", 0.5),
        ("eval_loss {  } 0.5\n", 0.5),
        ('eval_loss{rank="0"} 0.5\n', 0.5),
        ('eval_loss{note="a } b",x="\\"}"} 0.5 1700000000000\n', 0.5),
        ('eval_loss{rank="0",} 0.5\n', 0.5),
        ("eval_loss 0.5 1700000000.123\n", 0.5),
        ('eval_loss 0.5 # {trace="1"} 3 4\n', 0.5),
        ("# HELP eval_loss eval_loss 9\n# TYPE eval_loss gauge\neval_loss 0.5\n# EOF\n", 0.5),
        ("eval_loss 1\neval_loss 0.5\n", 0.5),
        ('eval_loss{rank="0"} 9\neval_loss 0.5\n', 0.5),
        ("eval_loss_total 0.5\n", 0.5),
        ("eval_loss_total 9\neval_loss 0.5\n", 0.5),
        ("eval_loss +Inf\n", math.inf),
        ("eval_loss -inf\n", -math.inf),
        ("eval_loss .5\n", 0.5),
        ("eval_loss 5.\n", 5.0),
        ("eval_loss_extra 9\n", None),
        ("my_eval_loss 9\n", None),
        ("eval_loss\n", None),
        ("eval_loss0.5\n", None),
        ("eval_loss 1_000\n", None),
        ("eval_loss 0.5 or so\n", None),
        ("eval_loss five\n", None),
        ('eval_loss{rank="0 0.5\n', None),
        ("# eval_loss 0.5\n", None),
        ("<html><body>eval_loss 0.5</body></html>", None),
        ("", None),
        ("\x00\xff\n\n\n", None),
    ],
)
def test_one_sample(page: str, expected: float | None) -> None:
    assert value(page) == expected


def test_not_a_number_is_a_value() -> None:
    found = value("eval_loss NaN\n")
    assert found is not None
    assert math.isnan(found)


def test_several_label_sets_are_ambiguous() -> None:
    samples = read_samples('eval_loss{rank="0"} 1\neval_loss{rank="1"} 2\ntrain_step 7\n', ["eval_loss", "train_step"])
    assert samples.values == {"train_step": 7.0}
    assert samples.ambiguous == {"eval_loss": 2}


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge("eval_loss", "Loss\nwith a \\ and a new line.", registry=registry).set(0.125)
    Counter("train_tokens", "Tokens.", registry=registry).inc(4096)
    labelled = Gauge("accuracy", "Accuracy.", ["dataset"], registry=registry)
    labelled.labels('odd "} \\ \n name').set(0.75)
    Histogram("step_seconds", "Steps.", registry=registry).observe(0.2)
    Gauge("broken", "Broken.", registry=registry).set(math.nan)
    return registry


def test_the_reference_writer_in_both_formats() -> None:
    for page in (generate_latest(_registry()).decode(), openmetrics.generate_latest(_registry()).decode()):
        samples = read_samples(page, ["eval_loss", "train_tokens", "accuracy", "absent"])
        assert samples.values == {"eval_loss": 0.125, "train_tokens": 4096.0, "accuracy": 0.75}
        assert samples.ambiguous == {}


def test_the_reference_reader_agrees_on_the_names() -> None:
    page = generate_latest(_registry()).decode()
    families = list(text_string_to_metric_families(page))
    assert sample_names(page) == sorted({sample.name for family in families for sample in family.samples})


@given(
    name=st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,20}", fullmatch=True),
    number=st.floats(),
    label=st.text(max_size=20),
)
def test_whatever_the_reference_writes_comes_back(name: str, number: float, label: str) -> None:
    registry = CollectorRegistry()
    gauge = Gauge(f"a{name}", "", ["l"], registry=registry)
    gauge.labels(label).set(number)
    found = value(generate_latest(registry).decode(errors="replace"), f"a{name}")
    assert found == number or (found is not None and math.isnan(found) and math.isnan(number))


@given(st.text())
def test_garbage_is_passed_over(page: str) -> None:
    read_samples(page, ["a", "eval_loss"])
    sample_names(page)


def test_hostile_pages_cost_no_more_than_their_length() -> None:
    size = 200_000
    pages = [
        "eval_loss{" + '"' * size,
        'eval_loss{a="' + "\\" * size,
        "eval_loss" + " " * size,
        "eval_loss " + "1" * size + "x",
        ("eval_loss{" * (size // 10)) + "\n",
        "eval_loss{" + 'a="b",' * (size // 6),
    ]
    for page in pages:
        began = time.perf_counter()
        read_samples(page, ["eval_loss"])
        sample_names(page)
        assert time.perf_counter() - began < 1.0, page[:20]
