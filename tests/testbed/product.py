"""The project's own images: built from its Dockerfile, and given to nodes without a copy.

buildah keeps each layer as a folder, which is what a node's overlay file systems are made of: a node gets the image's
few kilobytes of metadata, and links to those folders as its snapshots. So five gigabytes of PyTorch are written once on
a machine, a node has them in a second, and a change of our source makes one small new layer.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.testbed.cache import BUILD_TIMEOUT, cache_folder, locked
from tests.testbed.errors import TestbedError
from tests.testbed.images import DEBIAN, add_file, debian_archive
from tests.testbed.instance import instances
from tests.testbed.namespaces import Namespaces
from tests.testbed.packages import Runtime

_LOG = logging.getLogger(__name__)
REPOSITORY: Final = Path(__file__).parents[2]
TARGETS: Final = ("operator", "trainer")
_DEPENDENCIES: Final = ("requirements/operator.txt", "requirements/trainer.txt")
_SOURCES: Final = (
    ".dockerignore",
    "Dockerfile",
    "README.md",
    "images",
    "operator",
    "pyproject.toml",
    "requirements",
    "trainer",
)
_CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_SECRET: Final = "/var/cache/certificates.pem"
_DATE: Final = "315532800"
_LINK_TIMEOUT: Final = 60.0


@dataclass(frozen=True)
class Layer:
    """One layer: the digest of its content, and the folder that holds it unpacked, as overlayfs wants it."""

    digest: str
    folder: Path


@dataclass(frozen=True)
class Image:
    """An image in the builder's storage, from the lowest layer up."""

    name: str
    manifest: bytes
    config: bytes
    layers: tuple[Layer, ...]

    def metadata(self) -> bytes:
        """An OCI archive of everything but the layers."""
        index = {
            "schemaVersion": 2,
            "manifests": [
                {
                    "mediaType": json.loads(self.manifest)["mediaType"],
                    "digest": digest(self.manifest),
                    "size": len(self.manifest),
                    "annotations": {"io.containerd.image.name": self.name},
                }
            ],
        }
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            add_file(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}', 0o644)
            add_file(tar, "index.json", json.dumps(index).encode(), 0o644)
            for content in (self.manifest, self.config):
                add_file(tar, f"blobs/{digest(content).replace(':', '/')}", content, 0o644)
        return archive.getvalue()


