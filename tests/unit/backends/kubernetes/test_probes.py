"""What the kubelet hears of a process that asks who leads, stands by, reads the cluster, or leads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import aiohttp

from tuning_operator.backends.kubernetes.process import Probes


async def ask(probes: Probes, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{probes.port}{path}") as answer:
        return answer.status, (await answer.text()).strip()


async def test_a_process_is_ready_once_it_could_lead_and_again_once_it_does() -> None:
    async with Probes(("127.0.0.1", 0)) as probes:
        assert await ask(probes, "/healthz") == (200, "alive")
        assert await ask(probes, "/readyz") == (503, "asking who leads")
        probes.leadership = cast(Any, SimpleNamespace(holder=""))
        assert await ask(probes, "/readyz") == (503, "asking who leads")
        probes.leadership = cast(Any, SimpleNamespace(holder="another"))
        assert await ask(probes, "/readyz") == (200, "standing by")
        probes.service = cast(Any, SimpleNamespace(is_ready=False))
        assert await ask(probes, "/readyz") == (503, "reading the cluster")
        probes.service = cast(Any, SimpleNamespace(is_ready=True))
        assert await ask(probes, "/readyz") == (200, "leading")
