"""One active operator at a time, by a `coordination.k8s.io` Lease.

The rules are client-go's. A follower takes a Lease over when its record has not changed for the Lease's duration *by
the follower's own clock*, so clocks need not agree. A leader that could not renew within its deadline, which is shorter
than the duration, stops before anybody else can start; the deadline counts from the moment at which the last renewal
was sent, because nobody can have seen it earlier. Writing goes through ``replace`` with the resourceVersion, so of two
followers one loses by a conflict.

A process that was frozen wakes up with its tasks in any order, so that not leading any more is also asked before each
write (`Leadership.check`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.errors import ApiError, NotFound, NotLeading
from tuning_operator.backends.kubernetes.resources import LEASES, Object

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds; `renew_within` must be below `duration`."""

    duration: float = 15.0
    renew_within: float = 10.0
    pause: float = 2.0

    @classmethod
    def of(cls, duration: float) -> Timing:
        """Return the usual proportions, client-go's, for a Lease that lasts so long."""
        return cls(duration=duration, renew_within=duration * 2 / 3, pause=duration * 2 / 15)


class Leadership:
    """The claim of one process to lead.

    Attributes:
        holder: Who leads, as far as is known; empty if nobody does.
        trouble: Why the last attempt to read or write the Lease failed; empty if it did not.
    """

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
        self._lasts = self._timing.duration
        self._renewed: float | None = None
        self.holder = ""
        self.trouble = ""

    @property
    def left(self) -> float:
        """Return the seconds for which this process may still act without renewing; not above 0 if it does not lead."""
        return 0.0 if self._renewed is None else self._renewed + self._timing.renew_within - self._clock()

    def check(self) -> None:
        """Raise NotLeading unless this process may act."""
        if self.left <= 0:
            raise NotLeading("this process does not lead, or could not say in time that it still does")

    async def acquire(self) -> None:
        """Wait until this process leads."""
        while not await self._attempt_within(self._timing.renew_within):
            await self._sleep(self._timing.pause)

    async def hold(self) -> None:
        """Renew until that has failed for the renew deadline or somebody else leads; then return."""
        while self.left > 0:
            await self._sleep(min(self._timing.pause, self.left))
            if not await self._attempt_within(max(self.left, 0.1)) and self.holder not in ("", self._identity):
                break
        self._renewed = None

    async def release(self) -> None:
        """Give the Lease back, so that a standby need not wait for it to run out; no error if that fails."""
        self._renewed = None
        try:
            lease = await self._client.get(LEASES, namespace=self._namespace, name=self._name)
            if lease["spec"].get("holderIdentity") == self._identity:
                lease["spec"]["holderIdentity"] = ""
                await self._client.replace(LEASES, lease)
        except ApiError:
            return

    async def _attempt_within(self, seconds: float) -> bool:
        """Try once to take or renew the Lease; an API server in trouble counts as no."""
        try:
            async with asyncio.timeout(seconds):
                is_ours = await self._attempt()
            self.trouble = ""
            return is_ours
        except (ApiError, TimeoutError) as error:
            trouble = str(error) or f"no answer within {seconds:.0f} s"
            if trouble != self.trouble:
                _log.warning("the Lease %s/%s: %s", self._namespace, self._name, trouble)
            self.trouble = trouble
            return False

    async def _attempt(self) -> bool:
        try:
            lease = await self._client.get(LEASES, namespace=self._namespace, name=self._name)
        except NotFound:
            sent = self._clock()
            lease = await self._client.create(LEASES, self._lease())
        else:
            self._look(lease)
            if self.holder not in ("", self._identity) and not self._ran_out():
                return False
            sent = self._clock()
            lease = await self._client.replace(LEASES, self._lease(previous=lease))
        self._look(lease)
        self._renewed = sent
        return True

    def _look(self, lease: Object) -> None:
        spec = lease.get("spec") or {}
        self.holder = spec.get("holderIdentity") or ""
        self._lasts = float(spec.get("leaseDurationSeconds") or self._timing.duration)
        record = (self.holder, spec.get("renewTime") or "")
        if record != self._seen:
            self._seen, self._seen_at = record, self._clock()

    def _ran_out(self) -> bool:
        return self._clock() - self._seen_at >= self._lasts

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
