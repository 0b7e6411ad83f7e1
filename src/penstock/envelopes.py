"""Values under a data key of their own, which KMS makes for whoever writes them and opens for whoever reads them.

KMS itself takes no more than 4 KB. What is kept is: a byte that no ciphertext of KMS begins with, the length of the data key's ciphertext (2 bytes), that
ciphertext, a nonce (12 bytes), AES-256-GCM ciphertext and tag. All before the nonce, and `bound`, are authenticated.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from penstock.wire.call import Input, Output

_MARK = b"\xe1"
_NONCE = 12

Kms = Callable[[str, Input], Awaitable[Output]]
"""Runs an operation of KMS as the caller, and raises the errors of the service that the value is for."""


async def seal(kms: Kms, plaintext: bytes, *, key: str, context: Mapping[str, str], bound: bytes) -> bytes:
    """What is kept of a value. `context` is the encryption context that KMS is asked with."""
    made = await kms("GenerateDataKey", {"KeyId": key, "KeySpec": "AES_256", "EncryptionContext": dict(context)})
    data_key = made["CiphertextBlob"]
    head = _MARK + len(data_key).to_bytes(2, "big") + data_key
    nonce = os.urandom(_NONCE)
    return head + nonce + AESGCM(made["Plaintext"]).encrypt(nonce, plaintext, head + bound)


def is_sealed(blob: bytes) -> bool:
    """Whether it is one of `seal`, and not a ciphertext of KMS itself."""
    return blob[:1] == _MARK


async def unseal(kms: Kms, blob: bytes, *, context: Mapping[str, str], bound: bytes) -> bytes:
    """The value that was sealed with the same context and `bound`."""
    end = 3 + int.from_bytes(blob[1:3], "big")
    opened = await kms("Decrypt", {"CiphertextBlob": blob[3:end], "EncryptionContext": dict(context)})
    nonce, sealed = blob[end : end + _NONCE], blob[end + _NONCE :]
    return AESGCM(opened["Plaintext"]).decrypt(nonce, sealed, blob[:end] + bound)
