"""One active operator at a time, by a `coordination.k8s.io` Lease.

The rules are client-go's. A follower takes a Lease over when its record has not changed for the Lease's duration *by
the follower's own clock*, so clocks need not agree. A leader that could not renew within its deadline, which is shorter
than the duration, stops before anybody else can start. Writing goes through ``replace`` with the resourceVersion, so of
two followers one loses by a conflict.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.errors import ApiError, NotFound
from tuning_operator.backends.kubernetes.resources import LEASES, Object


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds; `renew_within` must be below `duration`."""

    duration: float = 15.0
    renew_within: float = 10.0
    pause: float = 2.0


class Leadership:
    """The claim of one process to lead."""

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        name: str,
        identity: str,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._timing = timing or Timing()
        self._clock = clock
        self._sleep = sleep
        self._now = now
        self._seen: tuple[str, str] = ("", "")
        self._seen_at = 0.0
        self.holder = ""

    async def acquire(self) -> None:
        """Wait until this process leads."""
        while not await self._attempt():
            await self._sleep(self._timing.pause)

    async def hold(self) -> None:
        """Renew until that has failed for the renew deadline or somebody else leads; then return."""
        renewed = self._clock()
        while self._clock() - renewed < self._timing.renew_within:
            await self._sleep(self._timing.pause)
            left = self._timing.renew_within - (self._clock() - renewed)
            try:
                async with asyncio.timeout(max(left, 0.1)):
                    if await self._attempt():
                        renewed = self._clock()
                    elif self.holder not in ("", self._identity):
                        return
            except TimeoutError:
                continue

    async def release(self) -> None:
        """Give the Lease back, so that a standby need not wait for it to run out; no error if that fails."""
        try:
            lease = await self._client.get(LEASES, namespace=self._namespace, name=self._name)
            if lease["spec"].get("holderIdentity") == self._identity:
                lease["spec"]["holderIdentity"] = ""
                await self._client.replace(LEASES, lease)
        except ApiError:
            return

    async def _attempt(self) -> bool:
        """Try once to take or renew the Lease; an API server in trouble counts as no."""
        try:
            try:
                lease = await self._client.get(LEASES, namespace=self._namespace, name=self._name)
            except NotFound:
                await self._client.create(LEASES, self._lease())
                self.holder = self._identity
                return True
            self._look(lease)
            if self.holder not in ("", self._identity) and not self._ran_out():
                return False
            fresh = self._lease(previous=lease)
            await self._client.replace(LEASES, fresh)
            self._look(fresh)
            return True
        except ApiError:
            return False

    def _look(self, lease: Object) -> None:
        spec = lease.get("spec") or {}
        self.holder = spec.get("holderIdentity") or ""
        record = (self.holder, spec.get("renewTime") or "")
        if record != self._seen:
            self._seen, self._seen_at = record, self._clock()

    def _ran_out(self) -> bool:
        return self._clock() - self._seen_at >= self._timing.duration

    def _lease(self, previous: Object | None = None) -> Object:
        stamp = self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = (previous or {}).get("spec") or {}
        is_mine = before.get("holderIdentity") == self._identity
        transitions = int(before.get("leaseTransitions") or 0)
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": (previous or {}).get("metadata") or {"name": self._name, "namespace": self._namespace},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": round(self._timing.duration) or 1,
                "acquireTime": before.get("acquireTime", stamp) if is_mine else stamp,
                "renewTime": stamp,
                "leaseTransitions": transitions if is_mine or previous is None else transitions + 1,
            },
        }
