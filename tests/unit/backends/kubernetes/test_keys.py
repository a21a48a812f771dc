"""The key file: made once, read as it is, and refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tuning_operator.backends.kubernetes.keys import load_key_pair, read_key_pair
from tuning_operator.errors import BackendError


def test_a_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "key.pem"
    with pytest.raises(FileNotFoundError):
        read_key_pair(path)
    made = load_key_pair(path)
    assert load_key_pair(path) == read_key_pair(path) == made
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_of_another_kind_is_refused_before_a_trial_refuses_it(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    other = generate_private_key(SECP256R1())
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(BackendError, match=r"another kind.*Ed25519"):
        load_key_pair(path)


@pytest.mark.parametrize("content", [b"", b"not a key", b"\xff\xfe"])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    with pytest.raises(BackendError, match=f"{path} holds no private key"):
        load_key_pair(path)
