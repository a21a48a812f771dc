"""Where checkpoints are kept: a folder, an object store, or the memory of this process.

Each write is whole or not there: a file is written beside its final name, forced to the disk and renamed; an object
store shows an object when its upload is complete.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from trial_protocol.errors import ConfigurationError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_PARTIAL = ".part"
_OBJECT_STORES = ("s3", "s3a", "gs", "az", "abfs", "abfss", "memory")


class Store(Protocol):
    """A flat set of named byte strings."""

    def names(self) -> list[str]:
        """Return the names of all that are whole."""

    def read(self, name: str) -> bytes:
        """Return what was written under a name."""

    def write(self, name: str, header: bytes, payload: memoryview) -> None:
        """Keep both parts, one after the other, under a name."""

    def remove(self, name: str) -> None:
        """Forget a name; one that is not there is no error."""

    def location(self, name: str) -> str:
        """Return where a person finds it; empty if nowhere outside of this process."""


class MemoryStore:
    """Keeps checkpoints while the process lives, so that it can be restored even where it keeps no files."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def names(self) -> list[str]:
        """Return all names."""
        return list(self._kept)

    def read(self, name: str) -> bytes:
        """Return the bytes of a name."""
        return self._kept[name]

    def write(self, name: str, header: bytes, payload: memoryview) -> None:
        """Keep a copy."""
        self._kept[name] = header + bytes(payload)

    def remove(self, name: str) -> None:
        """Forget it."""
        self._kept.pop(name, None)

    def location(self, name: str) -> str:  # noqa: ARG002
        """Return nothing: nobody else can read it."""
        return ""


class FolderStore:
    """One file each, in a folder that several processes may see but one writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Return the files, but for those that a killed writer left half written."""
        if not self._folder.is_dir():
            return []
        return [path.name for path in self._folder.iterdir() if path.suffix != _PARTIAL]

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        return (self._folder / name).read_bytes()

    def write(self, name: str, header: bytes, payload: memoryview) -> None:
        """Write a file, and clear what a killed writer left."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for leftover in self._folder.glob(f"*{_PARTIAL}"):
            leftover.unlink(missing_ok=True)
        final = self._folder / name
        partial = final.with_name(name + _PARTIAL)
        with partial.open("wb") as file:
            file.write(header)
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(final)
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, name: str) -> None:
        """Delete the file."""
        (self._folder / name).unlink(missing_ok=True)

    def location(self, name: str) -> str:
        """Return the path."""
        return str(self._folder / name)


class ObjectStoreFolder:
    """One object each under a prefix; needs ``obstore``, whose settings are the environment's (AWS_..., GOOGLE_...)."""

    def __init__(self, store: ObjectStore, uri: str) -> None:
        self._store = store
        self._uri = uri.rstrip("/")

    def names(self) -> list[str]:
        """Return the objects directly below the prefix."""
        return [found["path"] for found in self._store.list_with_delimiter()["objects"]]

    def read(self, name: str) -> bytes:
        """Return an object's bytes."""
        return bytes(self._store.get(name).bytes())

    def write(self, name: str, header: bytes, payload: memoryview) -> None:
        """Upload an object, in parts if it is large."""
        self._store.put(name, iter((header, payload)))

    def remove(self, name: str) -> None:
        """Delete the object."""
        try:
            self._store.delete(name)
        except FileNotFoundError:
            return

    def location(self, name: str) -> str:
        """Return its URI."""
        return f"{self._uri}/{name}"


def store_of(uri: str) -> Store:
    """Return the store that a checkpoint URI names; for an empty one the memory of this process.

    Raises:
        ConfigurationError: The URI is of a kind that nothing here can write, or its settings are not complete.
    """
    if not uri:
        return MemoryStore()
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return FolderStore(Path(uri))
    if scheme == "file":
        return FolderStore(Path(rest))
    if scheme not in _OBJECT_STORES:
        raise ConfigurationError(
            f"Checkpoints cannot be written to {scheme}://; give a folder or one of {', '.join(_OBJECT_STORES[:-1])}."
        )
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError as error:
        raise ConfigurationError(
            f"Checkpoints in {scheme}:// need the package obstore in the image: {error}."
        ) from error
    try:
        return ObjectStoreFolder(from_url(uri), uri)
    except (BaseError, ValueError) as error:
        raise ConfigurationError(f"The checkpoint store {uri} cannot be opened: {error}") from error
