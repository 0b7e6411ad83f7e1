"""Ciphertexts: what Encrypt and GenerateDataKey answer, and Decrypt is given. Pure but for the nonce.

A ciphertext is: three bytes that every one begins with (`AQIC` in base64, as on AWS), format (1), key id (1 for the kind and 16), number of the
material (4), nonce (12), AES-256-GCM ciphertext and tag (16). All before the nonce and the encryption context are authenticated.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|mrk-[0-9a-f]{32}")
_BEGINNING = b"\x01\x02\x02"
_FORMAT = b"\x01"
_NONCE = 12
_TAG = 16
_HEAD = len(_BEGINNING) + len(_FORMAT) + 1 + 16 + 4
_PREFIXES = {0: "", 1: "mrk-"}


class BadCiphertextError(Exception):
    """It is not a ciphertext, it was changed, or the encryption context is another one."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What a ciphertext says of itself, before anything of it is believed."""

    key_id: str
    material: int
    head: bytes
    nonce: bytes
    sealed: bytes

    def decrypt(self, cipher: AESGCM, context: Mapping[str, str]) -> bytes:
        """The plaintext. Raises BadCiphertextError."""
        try:
            return cipher.decrypt(self.nonce, self.sealed, self.head + canonical(context))
        except InvalidTag:
            raise BadCiphertextError from None


def encrypt(key_id: str, material: int, cipher: AESGCM, plaintext: bytes, context: Mapping[str, str]) -> bytes:
    """The ciphertext under a key's material."""
    multi = key_id.startswith("mrk-")
    identity = uuid.UUID(key_id.removeprefix("mrk-")).bytes
    head = _BEGINNING + _FORMAT + bytes((multi,)) + identity + material.to_bytes(4, "big")
    nonce = os.urandom(_NONCE)
    return head + nonce + cipher.encrypt(nonce, plaintext, head + canonical(context))


def opened(blob: bytes) -> Opened:
    """What a ciphertext says of itself. Raises BadCiphertextError."""
    head, nonce = blob[:_HEAD], blob[_HEAD : _HEAD + _NONCE]
    prefix = _PREFIXES.get(head[4]) if len(blob) >= _HEAD + _NONCE + _TAG else None
    if prefix is None or not head.startswith(_BEGINNING + _FORMAT):
        raise BadCiphertextError
    identity = uuid.UUID(bytes=head[5:21])
    key_id = f"{prefix}{identity.hex if prefix else identity}"
    return Opened(key_id, int.from_bytes(head[21:25], "big"), head, nonce, blob[_HEAD + _NONCE :])


def canonical(context: Mapping[str, str]) -> bytes:
    """An encryption context as it is authenticated: the order of its pairs is nobody's business."""
    return orjson.dumps(dict(context), option=orjson.OPT_SORT_KEYS) if context else b""
