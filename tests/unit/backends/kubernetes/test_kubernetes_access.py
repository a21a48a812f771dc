from __future__ import annotations

import pytest
import yaml

from tuning_operator.backends.kubernetes.access import OWN_RIGHTS, RIGHTS, main, role, rules


def test_every_right_is_there_once_and_says_why() -> None:
    named = [(right.group, right.resource) for right in (*RIGHTS, *OWN_RIGHTS)]
    assert len(set(named)) == len(named)
    assert all(right.why and right.verbs for right in (*RIGHTS, *OWN_RIGHTS))


def test_nothing_is_asked_for_that_would_open_a_namespace() -> None:
    given = {(verb, right.resource) for right in (*RIGHTS, *OWN_RIGHTS) for verb in right.verbs}
    assert not {resource for _, resource in given} & {
        "secrets",
        "configmaps",
        "roles",
        "rolebindings",
        "pods/exec",
        "*",
    }
    assert not any(verb == "*" or verb == "deletecollection" for verb, _ in given)
    assert {verb for verb, resource in given if resource == "tuningjobs"} == {"get", "list", "watch"}
    assert not any(verb in ("create", "delete", "patch", "update") for verb, resource in given if resource == "pods")


def test_a_role_is_of_its_namespace() -> None:
    assert role("a")["kind"] == "ClusterRole"
    assert role("a", namespace="team", rights=OWN_RIGHTS)["metadata"] == {"name": "a", "namespace": "team"}
    assert role("a", namespace="team")["kind"] == "Role"


def test_the_rules_can_be_printed_for_the_chart(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == rules()
    assert main(["--own"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == rules(OWN_RIGHTS)
