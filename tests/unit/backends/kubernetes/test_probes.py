"""What the kubelet hears of a process that asks who leads, stands by, reads the cluster, or leads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import aiohttp

from tuning_operator.backends.kubernetes.meters import WorkMeters
from tuning_operator.backends.kubernetes.probes import HANGS_AFTER, Probes


async def ask(probes: Probes, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{probes.port}{path}") as answer:
        return answer.status, (await answer.text()).strip()


def service(**known: Any) -> Any:
    return cast(Any, SimpleNamespace(**{"is_ready": False, "refusal": "", "reflectors": (), **known}))


async def test_a_process_is_ready_once_it_could_lead_and_again_once_it_does() -> None:
    async with Probes(("127.0.0.1", 0)) as probes:
        assert await ask(probes, "/healthz") == (200, "alive")
        assert await ask(probes, "/readyz") == (503, "asking who leads")
        probes.leadership = cast(Any, SimpleNamespace(holder="", trouble="no rights"))
        assert await ask(probes, "/readyz") == (503, "asking who leads: no rights")
        probes.leadership = cast(Any, SimpleNamespace(holder="another", trouble=""))
        assert await ask(probes, "/readyz") == (200, "standing by")
        probes.leads([service()], WorkMeters())
        assert await ask(probes, "/readyz") == (503, "reading the cluster")
        probes.leads([service(is_ready=True)], WorkMeters())
        assert await ask(probes, "/readyz") == (200, "leading")


async def test_a_namespace_that_is_refused_does_not_keep_the_others_from_being_served() -> None:
    async with Probes(("127.0.0.1", 0)) as probes:
        refused, ready = service(refusal="namespace b cannot be served"), service(is_ready=True)
        probes.leads([refused, ready], WorkMeters())
        assert await ask(probes, "/readyz") == (200, "leading\nnamespace b cannot be served")
        probes.leads([refused], WorkMeters())
        assert await ask(probes, "/readyz") == (503, "reading the cluster\nnamespace b cannot be served")
        probes.leads([service(), ready], WorkMeters())
        assert await ask(probes, "/readyz") == (503, "reading the cluster")


async def test_a_process_whose_cache_hangs_is_not_alive() -> None:
    reflector = SimpleNamespace(idle=HANGS_AFTER - 1, resource="trials.tuning-operator.io")
    async with Probes(("127.0.0.1", 0)) as probes:
        probes.leads([service(is_ready=True, reflectors=(reflector,))], WorkMeters())
        assert await ask(probes, "/healthz") == (200, "alive")
        reflector.idle = HANGS_AFTER + 1
        status, text = await ask(probes, "/healthz")
        assert status == 503
        assert "trials.tuning-operator.io" in text
