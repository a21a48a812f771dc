"""An operator for some namespaces only, as a user who has Roles in these and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.controlplane.operators import operator
from tests.controlplane.studies import manifest
from tests.controlplane.test_service import Kubelet, is_true, let, running, until
from tests.testbed.audit import asked
from tests.testbed.controlplane import ControlPlane

from tuning_operator.backends.kubernetes.access import OWN_RIGHTS, RIGHTS
from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.reflector import Reflector
from tuning_operator.backends.kubernetes.resources import JOBS, PODS, TRIALS, TUNING_JOBS
from tuning_operator.backends.kubernetes.service import OURS


async def test_two_namespaces_are_served_and_a_third_is_not_touched(
    crds: ControlPlane, namespaces: Callable[[], str], client: Client, tmp_path: Path
) -> None:
    home, first, second, third, late = (namespaces() for _ in range(5))
    user = f"operator-{home}"
    let(crds, user, home, lead=OWN_RIGHTS)
    for namespace in (first, second):
        let(crds, user, namespace, serve=RIGHTS)
    pods = {name: Reflector(client, PODS, namespace=name, labels=OURS) for name in (first, second, third, late)}
    kubelets = [Kubelet(client, reflector) for reflector in pods.values()]
    for namespace in (first, second, third, late):
        await client.apply(TUNING_JOBS, manifest(namespace, budget={"trials": 2, "parallel": 2}))
    parts = [*(one.run() for one in pods.values()), *(one.run() for one in kubelets)]
    served = (first, second, late, "absent")
    async with (
        operator(tmp_path, kubeconfig=crds.user(user), own_namespace=home, namespaces=served) as process,
        running(*parts),
    ):
        for kubelet in kubelets:
            kubelet.let_end()
        for namespace in (first, second):
            await until("complete", client, namespace, lambda status: is_true(status, "Complete"), 60)
        ready = await process.ask("/readyz")
        assert ready[0] == 200
        for namespace in (late, "absent"):
            refusal = f"namespace {namespace} cannot be served"
            assert refusal in ready[1]
            assert "is it there, and does the operator have its Role in it?" in process.log.read_text()
        page = (await process.ask("/metrics"))[1]
        assert f'namespace="{first}"' in page
        assert f'namespace="{second}"' in page
        assert third not in page
        let(crds, user, late, serve=RIGHTS)
        await until("complete", client, late, lambda status: is_true(status, "Complete"), 90)
        assert late not in (await process.ask("/readyz"))[1]
    assert {one.namespace for one in asked(crds.logs, user)} <= {home, first, second, late, "absent"}
    for kind in (TRIALS, JOBS):
        assert (await client.list(kind, namespace=third))[0] == []
    untouched = await client.get(TUNING_JOBS, namespace=third, name="digits")
    assert "status" not in untouched
