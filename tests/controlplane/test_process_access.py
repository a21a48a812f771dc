"""The table of rights against the API server's own audit log: nothing is missing, nothing is unused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.controlplane.operators import operator
from tests.controlplane.studies import manifest
from tests.controlplane.test_service import Kubelet, condition, gone, is_true, operator_user, running, until
from tests.testbed.audit import asked
from tests.testbed.controlplane import ControlPlane

from tuning_operator.backends.kubernetes.access import OWN_RIGHTS, RIGHTS, Right
from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.reflector import Reflector
from tuning_operator.backends.kubernetes.resources import JOBS, PODS, TRIALS, TUNING_JOBS


@pytest.mark.timeout(240)
async def test_a_run_that_does_everything_uses_every_right_and_needs_no_other(
    crds: ControlPlane, namespace: str, client: Client, tmp_path: Path
) -> None:
    body = manifest(
        namespace,
        budget={"trials": 3, "parallel": 2, "failedTrials": 3},
        trial={**manifest(namespace)["spec"]["trial"], "nodes": 2, "retries": 0},
        metrics={"interval": "200ms"},
    )
    pods = Reflector(client, PODS, namespace=namespace)
    kubelet = Kubelet(client, pods)
    # Names that are taken by what belongs to somebody else: the only reason to read what cannot be created.
    spec = {"job": "other", "number": 1, "parameters": {"lr": 0.1}, "seed": 1}
    await client.create(TRIALS, {"metadata": {"name": "digits-0000", "namespace": namespace}, "spec": spec})
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}}
    theirs = {
        "metadata": {"name": "digits-0001", "namespace": namespace},
        "spec": {"suspend": True, "template": template},
    }
    await client.create(JOBS, theirs)
    kubeconfig = operator_user(crds, namespace)
    async with (
        operator(tmp_path, kubeconfig=kubeconfig, own_namespace=namespace, namespaces=(namespace,)) as process,
        running(pods.run(), kubelet.run()),
    ):
        await client.apply(TUNING_JOBS, body)
        await process.until_logged("a Trial digits-0000 is there that belongs to something else")
        await client.delete(TRIALS, namespace=namespace, name="digits-0000")
        await process.until_logged("jobs.batch", 40)
        await client.delete(JOBS, namespace=namespace, name="digits-0001")
        await until("two run", client, namespace, lambda status: status.get("trials", {}).get("running") == 2)
        body["spec"]["suspend"] = True
        await client.apply(TUNING_JOBS, body)
        await until("suspended", client, namespace, lambda status: is_true(status, "Suspended"))
        await gone(client, namespace, JOBS)
        body["spec"]["suspend"] = False
        await client.apply(TUNING_JOBS, body)
        kubelet.let_end()
        await until("complete", client, namespace, lambda status: is_true(status, "Complete"), 90)
    found = asked(crds.logs, f"operator-{namespace}")
    assert [one for one in found if one.code == 403] == []
    used = {(one.verb, one.group, one.resource) for one in found}
    # Whatever a patch makes because it is not there, has to be allowed to be created.
    used |= {("create", one.group, one.resource) for one in found if one.verb == "patch" and one.code == 201}
    table = {(verb, one.group, one.resource) for one in (*RIGHTS, *OWN_RIGHTS) if one.by_request for verb in one.verbs}
    assert used == table


@pytest.mark.parametrize("right", [one for one in RIGHTS if not one.by_request], ids=lambda right: right.resource)
async def test_what_only_an_admission_plugin_asks_for_is_needed_too(
    crds: ControlPlane, namespace: str, client: Client, tmp_path: Path, right: Right
) -> None:
    kubeconfig = operator_user(crds, namespace, rights=[one for one in RIGHTS if one is not right])
    async with operator(tmp_path, kubeconfig=kubeconfig, own_namespace=namespace, namespaces=(namespace,)) as process:
        await process.until("/readyz", "leading")
        await client.apply(TUNING_JOBS, manifest(namespace))
        if right.resource == "tuningjobs/finalizers":  # A Trial cannot be made: perhaps the right comes yet.
            await process.until_logged("cannot set blockOwnerDeletion")
        else:  # The dry run of its Job finds it out.
            status = await until(
                "refused", client, namespace, lambda s: condition(s, "Accepted").get("status") == "False"
            )
            assert "cannot set blockOwnerDeletion" in condition(status, "Accepted")["message"]
