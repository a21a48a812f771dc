"""The operator's process: leadership, probes, signals, and a `Service` for each namespace that is served.

A process that does not lead only answers its probes. One that leads and cannot say so in time any more ends, so that
nothing is done twice; it is started again by whoever started it, and stands by.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any, Final

from tuning_operator.backends.kubernetes.client import Client
from tuning_operator.backends.kubernetes.keys import load_key_pair
from tuning_operator.backends.kubernetes.kopf_watch import watch_jobs
from tuning_operator.backends.kubernetes.leader import Leadership
from tuning_operator.backends.kubernetes.log_format import set_up_logging
from tuning_operator.backends.kubernetes.meters import ProcessMeters, WorkMeters
from tuning_operator.backends.kubernetes.options import Options, parse_options
from tuning_operator.backends.kubernetes.probes import Probes
from tuning_operator.backends.kubernetes.reflector import Change
from tuning_operator.backends.kubernetes.resources import Object
from tuning_operator.backends.kubernetes.service import Service
from tuning_operator.errors import TuningError

_RELEASE: Final = 5.0
"""Seconds that giving the Lease back may take; after that it runs out by itself."""
_log = logging.getLogger(__name__)


async def run_operator(options: Options, *, stop: asyncio.Event) -> int:
    """Wait for leadership, work until `stop` or until leadership is lost, and return the exit code.

    Raises:
        TuningError: No cluster to connect to, or no key.
    """
    keys = load_key_pair(options.key_file)
    meters = ProcessMeters()
    async with AsyncExitStack() as stack:
        # The Lease is renewed over connections of its own, so that no other request can be in its way.
        lease_client = await Client.connect(kubeconfig=options.kubeconfig, observer=meters.request)
        await stack.enter_async_context(lease_client)
        probes = Probes(options.probes, meters=meters, limit=options.metrics_trials)
        await stack.enter_async_context(probes)
        leadership = Leadership(
            lease_client,
            namespace=options.own_namespace,
            name=options.lease,
            identity=options.identity,
            timing=options.timing,
        )
        probes.leadership = leadership
        client = await Client.connect(kubeconfig=options.kubeconfig, observer=meters.request, guard=leadership.check)
        await stack.enter_async_context(client)
        if await _first(leadership.acquire(), stop.wait(), meters.watch_loop()) == 1:
            return 0
        _log.info("%s leads", options.identity)
        meters.leads()
        work = WorkMeters()
        services = [
            Service(
                client,
                keys=keys,
                instance=options.identity,
                namespace=namespace,
                meters=work,
                access=options.access,
            )
            for namespace in options.namespaces or (None,)
        ]
        probes.leads(services, work)
        is_lost = False
        try:
            parts = [*(service.run() for service in services), _kopf(services, options), meters.watch_loop()]
            is_lost = await _first(leadership.hold(), stop.wait(), *parts) == 0
        finally:
            if not is_lost:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_RELEASE):
                        await leadership.release()
        if is_lost:
            _log.error("leadership is lost; this process ends so that nothing is done twice")
    return 1 if is_lost else 0


async def _first(*coroutines: Coroutine[Any, Any, Any]) -> int:
    """Run all until one ends; end the others, and return which one it was, or raise what it raised."""
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        return next(index for index, task in enumerate(tasks) if task in done)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _kopf(services: list[Service], options: Options) -> None:
    """Let kopf watch every namespace that can be read."""
    by_namespace = {service.namespace: service for service in services}

    def hear(change: Change, body: Object) -> None:
        service = by_namespace.get(body["metadata"]["namespace"]) or by_namespace.get(None)
        if service is not None:
            service.studies.hear_job(change, body)

    def readable() -> Sequence[str]:
        found = [service.namespace for service in services if service.namespace is not None and service.is_ready]
        return found or options.namespaces

    await _first(*(service.wait_ready() for service in services))
    await watch_jobs(hear, namespaces=readable, kubeconfig=options.kubeconfig)


def main() -> None:
    """Run the operator: the console script ``tuning-operator``."""
    options = parse_options(sys.argv[1:])
    set_up_logging(options.log_level, options.log_format)
    if options.kubeconfig:
        os.environ["KUBECONFIG"] = options.kubeconfig

    async def run() -> int:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        code = await run_operator(options, stop=stop)
        if code:
            # An orderly end would wait for threads at work, and somebody else may lead already.
            logging.shutdown()
            os._exit(code)
        return code

    code = 1
    with suppress(KeyboardInterrupt):
        try:
            code = asyncio.run(run())
        except TuningError as error:
            sys.stderr.write(f"tuning-operator: {error}\n")
    raise SystemExit(code)


if __name__ == "__main__":
    main()
