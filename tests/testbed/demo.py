"""``make cluster-demo``: a cluster, the images, one helm command, one job, and what they show.

Everything is real: the node's pods are containers, the operator is the chart's own pod and the trials train. Nothing is
installed on the machine, and all of it is taken down at the end.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from tests.testbed import node, packages, product, prometheus
from tests.testbed.binaries import binaries, missing_reason
from tests.testbed.controlplane import BINARIES
from tests.testbed.errors import TestbedError
from tests.testbed.node import Cluster
from tests.testbed.scraping import scrape_configs

PROGRAMS = (*BINARIES, *node.NODE_BINARIES, "helm", *prometheus.PROGRAMS)
RELEASE, SYSTEM, TEAM = "tuning-operator", "tuning-system", "team"
CHART = product.REPOSITORY / "helm/tuning-operator"
_RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"
_LIMIT = 3600.0


def main() -> int:
    """Do it all; return 0 if the job completed."""
    parser = argparse.ArgumentParser(prog="make cluster-demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--job", type=Path, default=product.REPOSITORY / "examples/digits.yaml", help="what to apply")
    parser.add_argument("--report", type=Path, default=product.REPOSITORY / "runs/cluster-demo.html", help="where to")
    parser.add_argument("--keep", action="store_true", help="at the end, keep the cluster until Enter is pressed")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="   %(message)s", stream=sys.stdout)
    try:
        if reason := node.missing_reason() or missing_reason(PROGRAMS):
            raise TestbedError(f"this machine cannot run a cluster: {reason}")
        _run(arguments.job, arguments.report, keep=arguments.keep)
    except TestbedError as error:
        _say(f"\n{error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _run(job: Path, report: Path, *, keep: bool) -> None:
    with _step("Programs of the cluster, and both images from the Dockerfile (minutes the first time)"):
        programs = binaries(PROGRAMS)
        runtime = packages.runtime()
        images = product.build_images(runtime)
    with _step("A cluster with one real node"):
        cluster = node.start_cluster()
    try:
        with _step("The images on the node"):
            for image in images.values():
                _say(f"   {cluster.give_image(image)}")
        _show(cluster, job, report, helm=programs["helm"], kubectl=programs["kubectl"])
        if keep:
            _say(f"\nexport KUBECONFIG={cluster.kubeconfig}\nPress Enter to take the cluster down.")
            sys.stdin.readline()
    finally:
        cluster.take_down()


def _show(cluster: Cluster, job: Path, report: Path, *, helm: Path, kubectl: Path) -> None:
    def do(program: Path, *arguments: str | Path) -> None:
        _say(f"\n$ {' '.join((program.name, *map(str, arguments)))}")
        environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "PYTHONUNBUFFERED": "1"}
        answer = subprocess.run(
            [program, *arguments], env=environment, timeout=_LIMIT, check=False, cwd=product.REPOSITORY
        )
        if answer.returncode:
            raise TestbedError(f"{program.name} ended with {answer.returncode}; the cluster's logs: {cluster.logs}")

    python = Path(sys.executable)
    tuning = python.with_name("tuning")
    for name in (SYSTEM, TEAM):
        do(kubectl, "create", "namespace", name)
        do(kubectl, "label", "namespace", name, _RESTRICTED)
    at = ("--namespace", SYSTEM)
    do(helm, "install", RELEASE, CHART, *at, "--set", "image.tag=dev", "--wait", "--timeout", "3m")
    do(helm, "test", RELEASE, *at, "--logs")
    do(kubectl, "get", "pods", *at, "-o", _POD_COLUMNS)
    scraped = [
        config
        for monitor in _monitors(cluster, helm)
        for config in scrape_configs(monitor, kubeconfig=cluster.kubeconfig, interval="2s")
    ]
    with prometheus.start_prometheus(scraped, interval="2s", rule_files=[CHART / "files/alerts.yaml"]) as server:
        began = time.monotonic()
        name = _job(do, cluster, job, report, kubectl=kubectl, tuning=tuning)
        best = cluster.kubectl("get", "tuningjob", name, "-n", TEAM, "-o", "jsonpath={.status.best.name}")
        command = ["-m", "helm.dashboards.draw", "--prometheus", server.url, "--rate-interval", "8s"]
        command += ["--minutes", f"{(time.monotonic() - began) / 60:.2f}", "--set", f"trial={best}"]
        do(python, *command, "--output", report.with_suffix(""))


def _monitors(cluster: Cluster, helm: Path) -> list[dict[str, Any]]:
    """Return the chart's PodMonitors; the node has no Prometheus Operator, so the server is set up from them here."""
    command: list[str | Path] = [helm, "template", RELEASE, CHART, "--namespace", SYSTEM]
    command += ["--kubeconfig", cluster.kubeconfig]
    command += ["--set", "podMonitor.create=true", "--show-only", "templates/podmonitors.yaml"]
    rendered = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    return [document for document in yaml.safe_load_all(rendered) if document]


def _job(do: Callable[..., None], cluster: Cluster, job: Path, report: Path, *, kubectl: Path, tuning: Path) -> str:
    do(kubectl, "apply", "--namespace", TEAM, "-f", job)
    name = cluster.kubectl("get", "tuningjobs", "-n", TEAM, "-o", "jsonpath={.items[0].metadata.name}")
    do(tuning, "watch", name, "--plain", "--namespace", TEAM)
    do(kubectl, "get", "tuningjobs,trials", "--namespace", TEAM)
    do(kubectl, "get", "pods", "--namespace", TEAM, "-o", _POD_COLUMNS)
    do(tuning, "status", name, "--namespace", TEAM)
    do(tuning, "best", name, "--namespace", TEAM)
    report.parent.mkdir(parents=True, exist_ok=True)
    do(tuning, "report", name, "--namespace", TEAM, "--output", report)
    return name


_POD_COLUMNS = (
    "custom-columns=POD:.metadata.name,PHASE:.status.phase,IMAGE:.spec.containers[0].image,"
    "USER:.spec.securityContext.runAsUser,NODE:.spec.nodeName"
)


@contextmanager
def _step(what: str) -> Iterator[None]:
    _say(f"\n== {what}")
    began = time.monotonic()
    yield
    _say(f"   {time.monotonic() - began:.1f} s")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
