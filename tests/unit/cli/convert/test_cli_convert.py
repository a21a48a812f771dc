from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.cli.test_cli_main import call

from tuning_operator.cli.convert.conversion import Conversion, convert
from tuning_operator.cli.convert.report import Outcome
from tuning_operator.cli.convert.settings import Settings
from tuning_operator.cli.exits import ExitCode
from tuning_operator.errors import ManifestError
from tuning_operator.search.check import load_job

MANIFESTS = sorted((Path(__file__).parent / "manifests").glob("*.yaml"))
TOTAL = Settings(total=2000)


def load(name: str) -> dict[str, Any]:
    path = Path(__file__).parent / "manifests" / f"{name}.yaml"
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def spec_of(name: str, settings: Settings = TOTAL) -> dict[str, Any]:
    found = convert(load(name), settings)
    assert found.manifest is not None
    assert found.of(Outcome.REFUSED) == []
    spec: dict[str, Any] = found.manifest["spec"]
    return spec


def told(found: Conversion, outcome: Outcome) -> dict[str, str]:
    return {row.path: row.note for row in found.of(outcome)}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_every_manifest_becomes_one_that_the_operator_takes(path: Path) -> None:
    found = convert(yaml.safe_load(path.read_text(encoding="utf-8")), TOTAL)
    assert found.manifest is not None
    assert found.of(Outcome.REFUSED) == []
    assert load_job(dict(found.manifest)).metadata.name == load(path.stem)["metadata"]["name"]
    assert "${" not in json.dumps(found.manifest["spec"])
    assert all(row.note for row in found.of(Outcome.WARNING))


def test_random_search_over_a_job() -> None:
    found = convert(load("random-job"), TOTAL)
    assert found.manifest is not None
    assert found.manifest["metadata"] == {"name": "digits-random", "namespace": "team-a", "labels": {"team": "vision"}}
    container = {
        "name": "train",
        "image": "registry.example.com/digits:1",
        "command": ["python", "-m", "digits.train", "--lr=$(TUNING_PARAM_LR)"],
        "args": ["--layers=$(TUNING_PARAM_LAYERS)", "--dropout", "$(TUNING_PARAM_DROPOUT)"],
        "resources": {"limits": {"nvidia.com/gpu": 1}},
    }
    assert found.manifest["spec"] == {
        "objective": {"metric": "val_loss", "direction": "Minimize", "target": 0.05, "reduce": "Best"},
        "axis": {"metric": "train_step", "total": 2000},
        "parameters": [
            {"name": "lr", "type": "Float", "min": 1e-5, "max": 0.1, "scale": "Log"},
            {"name": "dropout", "type": "Float", "min": 0.0, "max": 0.5, "step": 0.1},
            {"name": "layers", "type": "Int", "min": 1, "max": 4},
        ],
        "search": {"algorithm": "Random", "seed": 7},
        "budget": {"trials": 12, "parallel": 4, "failedTrials": 2},
        "trial": {
            "retries": 0,
            "template": {
                "metadata": {"labels": {"app": "digits"}},
                "spec": {"restartPolicy": "Never", "activeDeadlineSeconds": 3600, "containers": [container]},
            },
        },
    }
    assert set(told(found, Outcome.WARNING)) == {
        "spec.objective.additionalMetricNames",
        "spec.metricsCollectorSpec.collector.kind",
        "spec.trialTemplate.trialSpec.spec.activeDeadlineSeconds",
        "spec.trialTemplate.trialSpec.spec.ttlSecondsAfterFinished",
    }


