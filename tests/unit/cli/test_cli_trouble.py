from __future__ import annotations

import pytest

from tuning_operator.backends.kubernetes.errors import error_from
from tuning_operator.cli.cluster.place import Place
from tuning_operator.cli.cluster.trouble import explain, not_installed

PLACE = Place(kubeconfig="k", context="kind", namespace="team")
DENIED = (
    'tuningjobs.tuning-operator.io "digits" is forbidden: User "{user}" cannot {verb} resource "tuningjobs" in API '
    'group "tuning-operator.io" {scope}'
)


@pytest.mark.parametrize(
    ("user", "verb", "scope", "told"),
    [
        (
            "jane",
            "patch",
            'in the namespace "team"',
            "jane may not patch tuningjobs in namespace team of cluster kind; who administers it can allow it: "
            "kubectl create rolebinding tuning-edit --clusterrole=edit --user=jane -n team",
        ),
        (
            "system:serviceaccount:ci:bot",
            "get",
            'in the namespace "team"',
            "kubectl create rolebinding tuning-view --clusterrole=view --serviceaccount=ci:bot -n team",
        ),
        (
            "jane",
            "list",
            "at the cluster scope",
            "jane may not list tuningjobs in all namespaces of cluster kind; who administers it can allow it: "
            "kubectl create clusterrolebinding tuning-view --clusterrole=view --user=jane",
        ),
    ],
)
def test_a_missing_right_names_who_what_and_how_to_grant_it(user: str, verb: str, scope: str, told: str) -> None:
    status = {"reason": "Forbidden", "message": DENIED.format(user=user, verb=verb, scope=scope)}
    assert told in str(explain(error_from(403, status, "patch tuningjobs"), PLACE))


@pytest.mark.parametrize(
    ("code", "message", "told"),
    [
        (403, "an admission plugin says no", "namespace team of cluster kind refused: an admission plugin says no"),
        (401, "Unauthorized", "does not know who you are (Unauthorized); renew the credentials"),
        (500, "etcd is away", "cluster kind refused: get tuningjobs: etcd is away"),
    ],
)
def test_other_refusals_keep_the_server_s_words(code: int, message: str, told: str) -> None:
    error = error_from(code, {"message": message}, "get tuningjobs")
    assert told in str(explain(error, PLACE))


def test_where_the_operator_is_not_installed_it_is_told_how() -> None:
    assert "the operator is not installed there" in str(not_installed(PLACE))
    assert "helm install" in str(not_installed(PLACE))
