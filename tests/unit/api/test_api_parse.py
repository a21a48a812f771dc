from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given, settings
from tests.strategies import trials, tuning_jobs

from tuning_operator.api import yaml_text
from tuning_operator.api.parse import parse_manifest
from tuning_operator.api.trial import Trial
from tuning_operator.api.tuning_job import TuningJob
from tuning_operator.errors import ManifestError

HEAD = "apiVersion: tuning-operator.io/v1alpha1\nkind: TuningJob\nmetadata: {name: digits}\nspec:\n"
GOOD = (
    HEAD
    + """  objective: {metric: eval_loss}
  axis: {total: 1e3}
  parameters:
    - {name: lr, type: Float, min: 1e-5, max: 1E-1, scale: Log}
"""
)


def mistakes(text: str) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(text, source="digits.yaml")
    return str(caught.value).splitlines()


def test_a_right_manifest() -> None:
    job = parse_manifest(GOOD)
    assert job.metadata.name == "digits"
    assert (job.spec.parameters[0].min, job.spec.axis.total) == (1e-5, 1000)


@settings(deadline=None, max_examples=50)
@given(tuning_jobs())
def test_any_job_survives_dump_and_load(job: TuningJob) -> None:
    data = json.loads(job.model_dump_json(by_alias=True, exclude_none=True))
    assert parse_manifest(data) == job
    assert parse_manifest(yaml_text.write(data)) == job


@pytest.mark.parametrize("word", ["1e100", "1e-3", "on", "012", "~", "1_000", "null", "2026-11-21", "", "0x1f"])
def test_a_word_that_looks_like_something_else_stays_a_word(word: str) -> None:
    text = yaml_text.write({"word": word})
    assert yaml_text.read(text)[0].data == {"word": word}
    assert yaml.safe_load(text) == {"word": word}


@settings(deadline=None, max_examples=50)
@given(trials())
def test_any_trial_survives_dump_and_load(trial: Trial) -> None:
    assert Trial.model_validate_json(trial.model_dump_json(by_alias=True, exclude_none=True)) == trial


