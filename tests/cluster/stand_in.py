"""An image for trials that need no torch: Debian's Python, the project's client, and `stand_in_trial.py`.

Two layers: the system, written once, and what is ours, written anew for each run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import tarfile
from pathlib import Path

from tests.testbed import images
from tests.testbed.cache import locked
from tests.testbed.node import Cluster

IMAGE = "testbed.local/stand-in:1"
COMMAND = ("python3", "/opt/stand_in_trial.py")

_REPOSITORY = Path(__file__).parents[2]
_SYSTEM = ("python3", "python3-cffi-backend")
"""The binary half of cryptography's bindings must fit the image's Python; all else is copied from where tests run."""
_COPIED = ("jwt", "cryptography", "prometheus_client")
_UNUSED = ("usr/share/doc", "usr/share/locale", "usr/share/man", "usr/share/info", "var/lib/apt", "var/cache", "dev")


def import_stand_in(cluster: Cluster) -> None:
    """Load the image into the node."""
    assert cluster.node is not None
    root = images.debian_root(cluster.node.runtime, _SYSTEM)
    system = root.with_suffix(".layer.tar")
    with locked("stand-in"):
        if not system.is_file():
            fresh = system.with_suffix(".new")
            with tarfile.open(fresh, "w") as tar:
                tar.add(root, arcname=".", filter=_needed)
            fresh.rename(system)
    archive = cluster.instance.folder / "stand-in.tar"
    _write_archive(archive, [system.read_bytes(), _own_layer()])
    assert cluster.import_image(archive) == [IMAGE]
    archive.unlink()


def _own_layer() -> bytes:
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for name in _COPIED:
            found = importlib.util.find_spec(name)
            assert found is not None
            assert found.origin is not None
            tar.add(Path(found.origin).parent, arcname=f"opt/{name}", filter=_source)
        for name in ("trial_protocol", "tuning_trainer"):
            tar.add(_REPOSITORY / "trainer" / name, arcname=f"opt/{name}", filter=_source)
        tar.add(Path(__file__).with_name("stand_in_trial.py"), arcname="opt/stand_in_trial.py")
    return layer.getvalue()


def _needed(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    name = entry.name.removeprefix("./")
    return None if name.startswith(_UNUSED) else entry


def _source(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return None if "__pycache__" in entry.name else entry


def _write_archive(path: Path, layers: list[bytes]) -> None:
    """An archive as `docker save` writes it."""
    digests = [hashlib.sha256(layer).hexdigest() for layer in layers]
    config = {
        "architecture": images._architecture(),
        "os": "linux",
        "config": {
            "Cmd": list(COMMAND),
            "Env": ["PATH=/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1"],
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
    }
    content = json.dumps(config).encode()
    name = f"{hashlib.sha256(content).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [IMAGE], "Layers": [f"{digest}.tar" for digest in digests]}]
    files = {name: content, **{f"{digest}.tar": layer for digest, layer in zip(digests, layers, strict=True)}}
    with tarfile.open(path, "w") as tar:
        for file, data in {**files, "manifest.json": json.dumps(manifest).encode()}.items():
            entry = tarfile.TarInfo(file)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
