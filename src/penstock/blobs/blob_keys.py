"""The key of a blob as it is stored: wrapped under the data key of its object, where that has one, and sealed under the master key."""

from __future__ import annotations

import secrets
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from penstock.blobs.segments import KEY, DamagedBlob

_NONCE = 12


class KeySealer(Protocol):
    """Seals data keys under the installation's master key."""

    def seal(self, plaintext: bytes, context: str) -> bytes: ...

    def open(self, sealed: bytes, context: str) -> bytes: ...

    def stale(self, sealed: bytes) -> bool: ...

    def renewed(self, sealed: bytes, context: str) -> bytes: ...


def seal_key(sealer: KeySealer, key: bytes, root: bytes, blob: str) -> bytes:
    """The key of a blob (its id), wrapped under `root` where there is one, by AES-256-GCM behind a nonce (12 bytes), and sealed."""
    if root:
        nonce = secrets.token_bytes(_NONCE)
        key = nonce + AESGCM(root).encrypt(nonce, key, blob.encode())
    return sealer.seal(key, context_of(blob))


def open_key(sealer: KeySealer, sealed: bytes, root: bytes, blob: str) -> bytes:
    """The key of a blob (its id). Raises DamagedBlob when it was wrapped under another root, or under none."""
    wrapped = sealer.open(sealed, context_of(blob))
    if not root and len(wrapped) == KEY:
        return wrapped
    try:
        return AESGCM(root).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], blob.encode())
    except (InvalidTag, ValueError) as error:
        raise DamagedBlob(f"the key of blob {blob} is not wrapped under the data key of its object") from error


def context_of(blob: str) -> str:
    """For what the key of a blob is sealed."""
    return f"blob/{blob}"
