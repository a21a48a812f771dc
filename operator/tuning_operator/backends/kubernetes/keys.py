"""The key pair of an installation: control messages are signed with it, pods get its public half.

All replicas of an installation read the same file, or the one that takes over cannot steer what runs already: a pod
believes the key that it was started with, for as long as it lives. To change the key, put the new one into the file,
start the operator again, and suspend and resume the jobs that run (``spec.suspend``): every trial goes on from its
checkpoint in a new Job, which gets the new key. Until then the operator can still stop, pause and read those trials;
only its control messages are refused, which ``tuning_operator_job_control_wait_seconds`` shows.
"""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from trial_protocol.control import KeyPair, generate_key_pair
from tuning_operator.errors import BackendError


def load_key_pair(path: Path) -> KeyPair:
    """Return the pair whose private half is in a file; made, readable for its owner alone, where there is none.

    Running trials believe the key that they were started with: where the file does not outlive the process, a restarted
    operator can stop them but no longer steer them.

    Raises:
        BackendError: The file cannot be read or written, or holds something else.
    """
    try:
        return read_key_pair(path)
    except FileNotFoundError:
        return _make(path)


def read_key_pair(path: Path) -> KeyPair:
    """Return the pair whose private half is in a file.

    Raises:
        FileNotFoundError: There is none.
        BackendError: The file cannot be read, or holds something else.
    """
    try:
        private = path.read_text(encoding="ascii")
        public = load_pem_private_key(private.encode(), password=None).public_key()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BackendError(f"the key file {path} cannot be read: {error}") from None
    except (ValueError, TypeError) as error:
        raise BackendError(f"the key file {path} holds no private key in PEM without a password: {error}") from None
    if not isinstance(public, Ed25519PublicKey):
        raise BackendError(f"the key file {path} holds a key of another kind; control messages need Ed25519")
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return KeyPair(private_pem=private, public_pem=pem)


def _make(path: Path) -> KeyPair:
    pair = generate_key_pair()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(pair.private_pem)
    except OSError as error:
        raise BackendError(f"the key file {path} is not there and cannot be made: {error}") from None
    return pair
