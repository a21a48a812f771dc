"""How the operator's process is to run: its command line, and the environment of its pod."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import uuid4

from tuning_operator.backends.kubernetes.leader import Timing
from tuning_operator.backends.kubernetes.log_format import LogFormat
from tuning_operator.backends.kubernetes.metrics import TRIALS_SHOWN
from tuning_operator.scrape.prometheus import Access

LEASE: Final = "tuning-operator"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the process runs.

    Attributes:
        own_namespace: Where the Lease is kept.
        identity: Name of this process, which no other may have at the same time; a pod's name.
        key_file: Private key that control messages are signed with; made if it is not there.
        namespaces: The only ones that are served; none means all.
        probes: Address and port of ``/healthz``, ``/readyz`` and ``/metrics``; port 0 lets the system choose.
        metrics_trials: Trials of each job that have metrics of their own.
        access: The Prometheus server that gets the operator's token, where a job names it.
    """

    own_namespace: str
    identity: str
    key_file: Path
    namespaces: tuple[str, ...] = ()
    kubeconfig: str | None = None
    lease: str = LEASE
    probes: tuple[str, int] = ("0.0.0.0", 8080)
    metrics_trials: int = TRIALS_SHOWN
    access: Access | None = None
    timing: Timing = field(default_factory=Timing)
    log_level: str = "INFO"
    log_format: LogFormat = LogFormat.TEXT


def _at_least(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, found {text}")
        return int(text)

    return parse


def parse_options(arguments: Sequence[str]) -> Options:
    """Return the options of a command line; what it leaves out comes from the environment of a pod."""
    parser = argparse.ArgumentParser(prog="tuning-operator", description="Run the operator until it is told to end.")
    parser.add_argument(
        "--namespace",
        action="append",
        default=[],
        metavar="NAME[,NAME...]",
        help="serve this namespace only; may be said several times (default: all namespaces)",
    )
    parser.add_argument(
        "--own-namespace",
        default=os.environ.get("POD_NAMESPACE", "default"),
        help="where the Lease is kept (default: $POD_NAMESPACE)",
    )
    parser.add_argument("--lease", default=LEASE, help="name of the Lease")
    parser.add_argument(
        "--lease-duration",
        type=_at_least(3),
        default=15,
        metavar="SECONDS",
        help="after which a standby takes over from a leader that has died (default: 15)",
    )
    parser.add_argument(
        "--identity",
        default=os.environ.get("POD_NAME") or f"{socket.gethostname()}-{uuid4().hex[:8]}",
        help="name of this process, which no other may have at the same time (default: $POD_NAME)",
    )
    parser.add_argument(
        "--key-file",
        type=Path,
        default=Path(os.environ.get("TUNING_KEY_FILE", "/var/run/tuning-operator/key.pem")),
        help="private key that control messages are signed with; made if it is not there",
    )
    parser.add_argument("--kubeconfig", help="default: the pod's service account, or $KUBECONFIG")
    parser.add_argument("--probe-port", type=int, default=8080, help="port of /healthz, /readyz and /metrics")
    parser.add_argument(
        "--metrics-trials",
        type=_at_least(0),
        default=TRIALS_SHOWN,
        metavar="NUMBER",
        help=f"trials of each job with metrics of their own (default: {TRIALS_SHOWN})",
    )
    parser.add_argument(
        "--prometheus-url",
        metavar="URL",
        help="base address of the only Prometheus server that gets the token of --prometheus-token-file, where a "
        "job's spec.metrics.prometheus.url names it",
    )
    parser.add_argument("--prometheus-token-file", type=Path, metavar="FILE", help="holds a bearer token; read anew")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    parser.add_argument("--log-format", default=LogFormat.TEXT, choices=[str(one) for one in LogFormat])
    found = parser.parse_args(arguments)
    names = [name.strip() for part in found.namespace for name in part.split(",")]
    if "" in names:
        parser.error("--namespace: expected names of namespaces, found an empty one")
    url, token_file = found.prometheus_url, found.prometheus_token_file
    if (url is None) != (token_file is None):
        parser.error("--prometheus-url and --prometheus-token-file belong together: which server, and its token")
    return Options(
        namespaces=tuple(dict.fromkeys(names)),
        own_namespace=found.own_namespace,
        lease=found.lease,
        identity=found.identity,
        key_file=found.key_file,
        kubeconfig=found.kubeconfig,
        probes=("0.0.0.0", found.probe_port),
        metrics_trials=found.metrics_trials,
        access=None if url is None else Access(url=url, token_file=token_file),
        timing=Timing.of(found.lease_duration),
        log_level=found.log_level,
        log_format=LogFormat(found.log_format),
    )