def test_median_stop_metadata_and_a_container_that_is_not_the_first() -> None:
    spec = spec_of("tpe-medianstop")
    assert spec["objective"]["reduce"] == "Last"
    assert spec["stopping"] == [{"rule": "Percentile", "percentile": 50, "minimumTrials": 5}]
    assert spec["search"] == {"algorithm": "TPE", "seed": 2**31 - 1}
    assert [one.get("choices") for one in spec["parameters"]] == [["sgd", "adamw"], [32, 64, 0.5], None]
    assert spec["parameters"][2]["scale"] == "Log"
    template = spec["trial"]["template"]
    assert template["metadata"]["annotations"] == {"kubectl.kubernetes.io/default-container": "train"}
    assert template["spec"]["restartPolicy"] == "Never"
    train = template["spec"]["containers"][1]
    assert train["command"][2].endswith("--lr=$(TUNING_PARAM_LR) --run=$(TUNING_TRIAL)")
    assert train["env"] == [
        {"name": "TRIAL_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": "RUN_IN", "value": "$(TRIAL_NAMESPACE)/Job/vision"},
    ]
    warnings = told(convert(load("tpe-medianstop"), TOTAL), Outcome.WARNING)
    assert "asked at every mark" in warnings["spec.earlyStopping.algorithmName"]


def test_bayesian_search_over_a_pytorch_job() -> None:
    spec = spec_of("bayesian-pytorchjob")
    assert spec["objective"]["metric"] == "Validation_accuracy"
    assert spec["search"] == {"algorithm": "TPE", "seed": 10}
    assert [one["name"] for one in spec["parameters"]] == ["lr", "num-layers", "epochs"]
    assert spec["parameters"][2] == {"name": "epochs", "type": "Categorical", "choices": [3]}
    assert spec["budget"] == {"trials": 12, "parallel": 3, "failedTrials": 0}
    trial = spec["trial"]
    assert (trial["nodes"], trial["retries"]) == (3, 2)
    (container,) = trial["template"]["spec"]["containers"]
    assert container["command"][2:] == [
        "--lr=$(TUNING_PARAM_LR)",
        "--layers=$(TUNING_PARAM_NUM_LAYERS)",
        "--epochs=$(TUNING_PARAM_EPOCHS)",
    ]
    variables = {one["name"]: one["value"] for one in container["env"]}
    assert variables["PET_NNODES"] == "$(WORLD_SIZE)"
    assert variables["PET_NPROC_PER_NODE"] == "2"


def test_hyperband_sets_the_length_of_a_training() -> None:
    spec = spec_of("hyperband", Settings())
    assert spec["axis"] == {"metric": "train_epochs", "total": 9}
    assert spec_of("hyperband")["axis"] == {"metric": "train_step", "total": 2000}
    assert [one["name"] for one in spec["parameters"]] == ["lr", "optimizer"]
    assert spec["stopping"] == [{"rule": "Percentile"}]
    assert spec["trial"]["template"]["spec"]["containers"][0]["command"][-1] == "--num-epochs=9"


def test_a_grid_over_a_train_job() -> None:
    spec = spec_of("grid-trainjob")
    assert spec["search"] == {"algorithm": "Grid"}
    assert [one["step"] for one in spec["parameters"]] == [0.01, 2]
    assert spec["trial"]["nodes"] == 2
    (container,) = spec["trial"]["template"]["spec"]["containers"]
    assert container["resources"] == {"limits": {"nvidia.com/gpu": 1}}
    warnings = told(convert(load("grid-trainjob"), TOTAL), Outcome.WARNING)
    assert "spec.trialTemplate.failureCondition" in warnings
    assert "spec.trialTemplate.successCondition" not in warnings


def test_cmaes_with_prometheus_and_an_indexed_job() -> None:
    assert spec_of("cmaes-prometheus")["search"] == {"algorithm": "CMAES"}
    assert spec_of("cmaes-prometheus")["trial"]["nodes"] == 4
    manifest = load("cmaes-prometheus")
    manifest["spec"]["parameters"].append(
        {"name": "o", "parameterType": "categorical", "feasibleSpace": {"list": ["a", "b"]}}
    )
    found = convert(manifest, TOTAL)
    assert found.manifest is not None
    assert found.manifest["spec"]["search"] == {"algorithm": "TPE"}


