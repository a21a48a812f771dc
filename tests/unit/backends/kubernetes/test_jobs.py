from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.backends.kubernetes.objects import spec, trial

from tuning_operator.backends.kubernetes import labels
from tuning_operator.backends.kubernetes.jobs import render_job, render_service
from tuning_operator.errors import BackendError


def rendered(job_spec: Any = None, queue: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    return render_job(trial(**fields), spec=job_spec or spec(), public_key="PEM", queue=queue or {})


def container_of(job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = job["spec"]["template"]["spec"]["containers"][0]
    return found


def test_the_environment_comes_first_and_the_users_own_may_refer_to_it() -> None:
    template = {
        "spec": {
            "containers": [{"name": "train", "image": "i", "env": [{"name": "LR", "value": "$(TUNING_PARAM_LR)"}]}]
        }
    }
    env = container_of(rendered(spec(template=template)))["env"]
    names = [variable["name"] for variable in env]
    assert names[-1] == "LR"
    values = {variable["name"]: variable["value"] for variable in env}
    assert json.loads(values["TUNING_PARAMETERS"]) == {"lr": 0.5, "optimizer": "sgd"}
    assert values["TUNING_PARAM_LR"] == "0.5"
    assert values["TUNING_TRIAL"] == "digits-0003"
    assert values["TUNING_IDENTITY"] == "team/digits-0003/u-1"
    assert values["TUNING_PUBLIC_KEY"] == "PEM"
    assert "TUNING_ATTEMPT" not in values


def test_the_template_is_passed_through_and_never_changed() -> None:
    job_spec = spec(
        template={
            "metadata": {"labels": {"team": "vision"}, "annotations": {"a": "b"}},
            "spec": {
                "nodeSelector": {"gpu": "yes"},
                "containers": [
                    {"name": "train", "image": "i", "command": ["x"], "resources": {"limits": {"nvidia.com/gpu": 1}}}
                ],
            },
        }
    )
    before = json.dumps(job_spec.trial.template, sort_keys=True)
    template = rendered(job_spec)["spec"]["template"]
    assert json.dumps(job_spec.trial.template, sort_keys=True) == before
    assert template["spec"]["nodeSelector"] == {"gpu": "yes"}
    assert template["metadata"]["annotations"] == {"a": "b"}
    assert template["metadata"]["labels"]["team"] == "vision"
    assert template["metadata"]["labels"][labels.LABEL_TRIAL] == "digits-0003"
    assert template["spec"]["containers"][0]["command"] == ["x"]


def test_a_job_runs_at_once_unless_a_queue_is_named() -> None:
    assert "suspend" not in rendered()["spec"]
    job = rendered(queue={labels.LABEL_QUEUE: "gpus"})
    assert job["spec"]["suspend"] is True
    assert job["metadata"]["labels"][labels.LABEL_QUEUE] == "gpus"


def test_disruptions_are_no_failures_and_what_cannot_work_fails_at_once() -> None:
    disrupted, asked, fail = rendered()["spec"]["podFailurePolicy"]["rules"]
    assert disrupted == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert asked["action"] == "Ignore"
    assert asked["onExitCodes"] == {"containerName": "train", "operator": "In", "values": [143]}
    assert fail["action"] == "FailJob"
    assert fail["onExitCodes"] == {"containerName": "train", "operator": "In", "values": [64, 126, 127, 128]}


def test_the_annotated_container_trains() -> None:
    template = {
        "metadata": {"annotations": {labels.ANNOTATION_CONTAINER: "second"}},
        "spec": {"containers": [{"name": "first", "image": "i"}, {"name": "second", "image": "i"}]},
    }
    job = rendered(spec(template=template))["spec"]
    first, second = job["template"]["spec"]["containers"]
    assert "env" not in first
    assert job["podFailurePolicy"]["rules"][-1]["onExitCodes"]["containerName"] == "second"
    assert second["ports"] == [{"name": "tuning", "containerPort": labels.PORT, "protocol": "TCP"}]


def test_nodes_make_an_indexed_job_whose_pods_find_rank_0() -> None:
    job = rendered(spec(nodes=2))
    assert job["spec"]["completionMode"] == "Indexed"
    assert job["spec"]["parallelism"] == job["spec"]["completions"] == 2
    assert job["spec"]["template"]["spec"]["subdomain"] == "digits-0003"
    env = {variable["name"]: variable.get("value") for variable in container_of(job)["env"]}
    assert env["MASTER_ADDR"] == "digits-0003-0.digits-0003"
    assert render_service(trial())["spec"]["selector"] == {labels.LABEL_TRIAL: "digits-0003"}


def test_a_claim_is_mounted_and_each_trial_has_its_folder() -> None:
    job = rendered(spec(checkpoint={"claim": "checkpoints"}))
    assert job["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": "checkpoints"}
    env = {variable["name"]: variable.get("value") for variable in container_of(job)["env"]}
    assert env["TUNING_CHECKPOINT_URI"] == f"{labels.CHECKPOINT_MOUNT}/digits-0003-u-1"


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ({}, "containers: a trial needs a container"),
        ({"spec": {"containers": [{"name": "a"}], "restartPolicy": "OnFailure"}}, "restartPolicy must be Never"),
        (
            {
                "metadata": {"annotations": {labels.ANNOTATION_CONTAINER: "x"}},
                "spec": {"containers": [{"name": "a"}]},
            },
            "the containers are a",
        ),
    ],
)
def test_a_template_that_cannot_work_is_refused_with_its_field(template: Any, sentence: str) -> None:
    with pytest.raises(BackendError, match=sentence):
        rendered(spec(template=template))
