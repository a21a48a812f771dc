from pathlib import Path

import pytest
import torch

from trial_protocol.errors import ConfigurationError
from tuning_trainer.checkpoints import Checkpoints, directory_of


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "kept" if request.param == "folder" else None)


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
    store = Checkpoints(tmp_path)
    store.save({"step": 1}, step=1, good=True)
    store.save({"step": 2}, step=2, good=True)
    newest = Path(store.location(good=False))
    newest.write_bytes(newest.read_bytes()[:keep])
    assert step_of(Checkpoints(tmp_path).latest()) == 1
    assert "is damaged" in capsys.readouterr().err


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    store.save({"step": 1}, step=1, good=True)
    path = Path(store.location(good=True))
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(bytes(content))
    assert Checkpoints(tmp_path).latest() is None


def test_what_a_killed_writer_left_is_ignored_and_cleared(tmp_path: Path) -> None:
    leftover = tmp_path / "000009-step-9-good.checkpoint.part"
    leftover.write_bytes(b"half")
    assert Checkpoints(tmp_path).latest() is None
    assert not leftover.exists()


def test_folders_are_named_by_path_or_file_uri() -> None:
    assert directory_of("") is None
    assert directory_of("/a/b") == directory_of("file:///a/b") == Path("/a/b")
    with pytest.raises(ConfigurationError, match="not to s3://"):
        directory_of("s3://bucket/x")