def test_an_optimization_job() -> None:
    spec = spec_of("optimization-job")
    assert spec["objective"] == {"metric": "val_loss", "direction": "Minimize", "reduce": "Last"}
    assert spec["search"] == {"algorithm": "Random", "seed": 42}
    assert spec["budget"] == {"trials": 20, "parallel": 4}
    assert [one["type"] for one in spec["parameters"]] == ["Float", "Int", "Categorical"]
    (container,) = spec["trial"]["template"]["spec"]["containers"]
    assert container["env"][0] == {
        "name": "KUBEFLOW_TRAINER_OPT_LEARNING_RATE",
        "value": "$(TUNING_PARAM_LEARNING_RATE)",
    }
    assert container["env"][-1]["name"] == "LR"


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        *way, last = path.split(".")
        place: Any = manifest["spec"]
        for part in way:
            place = place[int(part) if part.isdigit() else part]
        place[int(last) if last.isdigit() else last] = value

    return change


CONTAINER = "trialTemplate.trialSpec.spec.template.spec.containers.0"


@pytest.mark.parametrize(
    ("change", "path", "note"),
    [
        (put("maxTrialCount", None), "spec.maxTrialCount", "give --trials N"),
        (put("nasConfig", {"graphConfig": {}}), "spec.nasConfig", "searches an architecture"),
        (put("algorithm.algorithmName", "enas"), "spec.algorithm.algorithmName", "searches architectures"),
        (put("algorithm.algorithmName", "mine"), "spec.algorithm.algorithmName", "mine is not known"),
        (put("earlyStopping", {"algorithmName": "mine"}), "spec.earlyStopping.algorithmName", "mine is not known"),
        (put("objective.type", "smallest"), "spec.objective.type", "smallest is not minimize or maximize"),
        (
            put("objective.metricStrategies", [{"name": "val_loss", "value": "max"}]),
            "spec.objective.metricStrategies[val_loss]",
            "its best value or its last",
        ),
        (put("parameters.0.feasibleSpace.min", "a"), "spec.parameters[lr].feasibleSpace.min", "there is a"),
        (put("parameters.0.feasibleSpace.min", "0"), "spec.parameters[lr].feasibleSpace.min", "begins above 0"),
        (put("parameters.0.feasibleSpace.min", "2"), "spec.parameters[lr].feasibleSpace", "min 2 is above max 0.1"),
        (put("parameters.2.feasibleSpace.max", "4.5"), "spec.parameters[layers].feasibleSpace", "whole numbers"),
        (put("parameters.2.parameterType", "real"), "spec.parameters[layers].parameterType", "real is not double"),
        (put("parameters.2.name", "LR"), "spec.parameters[LR].name", "share the variable"),
        (
            put("parameters.0.name", "l-r"),
            "spec.trialTemplate.trialParameters[learningRate].reference",
            "lr is neither",
        ),
        (
            put(f"{CONTAINER}.image", "x:${trialParameters.layers}"),
            "template.spec.containers[0].image",
            "command, args and env",
        ),
        (
            put(f"{CONTAINER}.args.0", "${trialParameters.other}"),
            "spec.trialTemplate.trialSpec.spec.template.spec.containers[train].args",
            "not among the trialParameters",
        ),
        (
            put("trialTemplate.primaryContainerName", "other"),
            "spec.trialTemplate.primaryContainerName",
            "no container other",
        ),
        (
            put("trialTemplate.configMap", {"configMapName": "x"}),
            "spec.trialTemplate.configMap",
            "write it into trialTemplate.trialSpec",
        ),
        (
            put("trialTemplate.trialSpec.kind", "TFJob"),
            "spec.trialTemplate.trialSpec.kind",
            "batch/v1 TFJob is not a Job",
        ),
        (
            put("trialTemplate.trialSpec.spec.completions", 3),
            "spec.trialTemplate.trialSpec.spec.completions",
            "one pod",
        ),
        (
            put("trialTemplate.trialSpec.spec.odd", 3),
            "spec.trialTemplate.trialSpec.spec.odd",
            "not known how to convert",
        ),
        (
            put("metricsCollectorSpec", {"collector": {"kind": "Custom"}}),
            "spec.metricsCollectorSpec.collector.kind",
            "cannot be taken over",
        ),
        (put("odd", 1), "spec.odd", "not known how to convert"),
    ],
)
def test_what_cannot_be_converted_is_refused_with_what_to_do(
    change: Callable[[dict[str, Any]], None], path: str, note: str
) -> None:
    manifest = copy.deepcopy(load("random-job"))
    change(manifest)
    refused = told(convert(manifest, TOTAL), Outcome.REFUSED)
    assert note in refused.get(path, f"nothing; refused are {refused}")


