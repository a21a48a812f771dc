"""Good and bad manifests against a real API server: what it says is what a user reads."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.testbed.controlplane import ControlPlane
from tests.testbed.errors import TestbedError

Manifest = dict[str, Any]

GOOD: Manifest = {
    "apiVersion": "tuning-operator.io/v1alpha1",
    "kind": "TuningJob",
    "metadata": {"name": "digits"},
    "spec": {
        "objective": {"metric": "eval_loss", "direction": "Minimize", "target": 0.05, "reduce": "Best"},
        "axis": {"metric": "train_step", "total": 2000},
        "parameters": [
            {"name": "lr", "type": "Float", "min": 1e-5, "max": 0.1, "scale": "Log", "live": True},
            {"name": "width", "type": "Int", "min": 32, "max": 512, "scale": "Log"},
            {"name": "optimizer", "type": "Categorical", "choices": ["adamw", "sgd", 1, 2.5, True]},
            {"name": "momentum", "type": "Float", "min": 0, "max": 0.99, "when": {"optimizer": ["sgd"]}},
        ],
        "search": {"algorithm": "TPE", "seed": 7, "initial": [{"lr": 0.001}]},
        "stopping": [{"rule": "Percentile", "percentile": 10, "after": 0.1}, {"rule": "Divergence"}],
        "control": [{"rule": "BackOff"}, {"rule": "CoolDown", "fraction": 0.2}],
        "budget": {"trials": 64, "parallel": 8, "failedTrials": 4, "duration": "4h", "gpuHours": 100},
        "evaluation": {"top": 3, "seeds": [101, 102, 103]},
        "trial": {
            "nodes": 1,
            "checkpoint": {"uri": "s3://bucket/digits"},
            "template": {"spec": {"containers": [{"name": "train", "image": "trainer"}]}},
        },
        "metrics": {"prometheus": {"url": "https://metrics.example/prometheus/", "matchers": {"cluster": "eu"}}},
        "suspend": False,
    },
}


def create(plane: ControlPlane, namespace: str, manifest: Manifest) -> str:
    arguments = ("create", "--validate=strict", "-n", namespace, "-o", "name", "-f", "-")
    return plane.kubectl(*arguments, stdin=json.dumps(manifest))


def parameter(index: int, **changes: Any) -> Callable[[Manifest], None]:
    return lambda manifest: manifest["spec"]["parameters"][index].update(changes)


def within(path: str, **changes: Any) -> Callable[[Manifest], None]:
    def change(manifest: Manifest) -> None:
        place: Any = manifest
        for part in path.split("."):
            place = place[int(part) if part.isdigit() else part]
        place.update(changes)

    return change


def without(path: str, name: str) -> Callable[[Manifest], None]:
    def change(manifest: Manifest) -> None:
        place: Any = manifest
        for part in path.split("."):
            place = place[int(part) if part.isdigit() else part]
        del place[name]

    return change


def test_the_example_of_the_design_is_accepted_and_kept(crds: ControlPlane, namespace: str) -> None:
    create(crds, namespace, GOOD)
    stored = crds.get("tuningjob", "digits", "-n", namespace)["spec"]
    assert stored["parameters"][2]["choices"] == ["adamw", "sgd", 1, 2.5, True]
    assert stored["trial"]["template"] == GOOD["spec"]["trial"]["template"]
    assert "digits" in crds.kubectl("get", "tj", "-n", namespace)


def test_defaults_that_will_not_change_are_written_into_the_object(crds: ControlPlane, namespace: str) -> None:
    manifest = copy.deepcopy(GOOD)
    del manifest["spec"]["objective"]["direction"], manifest["spec"]["suspend"]
    create(crds, namespace, manifest)
    stored = crds.get("tuningjob", "digits", "-n", namespace)["spec"]
    assert stored["objective"]["direction"] == "Minimize"
    assert stored["suspend"] is False


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (parameter(0, min=1, max=0.5), "spec.parameters[0].min: Invalid value: min must be below max"),
        (parameter(0, min=0), "spec.parameters[0].min: Invalid value: scale Log needs min above 0"),
        (parameter(0, step=0.1), "spec.parameters[0].step: Invalid value: step and scale Log exclude each other"),
        (parameter(1, min=32.5), "spec.parameters[1].min: Invalid value: min of an Int must be a whole number"),
        (
            parameter(2, min=0),
            "spec.parameters[2]: Invalid value: a Categorical has choices and no min, max, step or scale",
        ),
        (without("spec.parameters.2", "choices"), "spec.parameters[2].choices: Required value"),
        (
            parameter(0, choices=[1]),
            '"spec.parameters[0]" must validate one and only one schema (oneOf). Found 2 valid alternatives',
        ),
        (parameter(1, name="lr"), 'spec.parameters[1]: Duplicate value: {"name":"lr"}'),
        (
            within("spec.stopping.0", rule="Percentil"),
            'spec.stopping[0].rule: Unsupported value: "Percentil": supported values: "Percentile", "Divergence"',
        ),
        (
            within("spec.stopping.1", percentile=3),
            "spec.stopping[1].percentile: Invalid value: percentile belongs to Percentile",
        ),
        (within("spec", objectiv={}), 'unknown field "spec.objectiv"'),
        (
            within("spec.trial.checkpoint", claim="disk"),
            "spec.trial.checkpoint: Invalid value: give exactly one of uri and claim",
        ),
        (
            within("metadata", name="x" * 60),
            "the name may have at most 52 characters, so that a trial's number fits behind it",
        ),
        (
            within("spec.search", algorithm="Bayes"),
            'spec.search.algorithm: Unsupported value: "Bayes": supported values: '
            '"Random", "Grid", "Sobol", "TPE", "GP", "CMAES"',
        ),
        (within("spec.budget", duration="4 hours"), 'spec.budget.duration: Invalid value: "4 hours"'),
        (within("spec.budget", trials=0), "spec.budget.trials: Invalid value: 0"),
        (without("spec", "objective"), "spec.objective: Required value"),
        (
            within("spec", metrics={"prometheus": {"url": "http://me:secret@prometheus:9090"}}),
            "spec.metrics.prometheus.url: Invalid value: give the base address of the server, such as "
            "http://prometheus.monitoring:9090, without user, password, query and fragment",
        ),
        (
            within("spec", metrics={"prometheus": {"url": "http://prometheus:9090/api/v1/query"}}),
            "spec.metrics.prometheus.url: Invalid value: give the base address of the server; /api/v1/query is added",
        ),
        (
            within("spec", metrics={"prometheus": {"url": "http://prometheus", "matchers": {"pod": "a"}}}),
            "spec.metrics.prometheus.matchers: Invalid value: the operator itself asks for namespace, pod",
        ),
        (
            within("spec", metrics={"prometheus": {"url": "http://prometheus", "matchers": {"a-b": "a"}}}),
            "spec.metrics.prometheus.matchers: Invalid value: a label consists of letters, digits and _",
        ),
    ],
)
def test_a_mistake_is_refused_with_its_field(
    crds: ControlPlane, namespace: str, change: Callable[[Manifest], None], message: str
) -> None:
    manifest = copy.deepcopy(GOOD)
    change(manifest)
    with pytest.raises(TestbedError) as refused:
        create(crds, namespace, manifest)
    assert message in str(refused.value)


def patch(plane: ControlPlane, namespace: str, path: str, value: Any, *more: str) -> str:
    operation = json.dumps([{"op": "add", "path": path, "value": value}])
    return plane.kubectl("patch", "tuningjob", "digits", "-n", namespace, "--type=json", "-p", operation, *more)


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("/spec/parameters/0/max", 0.5, "parameters"),
        ("/spec/parameters/2/choices", ["adamw"], "parameters"),
        ("/spec/objective/metric", "accuracy", "objective"),
        ("/spec/axis/total", 10, "axis"),
    ],
)
def test_what_the_curves_depend_on_is_fixed_once_the_job_has_started(
    crds: ControlPlane, namespace: str, path: str, value: Any, field: str
) -> None:
    create(crds, namespace, GOOD)
    patch(crds, namespace, "/spec/budget/trials", 65)
    patch(crds, namespace, "/status", {"startTime": "2026-01-01T00:00:00Z"}, "--subresource=status")
    with pytest.raises(TestbedError, match=f"spec.{field} cannot change once the job has started"):
        patch(crds, namespace, path, value)
    patch(crds, namespace, "/spec/budget/trials", 70)


def test_a_job_that_was_cancelled_stays_so(crds: ControlPlane, namespace: str) -> None:
    create(crds, namespace, GOOD)
    assert crds.get("tuningjob", "digits", "-n", namespace)["spec"]["cancel"] is False
    patch(crds, namespace, "/spec/cancel", True)
    with pytest.raises(TestbedError, match=r"spec\.cancel: Forbidden: a job that was cancelled stays so"):
        patch(crds, namespace, "/spec/cancel", False)
    patch(crds, namespace, "/spec/budget/trials", 70)


def test_before_the_start_everything_may_change(crds: ControlPlane, namespace: str) -> None:
    create(crds, namespace, GOOD)
    patch(crds, namespace, "/spec/objective/metric", "accuracy")
    assert crds.get("tuningjob", "digits", "-n", namespace)["spec"]["objective"]["metric"] == "accuracy"


def test_explain_tells_what_a_field_is(crds: ControlPlane) -> None:
    assert "A stop by rule is not" in crds.kubectl("explain", "tuningjob.spec.budget.failedTrials")
    assert "Factor on the schedule" in crds.kubectl("explain", "trial.spec.control.learningRateScale")


def test_trials_can_be_selected_by_their_job(crds: ControlPlane, namespace: str) -> None:
    for job, number in (("a", 0), ("b", 1)):
        manifest = {
            "apiVersion": "tuning-operator.io/v1alpha1",
            "kind": "Trial",
            "metadata": {"name": f"{job}-{number:04d}"},
            "spec": {"job": job, "number": number, "parameters": {"lr": 0.1}, "seed": 1},
        }
        create(crds, namespace, manifest)
    found = crds.kubectl("get", "trials", "-n", namespace, "--field-selector=spec.job=b", "-o", "name")
    assert found.split() == ["trial.tuning-operator.io/b-0001"]


def test_the_server_sees_no_part_of_the_schema_that_is_not_structural(crds: ControlPlane) -> None:
    for name in ("tuningjobs", "trials"):
        conditions = crds.get("crd", f"{name}.tuning-operator.io")["status"]["conditions"]
        assert [c["type"] for c in conditions if c["status"] == "True"] == ["NamesAccepted", "Established"]
