"""What the chart renders to is what the code says, and no more than what was asked for."""

from __future__ import annotations

import base64
import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm import generate
from tests.chart.charts import CHART, MATRIX, ROOT, Helm, HelmError, names, of_kind, one

from tuning_operator.backends.kubernetes import labels
from tuning_operator.backends.kubernetes.access import OWN_RIGHTS, RIGHTS, rules
from tuning_operator.backends.kubernetes.keys import read_key_pair
from tuning_operator.backends.kubernetes.options import parse_options

CLUSTER_WIDE = ("CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding")
RENDERED = pytest.mark.parametrize("values", MATRIX, ids=lambda path: path.stem.removesuffix("-values"))


def container(objects: list[dict[str, Any]]) -> dict[str, Any]:
    (only,) = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(only)


@RENDERED
def test_lint_has_nothing_to_say(helm: Helm, values: Path) -> None:
    assert "1 chart(s) linted, 0 chart(s) failed" in helm("lint", "--strict", CHART, "--values", values)


def test_chart_and_package_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (chart["version"], chart["appVersion"]) == (package, package)


def test_what_is_generated_is_what_the_code_says_now() -> None:
    assert (CHART / "values.yaml").read_text() == generate.values_yaml()
    page = (CHART / "README.md").read_text()
    assert page == generate.with_table(page, generate.values_table())
    assert (CHART / "templates/_code.tpl").read_text() == generate.code_templates()
    for crd in (ROOT / "crds").glob("*.yaml"):
        assert (CHART / "templates/crds" / crd.name).read_text() == generate.crd_template(crd.read_text())


def test_braces_in_a_crd_are_not_taken_for_a_template(any_helm: Helm, tmp_path: Path) -> None:
    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("{apiVersion: v2, name: chart, version: 1.0.0}")
    (chart / "values.yaml").write_text("crds: {install: true}")
    (chart / "templates/_helpers.tpl").write_text('{{ define "tuning-operator.labels" }}a: b{{ end }}')
    crd = '# header\nkind: Any\nmetadata:\n  name: x\nspec: "{{ .Values }} and }} and {{{"\n'
    (chart / "templates/crd.yaml").write_text(generate.crd_template(crd))
    (rendered,) = any_helm.template(chart=chart)
    assert rendered["spec"] == "{{ .Values }} and }} and {{{"


