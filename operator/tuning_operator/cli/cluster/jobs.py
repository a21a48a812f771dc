"""The jobs of a namespace: read, listed, and asked to pause, go on or end."""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

from tuning_operator.backends.kubernetes import labels
from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.errors import ApiError, Forbidden, NotFound
from tuning_operator.backends.kubernetes.job_view import view_objects
from tuning_operator.backends.kubernetes.resources import TRIALS, TUNING_JOBS, Object, key_of, name_of
from tuning_operator.backends.kubernetes.retries import Retries
from tuning_operator.cli.cluster import trouble
from tuning_operator.cli.cluster.follow import follow_objects
from tuning_operator.cli.cluster.place import Place
from tuning_operator.engine.view import JobView
from tuning_operator.errors import RunNotFound

_RETRIES: Final = Retries(attempts=2)
"""A person waits: one more try, no more."""
_TIMEOUT: Final = 15.0
Answer = TypeVar("Answer")


class ClusterJobs:
    """TuningJobs of one namespace; every call makes a connection of its own."""

    def __init__(self, place: Place, *, clock: Callable[[], float] = time.time) -> None:
        self.place = place
        self._clock = clock

    def load(self, name: str) -> JobView:
        """Return the picture that the job's objects give now.

        Raises:
            RunNotFound: There is no such job; the text says which there are.
            BackendError: The cluster cannot be asked, or does not answer this person.
        """
        job, trials = self._ask(lambda client: self._read(client, name))
        return view_objects(job, trials, time=self._clock())

    def where(self, name: str) -> str:  # noqa: ARG002
        """Return where a job is, for people."""
        return str(self.place)

    def report_path(self, name: str) -> Path:
        """Return where the report of a job is written unless somebody says otherwise."""
        return Path(f"{name}-report.html")

    def objects(self, *, everywhere: bool = False) -> list[Object]:
        """Return the TuningJobs of the namespace, or of all, by name.

        Raises:
            BackendError: The cluster cannot be asked, or does not answer this person.
        """
        namespace = None if everywhere else self.place.namespace
        return sorted(self._ask(lambda client: self._list(client, namespace)), key=key_of)

    def get(self, name: str) -> Object:
        """Return one TuningJob as it is stored.

        Raises:
            RunNotFound: There is no such job; the text says which there are.
            BackendError: The cluster cannot be asked, or does not answer this person.
        """
        return self._ask(lambda client: self._get(client, name))

    def change(self, name: str, **spec: bool) -> Object:
        """Write fields of a job's spec, and return the job as it is then.

        Raises:
            BackendError: The cluster cannot be asked, or does not allow it.
        """
        return self._ask(
            lambda client: client.patch(TUNING_JOBS, {"spec": spec}, namespace=self.place.namespace, name=name)
        )

    async def follow(self, name: str) -> AsyncGenerator[JobView, None]:
        """Yield a new picture whenever something has changed, and every second, until the job is over.

        Raises:
            RunNotFound: There is no such job, or not any more.
            BackendError: The cluster cannot be asked, or does not answer this person.
        """
        async with self._connected() as client:
            await self._read(client, name)
            async for view in follow_objects(client, self.place, name, clock=self._clock):
                yield view

    async def _read(self, client: Client, name: str) -> tuple[Object, list[Object]]:
        job = await self._get(client, name)
        selector = f"{labels.LABEL_JOB}={name}"
        trials, _ = await client.list(TRIALS, namespace=self.place.namespace, labels=selector)
        return job, trials

    async def _get(self, client: Client, name: str) -> Object:
        try:
            return await client.get(TUNING_JOBS, namespace=self.place.namespace, name=name)
        except NotFound:
            known = [name_of(job) for job in await self._list(client, self.place.namespace)]
            raise RunNotFound(await self._not_found(client, name, known)) from None

    async def _list(self, client: Client, namespace: str | None) -> list[Object]:
        try:
            items, _ = await client.list(TUNING_JOBS, namespace=namespace)
        except NotFound:
            raise trouble.not_installed(self.place) from None
        return items

    async def _not_found(self, client: Client, name: str, known: list[str]) -> str:
        said = f"no TuningJob {name} in {self.place}"
        if near := difflib.get_close_matches(name, known, n=1, cutoff=0.6):
            return f"{said}; did you mean {near[0]}?"
        elsewhere = await self._namespaces_with(client, name)
        if elsewhere:
            return f"{said}; there is one in namespace {', '.join(elsewhere)}: give it with -n"
        if known:
            return f"{said}; there is: {', '.join(known[:10])}{', ...' if len(known) > 10 else ''}"
        return f"{said}, which has none at all; another namespace is given with -n"

    async def _namespaces_with(self, client: Client, name: str) -> list[str]:
        """Return other namespaces that have a job of this name, as far as this person may know."""
        try:
            items, _ = await client.list(TUNING_JOBS, fields=f"metadata.name={name}")
        except ApiError:
            return []
        return sorted(key_of(item)[0] for item in items)

    def _ask(self, question: Callable[[Client], Awaitable[Answer]]) -> Answer:
        async def ask() -> Answer:
            async with self._connected() as client:
                return await question(client)

        return asyncio.run(ask())

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Client]:
        try:
            client = await Client.connect(
                kubeconfig=self.place.kubeconfig, context=self.place.context, retries=_RETRIES, timeout=_TIMEOUT
            )
            async with client:
                try:
                    yield client
                except Forbidden:
                    if not await client.served(group=TUNING_JOBS.group, version=TUNING_JOBS.version):
                        raise trouble.not_installed(self.place) from None
                    raise
        except ApiError as error:
            raise trouble.explain(error, self.place) from None
