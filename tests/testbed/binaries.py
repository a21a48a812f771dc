"""Finds Kubernetes' binaries, or builds them once from the Go modules pinned in `modules/`.

A binary is taken from the folder `KUBEBUILDER_ASSETS` as it is, since a person named that folder; from the PATH only
in the pinned minor version, since a client three versions older than its server fails in ways that have nothing to do
with our code; else from the cache, where it is built. The cache is keyed by the digest of `go.mod` and `go.sum`, so a
changed pin builds anew.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.testbed.cache import BUILD_TIMEOUT, cache_folder, locked
from tests.testbed.errors import TestbedError, Unavailable

_LOG = logging.getLogger(__name__)
MODULES = Path(__file__).parent / "modules"
GO_MINIMUM = (1, 26)


@dataclass(frozen=True)
class Family:
    """One wrapper module: the binaries that are versioned together."""

    name: str
    module: str
    packages: Mapping[str, str]
    version_arguments: tuple[str, ...] = ("--version",)
    tags: str = ""

    @property
    def folder(self) -> Path:
        """Where its `go.mod` and `go.sum` lie."""
        return MODULES / self.name

    @property
    def version(self) -> str:
        """The pinned version, such as `v1.36.4`."""
        found = re.search(rf"{re.escape(self.module)} (v\d\S*)", (self.folder / "go.mod").read_text())
        if found is None:
            raise TestbedError(f"{self.folder / 'go.mod'} does not pin {self.module}")
        return found[1]

    @property
    def built(self) -> Path:
        """The folder in the cache that holds what was built from these pins."""
        digest = hashlib.sha256()
        for name in ("go.mod", "go.sum"):
            digest.update((self.folder / name).read_bytes())
        return cache_folder() / "bin" / f"{self.name}-{digest.hexdigest()[:12]}"

    def linker_flags(self) -> str:
        """Without its version a Kubernetes binary says v0.0.0-master, which Helm's `kubeVersion` check refuses."""
        flags = "-s -w"
        if self.name == "kubernetes":
            major, minor, _ = self.version.removeprefix("v").split(".", 2)
            base = "k8s.io/component-base/version"
            flags += f" -X {base}.gitVersion={self.version} -X {base}.gitMajor={major} -X {base}.gitMinor={minor}"
            flags += f" -X k8s.io/client-go/pkg/version.gitVersion={self.version}"
        return flags


def _kubernetes(*names: str) -> dict[str, str]:
    return {name: f"k8s.io/kubernetes/cmd/{name}" for name in names}