def test_the_crds_are_those_of_the_models_and_stay(helm: Helm) -> None:
    rendered = of_kind(helm.template(), "CustomResourceDefinition")
    written = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").glob("*.yaml"))]
    assert [body["metadata"]["name"] for body in rendered] == [body["metadata"]["name"] for body in written]
    for mine, theirs in zip(rendered, written, strict=True):
        assert mine["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
        assert mine["spec"] == theirs["spec"]
    assert not of_kind(helm.template("--set", "crds.install=false"), "CustomResourceDefinition")


def test_the_operator_has_exactly_the_rights_of_the_table(helm: Helm) -> None:
    objects = helm.template()
    assert one(objects, "ClusterRole", "tuning-operator")["rules"] == rules(RIGHTS)
    (own,) = of_kind(objects, "Role")
    assert (own["metadata"]["namespace"], own["rules"]) == ("tuning-system", rules(OWN_RIGHTS))
    account = {"kind": "ServiceAccount", "name": "tuning-operator", "namespace": "tuning-system"}
    for binding in of_kind(objects, "ClusterRoleBinding", "RoleBinding"):
        assert binding["subjects"] == [account]
        assert binding["roleRef"]["name"] == binding["metadata"]["name"]


def test_a_namespaced_installation_touches_nothing_outside_its_namespaces(helm: Helm) -> None:
    values = {"namespaces": ["red", "blue"], "crds": {"install": False}, "networkPolicy": {"create": True}}
    objects = helm.template(values=values)
    assert not of_kind(objects, *CLUSTER_WIDE)
    assert {namespace for namespace, _, _ in names(objects)} == {"red", "blue", "tuning-system"}
    roles = {body["metadata"]["namespace"]: body["rules"] for body in of_kind(objects, "Role")}
    assert roles == {"red": rules(RIGHTS), "blue": rules(RIGHTS), "tuning-system": rules(OWN_RIGHTS)}
    assert [each for each in container(objects)["args"] if "namespace" in each] == [
        "--namespace=red",
        "--namespace=blue",
    ]


def test_rights_of_users_are_added_to_the_roles_that_every_cluster_has(helm: Helm) -> None:
    objects = helm.template()
    view, edit = (one(objects, "ClusterRole", f"tuning-operator-{name}") for name in ("view", "edit"))
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    assert view["metadata"]["labels"][f"{prefix}view"] == "true"
    assert {edit["metadata"]["labels"][f"{prefix}{role}"] for role in ("edit", "admin")} == {"true"}
    assert not any("status" in resource for rule in edit["rules"] for resource in rule["resources"])
    assert len(of_kind(helm.template("--set", "rbac.aggregateRoles=false"), "ClusterRole")) == 1
    wanted = helm.template(values={"namespaces": ["red"], "rbac": {"aggregateRoles": True}})
    assert len(of_kind(wanted, "ClusterRole")) == 2


def test_the_arguments_are_known_to_the_operator(helm: Helm) -> None:
    arguments = container(helm.template(values={"logLevel": "DEBUG", "fullnameOverride": "tuner"}))["args"]
    options = parse_options(arguments)
    assert options.lease == "tuner"
    assert options.probes[1] == 8080


@RENDERED
def test_every_pod_fits_the_restricted_standard(any_helm: Helm, values: Path) -> None:
    objects = any_helm.template(values=values)
    pods = [one(objects, "Deployment")["spec"]["template"]["spec"], one(objects, "Pod")["spec"]]
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"].get("runAsUser", 65532) == 65532
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for each in pod["containers"]:
            assert each["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert each["resources"]["limits"]["memory"]
            assert not each["image"].endswith(":latest")


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, "tuning-operator:0.1.0"),
        ({"registry": "example.com:5000/a/", "tag": "x"}, "example.com:5000/a/tuning-operator:x"),
        ({"digest": f"sha256:{'0' * 64}"}, f"tuning-operator@sha256:{'0' * 64}"),
        ({"repository": "ours", "tag": "x", "digest": f"sha256:{'0' * 64}"}, f"ours:x@sha256:{'0' * 64}"),
    ],
)
def test_an_image_is_named_by_registry_tag_and_digest(any_helm: Helm, image: dict[str, str], expected: str) -> None:
    objects = any_helm.template(values={"image": image})
    assert container(objects)["image"] == expected
    assert one(objects, "Pod")["spec"]["containers"][0]["image"] == expected


