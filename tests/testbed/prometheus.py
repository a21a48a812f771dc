"""A real Prometheus server with a given configuration, on a free port, ended and cleaned up like every test bed.

    with start_prometheus([{"job_name": "trials", "static_configs": [...]}], interval="100ms") as prometheus:
        prometheus.value('up{job="trials"}')

For a cluster give ``kubernetes_sd_configs`` with a ``kubeconfig_file``; the server runs beside it and not in it.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.testbed import binaries
from tests.testbed.controlplane import LOOPBACK, START_TIMEOUT, answers, free_ports
from tests.testbed.errors import TestbedError
from tests.testbed.instance import Instance, clean_up
from tests.testbed.processes import wait_until

PROGRAMS = ("prometheus", "promtool")


@dataclass
class Prometheus:
    """A running server.

    Attributes:
        url: Its base address, path prefix included.
        config: Its configuration file; `reload` has it read again.
        command: How it is started.
    """

    instance: Instance
    url: str
    config: Path
    command: Sequence[str | Path]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the result of an instant query."""
        form = urllib.parse.urlencode({"query": expression}).encode()
        return list(self._ask("/api/v1/query", form)["result"])

    def value(self, expression: str) -> float | None:
        """Return the only value of an expression; None without any."""
        result = self.query(expression)
        if len(result) > 1:
            raise TestbedError(f"{expression} has {len(result)} values")
        return float(result[0]["value"][1]) if result else None

    def until(self, expression: str, timeout: float = START_TIMEOUT) -> list[dict[str, Any]]:
        """Wait until an expression has a result, and return it."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = self.query(expression)
            return bool(found)

        wait_until(f"{self.url} answers {expression}", there, timeout, poll=0.1)
        return found

    def targets(self) -> list[dict[str, Any]]:
        """Return what it scrapes now, with the last error of each."""
        return list(self._ask("/api/v1/targets?state=active")["activeTargets"])

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that are pending or fire."""
        return list(self._ask("/api/v1/alerts")["alerts"])

    def reload(self, scrape_configs: Sequence[Mapping[str, Any]]) -> None:
        """Scrape something else from now on."""
        config = yaml.safe_load(self.config.read_text())
        self.config.write_text(yaml.safe_dump({**config, "scrape_configs": list(scrape_configs)}))
        urllib.request.urlopen(f"{self.url}/-/reload", data=b"", timeout=10).close()

    def stop(self) -> None:
        """End the server, as an outage would; its data stays."""
        self.instance.stop("prometheus")

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        self.instance.start("prometheus", self.command)
        self.instance.wait("prometheus", lambda: answers(f"{self.url}/-/ready"), START_TIMEOUT)

    def _ask(self, path: str, form: bytes | None = None) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(self.url + path, data=form, timeout=30) as answer:
                return dict(json.load(answer)["data"])
        except urllib.error.HTTPError as error:
            raise TestbedError(f"{self.url}{path}: {error.read().decode(errors='replace')[:500]}") from None


@contextmanager
def start_prometheus(
    scrape_configs: Sequence[Mapping[str, Any]],
    *,
    interval: str = "1s",
    rule_files: Sequence[Path] = (),
    prefix: str = "",
    arguments: Sequence[str] = (),
) -> Iterator[Prometheus]:
    """Run a server until the block ends.

    Args:
        scrape_configs: As in its configuration file.
        interval: Between two scrapes, and between two evaluations of the rules.
        rule_files: Alerting and recording rules.
        prefix: Path below which it serves, such as ``/prometheus``.
        arguments: More of its command line.
    """
    programs = binaries.binaries(PROGRAMS)
    clean_up()
    instance = Instance.create("prometheus", persistent=False)
    try:
        (port,) = free_ports(1)
        config = instance.folder / "prometheus.yaml"
        content = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "scrape_configs": list(scrape_configs),
            "rule_files": [str(file) for file in rule_files],
        }
        config.write_text(yaml.safe_dump(content))
        command: list[str | Path] = [
            programs["prometheus"],
            f"--config.file={config}",
            f"--storage.tsdb.path={instance.folder / 'data'}",
            f"--web.listen-address={LOOPBACK}:{port}",
            f"--web.route-prefix={prefix or '/'}",
            "--web.enable-lifecycle",
            *arguments,
        ]
        server = Prometheus(instance, f"http://{LOOPBACK}:{port}{prefix}", config, command)
        server.start()
        yield server
    finally:
        instance.take_down()
