import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from trial_protocol.errors import ConfigurationError
from tuning_trainer.checkpoint_stores import FolderStore, MemoryStore, Store, store_of
from tuning_trainer.checkpoints import Checkpoints

KINDS: dict[str, Callable[[Path], Store]] = {
    "folder": lambda folder: FolderStore(folder / "kept"),
    "memory": lambda _: MemoryStore(),
    "object store": lambda _: store_of("memory:///"),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Checkpoints:
    return Checkpoints(request.param(tmp_path))


def step_of(state: dict[str, object] | None) -> object:
    return None if state is None else state["step"]


def test_latest_and_last_good_are_found_and_the_rest_is_removed(store: Checkpoints) -> None:
    assert store.latest() is None
    for step, good in ((1, True), (2, True), (3, False), (4, False), (5, False)):
        store.save({"step": step, "weights": torch.full((2,), float(step))}, step=step, good=good)
    assert step_of(store.latest()) == 5
    assert step_of(store.last_good()) == 2
    assert len(store._entries()) == 3


def test_after_going_back_the_newest_counts_not_the_highest_step(store: Checkpoints) -> None:
    for step in (100, 200, 150):
        store.save({"step": step}, step=step, good=True)
    assert step_of(store.latest()) == 150


@pytest.mark.parametrize("keep", [0, 10, 70, 400])
def test_a_cut_file_is_never_chosen(tmp_path: Path, keep: int, capsys: pytest.CaptureFixture[str]) -> None:
    store = Checkpoints(FolderStore(tmp_path))
    store.save({"step": 1}, step=1, good=True)
    store.save({"step": 2}, step=2, good=True)
    newest = Path(store.location(good=False))
    newest.write_bytes(newest.read_bytes()[:keep])
    assert step_of(Checkpoints(FolderStore(tmp_path)).latest()) == 1
    assert "is damaged" in capsys.readouterr().err


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    store = Checkpoints(FolderStore(tmp_path))
    store.save({"step": 1}, step=1, good=True)
    path = Path(store.location(good=True))
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(bytes(content))
    assert Checkpoints(FolderStore(tmp_path)).latest() is None


def test_what_a_killed_writer_left_is_ignored_and_cleared_by_the_next(tmp_path: Path) -> None:
    leftover = tmp_path / "000009-step-9-good.checkpoint.part"
    leftover.write_bytes(b"half")
    store = Checkpoints(FolderStore(tmp_path))
    assert store.latest() is None
    store.save({"step": 1}, step=1, good=True)
    assert not leftover.exists()


def test_another_process_continues_from_a_folder(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/a/b"
    Checkpoints(store_of(uri)).save({"step": 7}, step=7, good=True)
    assert step_of(Checkpoints(store_of(f"{tmp_path}/a/b")).latest()) == 7
    assert Checkpoints(store_of(uri)).location(good=True) == f"{tmp_path}/a/b/000001-step-7-good.checkpoint"


def test_other_ranks_leave_a_shared_store_to_the_first(tmp_path: Path) -> None:
    Checkpoints(FolderStore(tmp_path), writes=False).save({"step": 7}, step=7, good=True)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written to ftp://; give a folder or one of s3,"):
        store_of("ftp://host/x")
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", "/nowhere.json")
    with pytest.raises(ConfigurationError, match="The checkpoint store gs://bucket/x cannot be opened"):
        store_of("gs://bucket/x")
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(ConfigurationError, match="s3:// need the package obstore"):
        store_of("s3://bucket/x")
