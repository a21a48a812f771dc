"""Requests to an API server as plain dicts, carried and authenticated by the official asyncio client.

The official client's models decode every field of every object, which stops the event loop for half a second on a list
of 2,000 Jobs; its transport, its kubeconfig and its token handling are what we want. So requests are made here and
bodies stay dicts. Idempotent requests are tried again: after 429 as long as the server asks for, after 5xx and broken
connections with growing, jittered pauses.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final, Self
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import ApiClient, Configuration

from tuning_operator.backends.kubernetes.connections import Connections
from tuning_operator.backends.kubernetes.errors import ApiError, NotFound, ServerError, Throttled, error_from
from tuning_operator.backends.kubernetes.resources import PODS, Object, Resource, key_of
from tuning_operator.backends.kubernetes.retries import Retries

FIELD_MANAGER: Final = "tuning-operator"
_MERGE: Final = "application/merge-patch+json"
_APPLY: Final = "application/apply-patch+yaml"
_JSON: Final = "application/json"


Observer = Callable[[str, str, int, float], None]
"""Called after each request with verb, resource, HTTP code (0: no answer) and seconds; of a stream, once it began."""


class Client:
    """One connection pool to one API server.

    Args:
        guard: Asked before everything that writes; what it raises is what the caller gets, and nothing is sent.
    """

    def __init__(
        self,
        api: ApiClient,
        *,
        retries: Retries | None = None,
        observer: Observer | None = None,
        guard: Callable[[], None] = lambda: None,
        timeout: float = 30.0,
    ) -> None:
        self._api = api
        self._retries = retries or Retries()
        self._observer = observer
        self._guard = guard
        self._timeout = timeout

    @classmethod
    async def connect(cls, *, kubeconfig: str | None = None, context: str | None = None, **options: Any) -> Self:
        """Connect with the named kubeconfig, as the pod's own service account, or with the default kubeconfig.

        Raises:
            ApiError: Neither is to be had.
        """
        configuration = Configuration()
        try:
            if kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
                kube_config.load_incluster_config(client_configuration=configuration)
            else:
                await kube_config.load_kube_config(
                    config_file=kubeconfig, context=context, client_configuration=configuration
                )
        except (kube_config.ConfigException, OSError) as error:
            raise ApiError(f"no cluster to connect to: {error}; give --kubeconfig or set KUBECONFIG") from None
        configuration.connection_pool_maxsize = 64
        # Left to aiohttp, environment and netrc are read again for every request, in another thread.
        configuration.client_session_kwargs = {"trust_env": False}
        configuration.proxy = configuration.proxy or _proxy(configuration.host)
        api = ApiClient(configuration)
        api.rest_client = Connections(configuration)
        return cls(api, **options)

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def get(self, resource: Resource, *, namespace: str | None, name: str) -> Object:
        """Return one object.

        Raises:
            NotFound: There is none.
        """
        return await self._request("get", "GET", resource, namespace=namespace, name=name)

    async def served(self, *, group: str, version: str) -> frozenset[str]:
        """Return the plurals that the API server serves under one version of a group; none where it knows neither."""
        everything = Resource(group=group, version=version, plural="", kind="APIResourceList")
        try:
            found = await self._request("get", "GET", everything, namespace=None)
        except NotFound:
            return frozenset()
        return frozenset(str(resource["name"]) for resource in found["resources"])

    async def list(
        self, resource: Resource, *, namespace: str | None = None, labels: str = "", fields: str = "", page: int = 500
    ) -> tuple[list[Object], str]:
        """Return all objects, read in pages, and the resourceVersion to watch from.

        Raises:
            Gone: The list changed too much between two pages; start again.
        """
        items: list[Object] = []
        token = ""
        while True:
            query = _query(labelSelector=labels, fieldSelector=fields, limit=str(page), **{"continue": token})
            body = await self._request("list", "GET", resource, namespace=namespace, query=query)
            for item in body.get("items") or ():
                item.setdefault("kind", resource.kind)
                item.setdefault("apiVersion", resource.api_version)
                items.append(item)
            token = body["metadata"].get("continue", "")
            if not token:
                return items, str(body["metadata"]["resourceVersion"])

    async def watch(
        self,
        resource: Resource,
        *,
        since: str,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        seconds: int = 300,
        silence: float = 90.0,
    ) -> AsyncGenerator[Object, None]:
        """Yield watch events (dicts with ``type`` and ``object``) until the server ends the stream.

        Args:
            since: resourceVersion of the list or of the last event or bookmark.
            seconds: After which the server ends the watch by itself.
            silence: Longest time without anything, bookmarks included, before the stream counts as dead.

        Raises:
            Gone: `since` is too old.
            ServerError: The stream broke or fell silent.
        """
        query = _query(
            watch="true",
            resourceVersion=since,
            allowWatchBookmarks="true",
            labelSelector=labels,
            fieldSelector=fields,
            timeoutSeconds=str(seconds),
        )
        what = f"watch {resource}"
        limits = aiohttp.ClientTimeout(total=seconds + silence, sock_read=silence, sock_connect=10)
        try:
            async with aclosing(self._lines(resource, namespace, query, limits)) as lines:
                async for line in lines:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        status = event["object"]
                        raise error_from(int(status.get("code", 500)), status, what)
                    yield event
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ServerError(f"{what}: {type(error).__name__}: {error}") from error

    async def _lines(
        self, resource: Resource, namespace: str | None, query: Mapping[str, str], limits: aiohttp.ClientTimeout
    ) -> AsyncGenerator[bytes, None]:
        path = resource.path(namespace=namespace)
        response = await self._open("watch", resource.plural, path, query, limits, f"watch {resource}")
        try:
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield line
        finally:
            response.close()

    async def apply(
        self,
        resource: Resource,
        body: Object,
        *,
        subresource: str = "",
        manager: str = FIELD_MANAGER,
        dry_run: bool = False,
    ) -> Object:
        """Make the fields in `body` so, by server-side apply, and own them; create the object if it is not there.

        Fields that `manager` applied before and leaves out now are removed; those of other managers stay.
        """
        namespace, name = key_of(body)
        query = {"fieldManager": manager, "force": "true"} | ({"dryRun": "All"} if dry_run else {})
        return await self._request(
            "apply",
            "PATCH",
            resource,
            namespace=namespace or None,
            name=name,
            subresource=subresource,
            query=query,
            body={"apiVersion": resource.api_version, "kind": resource.kind, **body},
            content=_APPLY,
        )

    async def create(self, resource: Resource, body: Object, *, dry_run: bool = False) -> Object:
        """Create an object; not tried again, because a lost answer may hide a success.

        Raises:
            AlreadyExists: An object of this name is there.
        """
        namespace = body["metadata"].get("namespace")
        query = {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if dry_run else {})
        full = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        return await self._request("create", "POST", resource, namespace=namespace, query=query, body=full, once=True)

    async def replace(self, resource: Resource, body: Object, *, subresource: str = "") -> Object:
        """Replace an object whose resourceVersion is in `body`.

        Raises:
            Conflict: Somebody else wrote it meanwhile.
        """
        namespace, name = key_of(body)
        return await self._request(
            "update", "PUT", resource, namespace=namespace or None, name=name, subresource=subresource, body=body
        )

    async def patch(
        self, resource: Resource, body: Object, *, namespace: str | None, name: str, subresource: str = ""
    ) -> Object:
        """Merge `body` into an object."""
        return await self._request(
            "patch",
            "PATCH",
            resource,
            namespace=namespace,
            name=name,
            subresource=subresource,
            body=body,
            content=_MERGE,
        )

    async def delete(
        self,
        resource: Resource,
        *,
        namespace: str | None,
        name: str,
        uid: str | None = None,
        grace: int | None = None,
        foreground: bool = False,
    ) -> Object:
        """Delete an object and what it owns: in the background, or `foreground`, before the object itself is gone.

        Returns:
            The object as it is going, or a Status if it is gone at once.

        Raises:
            NotFound: There is none.
            Conflict: An object of this name is there, but not the one with this uid.
        """
        options: Object = {"propagationPolicy": "Foreground" if foreground else "Background"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        return await self._request("delete", "DELETE", resource, namespace=namespace, name=name, body=options)

    async def read_log(self, *, namespace: str, pod: str, container: str, lines: int = 20) -> str:
        """Return the last lines that a container wrote."""
        query = {"container": container, "tailLines": str(lines), "limitBytes": "16384"}
        limits = aiohttp.ClientTimeout(total=self._timeout)
        path = PODS.path(namespace=namespace, name=pod, subresource="log")
        async with await self._open("get", f"{PODS.plural}/log", path, query, limits, f"log of {pod}") as response:
            return (await response.read()).decode(errors="replace")

    async def _open(
        self, verb: str, label: str, path: str, query: Mapping[str, str], limits: aiohttp.ClientTimeout, what: str
    ) -> aiohttp.ClientResponse:
        """Return an answer that is to be read as it comes."""
        began, code = time.perf_counter(), 0
        try:
            response = await self._send("GET", path, query, None, _JSON, limits)
            code = response.status
        finally:
            self._observe(verb, label, code, began)
        if code != 200:
            async with response:
                raise error_from(code, _status(await response.read()), what)
        return response

    async def _request(
        self,
        verb: str,
        method: str,
        resource: Resource,
        *,
        namespace: str | None,
        name: str | None = None,
        subresource: str = "",
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content: str = _JSON,
        once: bool = False,
    ) -> Object:
        path = resource.path(namespace=namespace, name=name, subresource=subresource)
        what = " ".join(filter(None, (verb, str(resource), f"{namespace}/{name}" if name else namespace)))
        label = f"{resource.plural}/{subresource}" if subresource else resource.plural
        attempt = 0
        while True:
            try:
                return await self._try(verb, label, method, path, query or {}, body, content, what)
            except (Throttled, ServerError) as error:
                if once or attempt + 1 >= self._retries.attempts:
                    raise
                await self._retries.sleep(self._retries.pause(attempt, error.retry_after))
            attempt += 1

    async def _try(
        self,
        verb: str,
        label: str,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Object | None,
        content: str,
        what: str,
    ) -> Object:
        started = time.perf_counter()
        code = 0
        try:
            limits = aiohttp.ClientTimeout(total=self._timeout, sock_connect=5)
            response = await self._send(method, path, query, body, content, limits)
            code = response.status
            data = await response.read()
            if 200 <= code < 300:
                answer: Object = json.loads(data)
                return answer
            refused = error_from(code, _status(data), what)
            header = response.headers.get("Retry-After", "")
            refused.retry_after = float(header) if header.isdigit() else None
            raise refused
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ServerError(f"{what}: {type(error).__name__}: {error}") from error
        finally:
            self._observe(verb, label, code, started)

    def _observe(self, verb: str, label: str, code: int, began: float) -> None:
        if self._observer is not None:
            self._observer(verb, label, code, time.perf_counter() - began)

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Object | None,
        content: str,
        limits: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        if method != "GET":
            self._guard()
        headers = {"Accept": _JSON, "Content-Type": content, "User-Agent": FIELD_MANAGER}
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        url = self._api.configuration.host + path + ("?" + urlencode(query) if query else "")
        answer = await self._api.rest_client.request(method, url, headers=headers, body=body, _request_timeout=limits)
        response: aiohttp.ClientResponse = answer.response
        return response


def _proxy(host: str) -> str | None:
    """Return the proxy that the environment names for an API server, as every client of Kubernetes obeys it."""
    url = urlsplit(host)
    return None if proxy_bypass(url.netloc) else getproxies().get(url.scheme)


def _query(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _status(data: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(data)
    except ValueError:
        return {"message": data[:200].decode(errors="replace")}
    return parsed if isinstance(parsed, dict) else {}