def test_choices_keep_what_the_file_says() -> None:
    text = (
        GOOD
        + '    - {name: c, type: Categorical, choices: [1e-3, 1, 1.0, true, "1", "on", 2026-01-02, 1:30, "1e-3"]}\n'
    )
    choices = parse_manifest(text).spec.parameters[1].choices
    assert list(map(repr, choices or ())) == [
        "0.001", "1", "1.0", "True", "'1'", "'on'", "'2026-01-02'", "'1:30'", "'1e-3'",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "  objectiv: {metric: eval_loss}",
            "digits.yaml:9: spec.objectiv: found a field that does not exist here, expected one of objective, axis, "
            "parameters, search, stopping, control, audit, budget, evaluation, metrics, trial, suspend, cancel; "
            "did you mean objective?",
        ),
        (
            "  search: {algorithm: Random forest}",
            'digits.yaml:9: spec.search.algorithm: found "Random forest", expected one of Random, '
            "Grid, Sobol, TPE, GP, "
            "CMAES; did you mean Random?",
        ),
        (
            "  search: {allow_duplicates: true}",
            "digits.yaml:9: spec.search.allow_duplicates: found a field that does not exist here, expected one of "
            "algorithm, seed, initial, allowDuplicates; did you mean allowDuplicates?",
        ),
        (
            "  search: {initial: [{b c: 1}]}",
            'digits.yaml:9: spec.search.initial[0]: found the name "b c", expected a name of '
            "letters, digits, '_', '.' "
            "and '-' that begins with a letter or '_'",
        ),
        (
            "  search: {initial: [{lr: [1]}]}",
            "digits.yaml:9: spec.search.initial[0].lr: found a list of 1, expected a word, a number, true or false",
        ),
        (
            "  stopping: [{rule: Percentil}]",
            'digits.yaml:9: spec.stopping[0].rule: found "Percentil", expected one of Divergence, Percentile; did you '
            "mean Percentile?",
        ),
        (
            "  stopping: [{percentile: 10}]",
            "digits.yaml:9: spec.stopping[0].rule: found nothing, expected one of Divergence, Percentile",
        ),
        (
            "  stopping: [{rule: Percentile, percentile: 101}]",
            "digits.yaml:9: spec.stopping[0].percentile: found 101, expected a number from 0 to 100",
        ),
        (
            "  stopping: Percentile",
            'digits.yaml:9: spec.stopping: found "Percentile", expected a list of at most 16 entries',
        ),
        (
            "  budget: {trials: many}",
            'digits.yaml:9: spec.budget.trials: found "many", expected a whole number from 1 to 100000',
        ),
        ("  budget: {gpuHours: 0}", "digits.yaml:9: spec.budget.gpuHours: found 0, expected a number above 0"),
        (
            "  budget: {duration: 4 hours}",
            'digits.yaml:9: spec.budget.duration: found "4 hours", expected a duration such as 4h, 1h30m, 90s or 500ms',
        ),
        (
            "  budget: {duration: 90}",
            "digits.yaml:9: spec.budget.duration: found 90, expected a duration such as 4h, 1h30m, 90s or 500ms",
        ),
        ("  suspend: maybe", 'digits.yaml:9: spec.suspend: found "maybe", expected true or false'),
        (
            "  suspend: off",
            'digits.yaml:9: spec.suspend: found off, expected true or false; write "off" if you mean the word',
        ),
        (
            "  audit: 007",
            "digits.yaml:9: spec.audit: found 007, expected a number without a leading zero; write "
            '"007" if you mean the word',
        ),
        ("  audit: .nan", "digits.yaml:9: spec.audit: found nan, expected a finite number"),
        ("  axis: {total: 5}", "digits.yaml:9: spec.axis: axis is given twice, first in line 6; keep one of them"),
        (
            "  evaluation: {seeds: [0]}",
            "digits.yaml:9: spec.evaluation.seeds[0]: seed 0 is also spec.search.seed; finalists are "
            "judged on seeds that "
            "the search never saw",
        ),
        (
            "  evaluation: {seeds: [5, 5]}",
            "digits.yaml:9: spec.evaluation.seeds[1]: seed 5 is given twice; each finalist is trained "
            "once with each seed",
        ),
        (
            "  evaluation: {seeds: []}",
            "digits.yaml:9: spec.evaluation.seeds: found an empty list, expected a list of 1 to 20 entries",
        ),
        ("  trial: {checkpoint: {}}", "digits.yaml:9: spec.trial.checkpoint: give exactly one of uri and claim"),
        (
            "  metrics: {prometheus: http://x}",
            'digits.yaml:9: spec.metrics.prometheus: found "http://x", expected a mapping with fields such as url, '
            "matchers",
        ),
        (
            "  metrics: {prometheus: {url: ftp://x}}",
            'digits.yaml:9: spec.metrics.prometheus.url: found "ftp://x", expected the address of a Prometheus server, '
            "such as http://prometheus.monitoring:9090",
        ),
        (
            "  metrics: {prometheus: {url: http://x:99999}}",
            'digits.yaml:9: spec.metrics.prometheus.url: found "http://x:99999", expected the address of a Prometheus '
            "server, such as http://prometheus.monitoring:9090",
        ),
        (
            "  metrics: {prometheus: {url: 'http://me:secret@x'}}",
            "digits.yaml:9: spec.metrics.prometheus.url: a user and password in an address are seen by everybody "
            "who may read the job; leave them out, and give the operator a token for this server (--prometheus-url, "
            "--prometheus-token-file)",
        ),
        (
            "  metrics: {prometheus: {url: 'http://x/prefix?tenant=a'}}",
            'digits.yaml:9: spec.metrics.prometheus.url: found "http://x/prefix?tenant=a", expected an address without '
            "? and #; labels to select by belong to matchers",
        ),
        (
            "  metrics: {prometheus: {url: http://x/prefix/graph/}}",
            'digits.yaml:9: spec.metrics.prometheus.url: found "http://x/prefix/graph/", expected the base address of '
            "the server; /api/v1/query is added to it",
        ),
        (
            "  metrics: {prometheus: {url: http://x, matchers: {pod: a}}}",
            "digits.yaml:9: spec.metrics.prometheus.matchers: the operator asks for pod itself; leave it out",
        ),
        (
            "  metrics: {prometheus: {url: http://x, matchers: {a-b: a}}}",
            "digits.yaml:9: spec.metrics.prometheus.matchers: a-b is no label: letters, digits and _, and no digit "
            "at the beginning",
        ),
        (
            "  metrics: {prometheus: {url: http://x, matchers: {replica: 0}}}",
            "digits.yaml:9: spec.metrics.prometheus.matchers.replica: found 0, expected a word of at most 256 letters",
        ),
        ("  1: x", "digits.yaml:9: spec: found the key 1, expected a word; put it in quotes"),
        (
            "    - {name: x, type: Float, min: 2, max: 1}",
            "digits.yaml:9: spec.parameters[x]: min must be below max: min is 2, max is 1",
        ),
        (
            "    - {name: x, typ: Float, min: 0, max: 1}",
            "digits.yaml:9: spec.parameters[x].type: found nothing, expected one of Float, Int, Categorical; is it the "
            "field typ?",
        ),
    ],
)
def test_one_mistake(line: str, expected: str) -> None:
    assert expected in mistakes(GOOD + line + "\n")