def digest(content: bytes) -> str:
    """The digest by which registries and runtimes know `content`."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def image_name(target: str) -> str:
    """The full name of an image of ours, which manifests write as `tuning-{target}:dev`."""
    return f"docker.io/library/tuning-{target}:dev"


def build_images(runtime: Runtime) -> dict[str, Image]:
    """Build what has changed since the last time, and return both images by their targets."""
    with locked("product-images"), builder(runtime) as ready:
        return {target: ready.build(target) for target in TARGETS}


@contextmanager
def builder(runtime: Runtime, storage: Path | None = None) -> Iterator[Builder]:
    """A builder of what the sources are now, however they change while it works.

    Args:
        runtime: Where buildah is.
        storage: Where images are kept; the cache by default.
    """
    with tempfile.TemporaryDirectory(prefix="tuning-sources-") as folder:
        for name in _SOURCES:
            found, copy = REPOSITORY / name, Path(folder, name)
            if found.is_dir():
                shutil.copytree(found, copy, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(found, copy)
        for path in Path(folder).rglob("*"):
            # Whatever a checkout's umask was: the mode of a file is a part of its layer.
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        base = debian_archive(runtime).stem
        kept = cache_folder() / "images" / f"built-{base}-{_key(Path(folder), *_DEPENDENCIES)}"
        yield Builder(runtime, Path(folder), storage or kept)


def give_image(node: Namespaces, socket: Path, image: Image) -> None:
    """Let pods of a node use an image, under its name, in a second and without a copy."""
    control = [node.runtime.program("ctr"), f"--address={socket}", "--namespace=k8s.io"]
    known = set(re.findall(r"^sha256:\S+", node.run([*control, "snapshots", "list"]), re.MULTILINE))
    chain = ""
    for layer in image.layers:
        parent, chain = chain, digest(f"{chain} {layer.digest}".encode()) if chain else layer.digest
        if chain not in known:
            _link_layer(node, [*control, "snapshots"], layer, parent=parent, chain=chain)
    with tempfile.NamedTemporaryFile(dir=node.instance.folder, suffix=".tar") as archive:
        archive.write(image.metadata())
        archive.flush()
        node.run([*control, "images", "import", archive.name], timeout=_LINK_TIMEOUT)


def _link_layer(node: Namespaces, snapshots: list[str], layer: Layer, *, parent: str, chain: str) -> None:
    key = f"linked-{chain}"
    node.run([*snapshots, "prepare", key, *([parent] if parent else [])])
    mounts = node.run([*snapshots, "mounts", "/unused", key])
    fresh = re.search(r"(?:upperdir=|-t bind )(?P<folder>/\S+?/snapshots/\d+/fs)\b", mounts)
    if fresh is None:
        raise TestbedError(f"no snapshot folder of our own in: {mounts}")
    folder = Path(fresh["folder"])
    folder.rmdir()
    folder.symlink_to(layer.folder)
    node.run([*snapshots, "commit", chain, key])


class Builder:
    """buildah with a storage of its own in the cache, one for each set of dependencies."""

    def __init__(self, runtime: Runtime, sources: Path, storage: Path) -> None:
        self._runtime = runtime
        self._sources = sources
        self._storage = storage

    def build(self, target: str) -> Image:
        """The image of one target of the Dockerfile."""
        name = f"testbed.local/tuning-{target}:{_key(self._sources, *_SOURCES)}"
        if not self._has(name):
            self._prepare()
            _LOG.info("Building the image tuning-%s (minutes the first time, then seconds)", target)
            self._run("build", *self._arguments(), f"--target={target}", f"--tag={name}", str(self._sources))
        return self._inspect(name, image_name(target))

    def bill(self, target: str, folder: Path) -> dict[str, Any]:
        """What is in an image, as its CycloneDX target writes it to `folder`."""
        self.build(target)
        output = f"--output=type=local,dest={folder}"
        self._run("build", *self._arguments(), f"--target={target}-sbom", output, str(self._sources))
        return dict(json.loads((folder / f"tuning-{target}.cdx.json").read_text()))

    def _arguments(self) -> list[str]:
        uv_cache = Path(os.environ.get("UV_CACHE_DIR") or Path.home() / ".cache/uv")
        uv_cache.mkdir(parents=True, exist_ok=True)
        arguments = [
            "--layers",
            "--network=host",
            f"--timestamp={_DATE}",
            f"--build-arg=BASE={DEBIAN}",
            # What `make setup` has fetched is not fetched again.
            f"--volume={uv_cache}:/build-cache/uv",
            "--build-arg=UV_CACHE_DIR=/build-cache/uv",
        ]
        certificates = Path(os.environ.get("SSL_CERT_FILE") or _CERTIFICATES)
        if certificates.is_file():
            arguments += [f"--secret=id=certificates,src={certificates}", f"--build-arg=SSL_CERT_FILE={_SECRET}"]
        return arguments

    def _prepare(self) -> None:
        """Drop what was built from other dependencies, unless a test bed may use it; have the base image."""
        if not any(instance.size == "cluster" for instance in instances()):
            for other in self._storage.parent.glob("built-*"):
                if other != self._storage:
                    shutil.rmtree(other)
        if not self._has(DEBIAN):
            self._run("pull", "--quiet", f"docker-archive:{debian_archive(self._runtime)}")

    def _has(self, name: str) -> bool:
        return any(name in (each.get("names") or ()) for each in json.loads(self._run("images", "--json")))

    def _inspect(self, name: str, image: str) -> Image:
        found = json.loads(self._run("inspect", "--type=image", name))
        manifest, config = found["Manifest"].encode(), found["Config"].encode()
        identity = json.loads(manifest)["config"]["digest"].removeprefix("sha256:")
        if digest(config) != f"sha256:{identity}":
            raise TestbedError(f"{name}: the storage holds another configuration than its manifest says")
        records = {each["id"]: each for each in self._record("overlay-layers/layers.json")}
        layer = next(each for each in self._record("overlay-images/images.json") if each["id"] == identity)["layer"]
        folders: list[Path] = []
        while layer:
            folders.append(self._storage / "root/overlay" / layer / "diff")
            layer = records[layer].get("parent")
        digests = json.loads(config)["rootfs"]["diff_ids"]
        if len(folders) != len(digests):
            raise TestbedError(f"{name}: {len(folders)} layers in the storage, {len(digests)} in the configuration")
        layers = tuple(Layer(one, folder) for one, folder in zip(digests, reversed(folders), strict=True))
        return Image(image, manifest, config, layers)

    def _record(self, file: str) -> list[dict[str, Any]]:
        return list(json.loads((self._storage / "root" / file).read_text()))

    def _run(self, verb: str, *arguments: str) -> str:
        self._storage.mkdir(parents=True, exist_ok=True)
        policy, registries = self._storage / "policy.json", self._storage / "registries.conf"
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        registries.write_text("")
        # In a mount namespace of its own, so that nothing stays mounted whatever happens to it.
        command = [
            *(self._runtime.program("unshare"), "--mount", *self._with_libraries(), self._runtime.program("buildah")),
            *(f"--root={self._storage / 'root'}", f"--runroot={self._storage / 'run'}", "--storage-driver=overlay"),
            *(verb, *([f"--signature-policy={policy}"] if verb in ("build", "pull") else []), *arguments),
        ]
        environment = {
            **self._runtime.environment,
            "BUILDAH_ISOLATION": "chroot",
            "CONTAINERS_REGISTRIES_CONF": str(registries),
            "TMPDIR": str(self._storage),
        }
        answer = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT,
            check=False,
            env=environment,
        )
        if answer.returncode:
            raise TestbedError(
                f"buildah {verb} failed with {answer.returncode}:\n{(answer.stdout + answer.stderr)[-3000:]}"
            )
        return answer.stdout

    def _with_libraries(self) -> list[str]:
        """What makes unpacked libraries known to all that buildah starts: it hands LD_LIBRARY_PATH on to none of it."""
        folders = [str(folder) for folder in self._runtime.libraries]
        if not folders:
            return []
        cache = self._storage / "ld.so.cache"
        subprocess.run(["/sbin/ldconfig", "-X", "-C", str(cache), *folders], check=True, timeout=60)
        return ["sh", "-c", f'mount --bind "{cache}" /etc/ld.so.cache && exec "$@"', "buildah"]


def _key(sources: Path, *names: str) -> str:
    """A key of the content of files and folders."""
    content = hashlib.sha256()
    for name in names:
        for file in sorted((sources / name, *(sources / name).rglob("*"))):
            if file.is_file():
                content.update(f"{file.relative_to(sources)}\n{file.stat().st_size}\n".encode())
                content.update(file.read_bytes())
    return content.hexdigest()[:12]