_KUBERNETES = "k8s.io/kubernetes"
_PROMETHEUS = "github.com/prometheus/prometheus"
FAMILIES = (
    Family(
        "kubernetes",
        _KUBERNETES,
        _kubernetes("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"),
    ),
    Family("kubernetes", _KUBERNETES, _kubernetes("kubectl"), ("version", "--client")),
    Family("etcd", "go.etcd.io/etcd/server/v3", {"etcd": "go.etcd.io/etcd/server/v3"}),
    Family("coredns", "github.com/coredns/coredns", {"coredns": "github.com/coredns/coredns"}, ("-version",)),
    Family("kwok", "sigs.k8s.io/kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}),
    Family("helm", "helm.sh/helm/v4", {"helm": "helm.sh/helm/v4/cmd/helm"}, ("version", "--short")),
    Family("helm3", "helm.sh/helm/v3", {"helm3": "helm.sh/helm/v3/cmd/helm"}, ("version", "--short")),
    Family(
        "helm-unittest",
        "github.com/helm-unittest/helm-unittest",
        {"helm-unittest": "github.com/helm-unittest/helm-unittest/cmd/helm-unittest"},
    ),
    Family(
        "kubeconform",
        "github.com/yannh/kubeconform",
        {"kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform"},
        ("-v",),
    ),
    Family(
        "versitygw",
        "github.com/versity/versitygw",
        {"versitygw": "github.com/versity/versitygw/cmd/versitygw"},
    ),
    Family(
        "prometheus",
        _PROMETHEUS,
        {"prometheus": f"{_PROMETHEUS}/cmd/prometheus", "promtool": f"{_PROMETHEUS}/cmd/promtool"},
        # Of thirty ways to discover targets, most of them a cloud's whole client library, one is ours.
        tags="remove_all_sd,enable_kubernetes_sd",
    ),
)
NAMES = tuple(name for family in FAMILIES for name in family.packages)


def _family(name: str) -> Family:
    for family in FAMILIES:
        if name in family.packages:
            return family
    raise TestbedError(f"no binary is called {name}; known: {', '.join(NAMES)}")


@cache
def _same_minor_on_path(name: str) -> Path | None:
    family, path = _family(name), shutil.which(name)
    if path is None:
        return None
    try:
        answer = subprocess.run(
            [path, *family.version_arguments], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"v?(\d+\.\d+)\.\d+", answer.stdout + answer.stderr)
    wanted = ".".join(family.version.removeprefix("v").split(".")[:2])
    # A Prometheus from the PATH is never equal: the module's version 0.315 is the program's version 3.15.
    return Path(path) if found and found[1] == wanted else None


def find(name: str) -> Path | None:
    """The binary `name` where it can be had without building, else None."""
    family = _family(name)
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and (Path(assets) / name).is_file():
        return Path(assets) / name
    built = family.built / name
    return built if built.is_file() else _same_minor_on_path(name)


def binary(name: str) -> Path:
    """The binary `name`, built now if need be."""
    return binaries([name])[name]


def binaries(names: Iterable[str]) -> dict[str, Path]:
    """Every named binary; what is missing is built, each family in one run of the compiler."""
    wanted = list(dict.fromkeys(names))
    missing: dict[str, list[str]] = {}
    for name in wanted:
        if find(name) is None:
            missing.setdefault(_family(name).name, []).append(name)
    for names_of_family in missing.values():
        _build(names_of_family)
    return {name: path for name in wanted if (path := find(name))}


def missing_reason(names: Iterable[str]) -> str | None:
    """Why this machine can neither find nor build these binaries, or None."""
    missing = [name for name in names if find(name) is None]
    if not missing:
        return None
    what = f"{', '.join(missing)} not in KUBEBUILDER_ASSETS, the cache or (in the pinned version) the PATH"
    go = shutil.which("go")
    if go is None:
        return f"{what}, and there is no Go to build with"
    version = subprocess.run(
        [go, "env", "GOVERSION"], capture_output=True, text=True, timeout=20, check=False, env=_go_environment()
    )
    found = re.match(r"go(\d+)\.(\d+)", version.stdout)
    if found is None or (int(found[1]), int(found[2])) < GO_MINIMUM:
        return f"{what}, and {go} is {version.stdout.strip()}, older than {'.'.join(map(str, GO_MINIMUM))}"
    return None


def _go_environment() -> dict[str, str]:
    # Never download a compiler behind the reader's back; a person's own workspace and flags would change the build.
    return {
        **os.environ,
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
        "GOWORK": "off",
        "GOFLAGS": "-trimpath -buildvcs=false",
    }


def _build(names: list[str]) -> None:
    if reason := missing_reason(names):
        raise Unavailable(reason)
    family = _family(names[0])
    with locked(f"build-{family.name}"):
        names = [name for name in names if not (family.built / name).is_file()]
        if not names:
            return
        log = cache_folder() / "logs" / f"build-{family.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        family.built.mkdir(parents=True, exist_ok=True)
        _LOG.info("Building %s %s (minutes the first time); log: %s", ", ".join(names), family.version, log)
        started = time.monotonic()
        with tempfile.TemporaryDirectory(dir=family.built) as fresh, log.open("w") as output:
            command = [
                "go",
                "build",
                "-p",
                "2",
                "-tags",
                family.tags,
                "-ldflags",
                family.linker_flags(),
                "-o",
                fresh + "/",
            ]
            packages = [_family(name).packages[name] for name in names]
            try:
                subprocess.run(
                    [*command, *packages],
                    cwd=family.folder,
                    env=_go_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=BUILD_TIMEOUT,
                    check=True,
                )
            except subprocess.SubprocessError as error:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
                raise TestbedError(
                    f"building {', '.join(names)} failed ({error}); the end of {log}:\n{tail}"
                ) from error
            for name in names:
                # `go build` names a binary after the last element of its package's path that is not a version.
                produced = Path(fresh) / name
                (produced if produced.exists() else next(Path(fresh).iterdir())).rename(family.built / name)
        _LOG.info("Built %s in %.0f s", ", ".join(names), time.monotonic() - started)