def test_all_mistakes_at_once_in_the_order_of_the_file() -> None:
    found = mistakes(
        HEAD.replace("digits", "Digits")
        + """  objective: {metric: train_step, direction: Minimise}
  axis: {total: 0}
  parameters: []
"""
    )
    assert [line.split(": ")[:2] for line in found] == [
        ["digits.yaml:3", "metadata.name"],
        ["digits.yaml:5", "spec.objective.direction"],
        ["digits.yaml:6", "spec.axis.total"],
        ["digits.yaml:6", "spec.axis.metric"],
        ["digits.yaml:7", "spec.parameters"],
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "digits.yaml: the file is empty; expected a TuningJob"),
        ("# only a remark\n---\n", "digits.yaml: the file is empty; expected a TuningJob"),
        ("hello", 'digits.yaml:1: found "hello", expected a TuningJob, which begins with apiVersion and kind'),
        (
            "a: [1\nb: 2\n",
            "digits.yaml:2: this is not YAML at column 2: expected ',' or ']', but got ':' (while "
            "parsing a flow sequence)",
        ),
        (
            "kind: TuningJob\n---\nkind: Secret\n",
            "digits.yaml: found 2 documents, at the lines 1, 3, expected one TuningJob; put each "
            "object into a file of its own",
        ),
        ("a: &a [*a]\n", "digits.yaml:1: a[0]: an alias refers to itself"),
    ],
)
def test_a_file_that_is_no_manifest(text: str, expected: str) -> None:
    assert expected in mistakes(text)


def test_another_kind_of_object_is_not_picked_apart() -> None:
    assert mistakes("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: []}\n") == [
        'digits.yaml:1: apiVersion: found "v1", expected tuning-operator.io/v1alpha1',
        'digits.yaml:2: kind: found "Pod", expected TuningJob',
    ]


def test_kind_and_version_must_be_said() -> None:
    found = mistakes(GOOD.replace("kind: TuningJob\n", "").replace("v1alpha1", "v1beta1"))
    assert found == [
        'digits.yaml:1: apiVersion: found "tuning-operator.io/v1beta1", expected tuning-operator.io/v1alpha1; did you '
        "mean tuning-operator.io/v1alpha1?",
        "digits.yaml:1: kind: found nothing, expected TuningJob; add it",
    ]


def test_no_wording_of_a_library_leaks() -> None:
    text = (
        GOOD
        + "  search: 3\n  trial: {nodes: x, command: [1], template: []}\n  control: {}\n  budget: []\n  audit: {}\n"
    )
    for line in mistakes(text):
        assert not any(word in line for word in ("pydantic", "http", "Input should", "valid", "dictionary", "tuple"))