def test_nodes_with_different_templates_are_refused() -> None:
    manifest = copy.deepcopy(load("bayesian-pytorchjob"))
    replicas = manifest["spec"]["trialTemplate"]["trialSpec"]["spec"]["pytorchReplicaSpecs"]
    replicas["Worker"] = copy.deepcopy(replicas["Worker"])
    replicas["Worker"]["template"]["spec"]["containers"][0]["image"] = "other"
    (note,) = told(convert(manifest, TOTAL), Outcome.REFUSED).values()
    assert "make Worker equal to Master" in note


def test_what_the_search_cannot_do_is_found_by_the_operators_own_check() -> None:
    manifest = copy.deepcopy(load("grid-trainjob"))
    del manifest["spec"]["parameters"][0]["feasibleSpace"]["step"]
    found = convert(manifest, TOTAL)
    assert found.manifest is None
    assert any("spec.search.algorithm is Grid" in note for note in told(found, Outcome.REFUSED).values())


@pytest.mark.parametrize("data", [{"apiVersion": "batch/v1", "kind": "Job"}, [], None, "text"])
def test_another_kind_is_no_business_of_it(data: object) -> None:
    with pytest.raises(ManifestError, match="expected a Katib Experiment"):
        convert(data, TOTAL)


def test_the_command_writes_the_job_to_standard_output_and_the_table_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = next(path for path in MANIFESTS if path.stem == "random-job")
    assert call("convert", str(path), "--total", "2000") == ExitCode.OK
    said = capsys.readouterr()
    assert yaml.safe_load(said.out)["kind"] == "TuningJob"
    assert said.out.startswith("# Converted from random-job.yaml")
    assert "# warning: spec.objective.additionalMetricNames: " in said.out
    assert "16 converted, 4 with a warning, 0 refused." in said.err

    target = tmp_path / "job.yaml"
    assert call("convert", str(path), "--total", "2000", "--output", str(target)) == ExitCode.OK
    assert capsys.readouterr().out == ""
    assert target.read_text(encoding="utf-8") == said.out
    assert call("validate", str(target)) == ExitCode.OK


def test_refusals_keep_the_job_back_unless_forced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = load("random-job")
    manifest["spec"]["odd"] = 1
    monkeypatch.setattr("sys.stdin", io.StringIO(yaml.safe_dump(manifest)))
    assert call("convert", "-") == ExitCode.USAGE
    said = capsys.readouterr()
    assert said.out == ""
    assert "give --total" in " ".join(said.err.split())
    assert "2 refused" in said.err
    monkeypatch.setattr("sys.stdin", io.StringIO(yaml.safe_dump(manifest)))
    assert call("convert", "-", "--force") == ExitCode.OK
    text = capsys.readouterr().out
    assert "# refused: spec.odd: it is not known how to convert this field" in text
    forced = tmp_path / "forced.yaml"
    forced.write_text(text, encoding="utf-8")
    assert call("validate", str(forced)) == ExitCode.OK


@pytest.mark.parametrize(
    ("text", "why"), [("a: [", "it is no YAML"), ("", "it holds 0 documents"), ("a: 1\n---\nb: 2", "2 documents")]
)
def test_a_file_that_cannot_be_read_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, why: str
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    assert call("convert", str(path)) == ExitCode.USAGE
    assert why in capsys.readouterr().err
    assert call("convert", str(tmp_path / "none.yaml")) == ExitCode.USAGE
    assert "the file cannot be read" in capsys.readouterr().err
