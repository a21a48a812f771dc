"""What reading trials through Prometheus costs: questions, time and CPU of one look, and how old what it finds is.

    python -m benchmarks.prometheus_source --trials 250 --interval 5 --looks 12

A real Prometheus scrapes as many targets as there are trials, each with the page of the real client, served by another
process. Once in every interval all of them are looked at, as a study does. The age of a page is counted from its scrape
to the end of the look.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from aiohttp import web
from tests.testbed.prometheus import start_prometheus

from tuning_operator.api.parse import parse_manifest
from tuning_operator.api.tuning_job import TuningJobSpec
from tuning_operator.scrape.prometheus_source import PrometheusSource
from tuning_operator.scrape.scraper import Scraper
from tuning_operator.scrape.source import Place
from tuning_trainer.exposition import Standing, render
from tuning_trainer.state import TrialState


async def measure(trials: int, interval: float, looks: int) -> None:
    """Run everything and print the table."""
    server_of_pages = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.prometheus_source", "--serve", stdout=asyncio.subprocess.PIPE
    )
    assert server_of_pages.stdout
    target = f"127.0.0.1:{int(await server_of_pages.stdout.readline())}"
    pods = [f"benchmark-{number:04d}-abcde" for number in range(trials)]
    config: dict[str, Any] = {
        "job_name": "trials",
        "static_configs": [
            {"targets": [target], "labels": {"namespace": "team", "pod": pod, "instance": pod}} for pod in pods
        ],
    }
    try:
        with start_prometheus([config], interval=f"{interval:g}s") as server:
            await asyncio.to_thread(server.until, f"count(train_step) == {trials}", 60)
            await look(job(server.url), pods, interval, looks)
    finally:
        server_of_pages.terminate()
        await server_of_pages.wait()


async def serve() -> None:
    """Serve pages on a free port, which is printed, until the process is ended."""
    runner = web.AppRunner(pages(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


async def look(spec: TuningJobSpec, pods: Sequence[str], interval: float, looks: int) -> None:
    """Look again and again, and print what it took."""
    questions: list[float] = []
    wall, cpu, ages = [], [], []
    async with Scraper(observe=lambda seconds, _failed: questions.append(seconds)) as scraper:
        source = scraper.source(spec=spec, namespace="team")
        assert isinstance(source, PrometheusSource)
        place = Place(url="", pod="", attempt=1, since=time.time(), seen=set())
        readers = [source.reader(replace(place, pod=pod, seen=set())) for pod in pods]
        for number in range(looks + 1):
            began, used = time.perf_counter(), time.process_time()
            await source.look(readers)
            now = time.time()
            if number:
                wall.append(time.perf_counter() - began)
                cpu.append(time.process_time() - used)
                ages += [now - newest / 1000 for one in readers for newest in one.newest.values()]
            else:
                questions.clear()
            await asyncio.sleep(max(interval - (time.perf_counter() - began), 0.0))
        assert not source.trouble, source.trouble
    rows = [
        ("trials", f"{len(pods)}"),
        ("scrape and look interval", f"{interval:g} s"),
        ("questions per look", f"{len(questions) / looks:g}"),
        ("one look, median", f"{statistics.median(wall) * 1000:.0f} ms"),
        ("one look, slowest", f"{max(wall) * 1000:.0f} ms"),
        ("CPU of the operator per look and trial", f"{statistics.mean(cpu) / len(pods) * 1e6:.0f} us"),
        ("age of a page when it is read, median", f"{statistics.median(ages):.2f} s"),
        ("age of a page when it is read, 99 %", f"{statistics.quantiles(ages, n=100)[-1]:.2f} s"),
    ]
    sys.stdout.write("".join(f"{name:42}{value:>12}\n" for name, value in rows))


def pages() -> web.Application:
    """Serve a page that moves on with the time."""
    state, began = TrialState(monotonic=time.monotonic), time.monotonic()

    async def page(request: web.Request) -> web.Response:
        step = int((time.monotonic() - began) * 10)
        state.record_step(step, 0.5, 1.0, 0.1, None, None)
        state.report(step=step, time=time.time(), counters={}, values={"eval_loss": 0.5}, learning_rate=0.1)
        standing = Standing(attempt=1, revision=0, learning_rate_scale=1.0, fraction=step / 1e6)
        snapshot = state.snapshot(scraper="prometheus")
        body, kind = render(snapshot, standing, accept=request.headers.get("Accept", ""), requested=())
        return web.Response(body=body, headers={"Content-Type": kind})

    app = web.Application()
    app.router.add_get("/metrics", page)
    return app


def job(url: str) -> TuningJobSpec:
    """Return the spec of a job that is read through a server."""
    return parse_manifest(
        {
            "apiVersion": "tuning-operator.io/v1alpha1",
            "kind": "TuningJob",
            "metadata": {"name": "benchmark"},
            "spec": {
                "objective": {"metric": "eval_loss"},
                "axis": {"total": 1e6},
                "parameters": [{"name": "lr", "type": "Float", "min": 0.1, "max": 1}],
                "metrics": {"prometheus": {"url": url}},
            },
        }
    ).spec


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=250)
    parser.add_argument(
        "--interval", type=float, default=5.0, help="seconds between two scrapes, and between two looks"
    )
    parser.add_argument("--looks", type=int, default=12)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    found = parser.parse_args()
    asyncio.run(serve() if found.serve else measure(found.trials, found.interval, found.looks))


if __name__ == "__main__":
    main()