def test_the_key_is_one_that_the_operator_can_sign_with(helm: Helm, tmp_path: Path) -> None:
    secret = one(helm.template(), "Secret")
    assert secret["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    path = tmp_path / "key.pem"
    path.write_bytes(base64.b64decode(secret["data"]["key.pem"]))
    assert "PUBLIC KEY" in read_key_pair(path).public_pem


def test_a_key_of_ones_own_is_mounted_and_none_is_made(any_helm: Helm) -> None:
    objects = any_helm.template(values={"signingKey": {"existingSecret": "mine", "key": "ed25519"}})
    assert not of_kind(objects, "Secret")
    volumes = one(objects, "Deployment")["spec"]["template"]["spec"]["volumes"]
    (mounted,) = [volume["secret"] for volume in volumes if volume["name"] == "signing-key"]
    assert (mounted["secretName"], mounted["items"]) == ("mine", [{"key": "ed25519", "path": "key.pem"}])


def test_prometheus_is_shown_the_pods_and_ports_that_there_are(any_helm: Helm) -> None:
    objects = any_helm.template("--set", "podMonitor.create=true")
    operator, trials = (one(objects, "PodMonitor", f"tuning-operator{end}")["spec"] for end in ("", "-trials"))
    pod = one(objects, "Deployment")["spec"]["template"]
    assert operator["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert operator["podMetricsEndpoints"][0]["port"] in {port["name"] for port in container(objects)["ports"]}
    assert operator["podMetricsEndpoints"][0]["honorLabels"] is True
    assert trials["selector"]["matchLabels"].items() <= labels.trial_labels("job", "trial").items()
    assert trials["podMetricsEndpoints"][0]["port"] == labels.PORT_NAME
    assert trials["podMetricsEndpoints"][0]["params"] == {"window": ["prometheus"]}
    read = str(trials["podMetricsEndpoints"][0]["relabelings"])
    for label in (labels.LABEL_JOB, labels.LABEL_TRIAL, labels.ANNOTATION_INDEX):
        assert f"__meta_kubernetes_pod_label_{label.replace('/', '_').replace('.', '_').replace('-', '_')}" in read
    assert trials["namespaceSelector"] == {"any": True}
    assert len(of_kind(any_helm.template("--set", "podMonitor.create=true,podMonitor.trials=false"), "PodMonitor")) == 1


def test_dashboards_and_alerts_are_shipped_as_they_were_written(any_helm: Helm, tmp_path: Path) -> None:

    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    board = {"title": "{{ not a template }}", "legend": "{{trial}} 'quoted' \"twice\""}
    shutil.rmtree(chart / "files", ignore_errors=True)
    (chart / "files/dashboards").mkdir(parents=True)
    (chart / "files/dashboards/job.json").write_text(json.dumps(board, indent=1))
    groups = [
        {"name": "a", "rules": [{"alert": "A", "expr": "up == 0", "annotations": {"summary": "{{ $labels.pod }}"}}]}
    ]
    (chart / "files/alerts.yaml").write_text(yaml.safe_dump({"groups": groups}))
    values = {"dashboards": {"create": True, "namespace": "grafana"}, "prometheusRule": {"create": True}}
    objects = any_helm.template(values=values, chart=chart)
    shipped = one(objects, "ConfigMap")
    assert shipped["metadata"]["namespace"] == "grafana"
    assert shipped["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(shipped["data"]["job.json"]) == board
    assert one(objects, "PrometheusRule")["spec"]["groups"] == groups
    shutil.rmtree(chart / "files")
    assert not of_kind(any_helm.template(values=values, chart=chart), "ConfigMap", "PrometheusRule")


def test_only_the_operator_and_prometheus_may_speak_to_trials(any_helm: Helm) -> None:
    objects = any_helm.template(values={"networkPolicy": {"create": True, "trialNamespaces": ["red"]}})
    trials = one(objects, "NetworkPolicy", "tuning-operator-trials")
    assert trials["metadata"]["namespace"] == "red"
    assert trials["spec"]["podSelector"]["matchLabels"].items() <= labels.trial_labels("job", "trial").items()
    from_outside, from_each_other = trials["spec"]["ingress"]
    assert from_outside["ports"] == [{"port": labels.PORT, "protocol": "TCP"}]
    operator, prometheus = from_outside["from"]
    pod = one(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert operator["podSelector"]["matchLabels"].items() <= pod.items()
    assert operator["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "tuning-system"}}
    assert prometheus == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert from_each_other == {"from": [{"podSelector": trials["spec"]["podSelector"]}]}
    own = one(objects, "NetworkPolicy", "tuning-operator")["spec"]
    assert own["policyTypes"] == ["Ingress", "Egress"]
    assert [(rule["from"], rule["ports"]) for rule in own["ingress"]] == [
        ([prometheus], [{"port": 8080, "protocol": "TCP"}])
    ]
    assert [port["port"] for rule in own["egress"] for port in rule["ports"]] == [labels.PORT, 443, 6443, 53, 53]


def test_network_policies_need_to_know_where_trials_run(helm: Helm) -> None:
    with pytest.raises(HelmError, match=r"networkPolicy\.trialNamespaces"):
        helm.template("--set", "networkPolicy.create=true")


@pytest.mark.parametrize("release", ["tuning-operator", "a" * 53, "x"])
def test_long_and_short_release_names_make_valid_names(any_helm: Helm, release: str) -> None:
    text = any_helm("template", release, CHART, "--kube-version", "1.36.4", "--set", "podMonitor.create=true")
    objects = [body for body in yaml.safe_load_all(text) if body]
    for _, kind, name in names(objects):
        assert len(name) <= 63, (kind, name)
        assert not name.startswith("-")
        assert not name.endswith("-")
    assert one(objects, "Deployment")["metadata"]["name"].count("operator") <= 1


def test_an_older_kubernetes_is_refused(helm: Helm) -> None:
    with pytest.raises(HelmError, match=r"requires kubeVersion: >=1\.32"):
        helm("template", "tuning", CHART, "--kube-version", "1.31.9")
