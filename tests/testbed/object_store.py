"""A real S3 server over a folder, on a free port, ended and cleaned up like every test bed."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.testbed import binaries
from tests.testbed.controlplane import LOOPBACK, START_TIMEOUT, answers, free_ports
from tests.testbed.instance import Instance, clean_up

PROGRAMS = ("versitygw",)


@dataclass(frozen=True, kw_only=True)
class ObjectStore:
    """A running server with one bucket.

    Attributes:
        bucket: Its name.
        folder: Where the bucket's objects lie as files.
        environment: What a client of S3 needs to find and use it.
    """

    bucket: str
    folder: Path
    environment: Mapping[str, str]


@contextmanager
def start_object_store() -> Iterator[ObjectStore]:
    """Run a server until the block ends."""
    program = binaries.binary(PROGRAMS[0])
    clean_up()
    instance = Instance.create("object-store", persistent=False)
    try:
        (port,) = free_ports(1)
        folder = instance.folder / "data" / "bucket"
        folder.mkdir(parents=True)
        user, password = "tests", secrets.token_hex(16)
        sidecar = instance.folder / "metadata"
        sidecar.mkdir()
        command: list[str | Path] = [
            program, "--access", user, "--secret", password, "--port", f"{LOOPBACK}:{port}", "--health", "/health",
            "posix", "--sidecar", sidecar, folder.parent,
        ]  # fmt: skip
        instance.start("object-store", command)
        instance.wait("object-store", lambda: answers(f"http://{LOOPBACK}:{port}/health"), START_TIMEOUT)
        environment = {
            "AWS_ACCESS_KEY_ID": user,
            "AWS_SECRET_ACCESS_KEY": password,
            "AWS_ENDPOINT_URL": f"http://{LOOPBACK}:{port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
        }
        yield ObjectStore(bucket="bucket", folder=folder, environment=environment)
    finally:
        instance.take_down()
