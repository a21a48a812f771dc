"""Checkpoints in a real S3 bucket: written by one process, continued by the next."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from tests.testbed.object_store import ObjectStore

from tuning_trainer.checkpoint_stores import store_of
from tuning_trainer.checkpoints import Checkpoints


def test_a_bucket_keeps_checkpoints_like_a_folder(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in object_store.environment.items():
        monkeypatch.setenv(name, value)
    uri = f"s3://{object_store.bucket}/team/digits-0001"
    kept = Checkpoints(store_of(uri))
    assert kept.latest() is None
    weights = torch.arange(3_000_000, dtype=torch.float32)
    for step in range(1, 5):
        kept.save({"step": step, "weights": weights * step}, step=step, good=step < 3)
    assert kept.location(good=True) == f"{uri}/000002-step-2-good.checkpoint"
    assert len(list((object_store.folder / "team" / "digits-0001").iterdir())) == 3
    found = Checkpoints(store_of(uri)).latest()
    assert found is not None
    assert torch.equal(found["weights"], weights * 4)
    (object_store.folder / "team" / "digits-0001" / "000004-step-4.checkpoint").write_bytes(b"damaged")
    older = Checkpoints(store_of(uri)).latest()
    assert older is not None
    assert older["step"] == 3


@pytest.mark.timeout(300)
def test_a_training_goes_on_from_a_bucket(object_store: ObjectStore) -> None:
    def train(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tuning_trainer", "digits", "--checkpoint", "s3://bucket/training", *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, **object_store.environment},
            timeout=200,
            check=False,
        )

    assert train("--steps", "30", "--seed", "1").returncode == 0
    again = train("--steps", "30", "--seed", "1")
    assert again.returncode == 0, again.stderr
    assert "Continuing from the checkpoint of step 30." in again.stdout + again.stderr
    refused = train("--steps", "30", "--seed", "2")
    assert refused.returncode == 64
    assert "another value of seed" in refused.stderr
