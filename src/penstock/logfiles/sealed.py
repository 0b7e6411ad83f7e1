"""Batches of log events that are encrypted in their file, each under a data key that it names.

Such a batch stands in its file as one event whose time stamp is `SEALED`. In place of a text it has: lowest and highest time stamp, number of events,
CRC-32 of what follows (what `restoring` makes an entry of the index of); the id of the data key (16 bytes), a nonce (12), AES-256-GCM ciphertext and tag.
All before the ciphertext, the stream, and the place of the batch in it are authenticated, so that none can be put elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

EVENT = struct.Struct("<qqI")  # time stamp ms, ingestion ms, bytes of text
SEALED = -1  # a time stamp that no event has: it lies before 1970
MARK = SEALED.to_bytes(8, "little", signed=True)  # with which a sealed batch begins
_ABOUT = struct.Struct("<qqII")  # as Described, without the key
_ID = 16
_NONCE = 12
_HEAD = EVENT.size + _ABOUT.size + _ID
OVERHEAD = _HEAD + _NONCE + 16  # bytes that a sealed batch has more


class Locked(Exception):
    """The data key of a batch is not there."""


class Described(NamedTuple):
    """What a sealed batch says of itself in plain."""

    lowest: int
    highest: int
    events: int
    checksum: int


class DataKey(NamedTuple):
    """A data key in plain."""

    id: str  # hexadecimal, of 16 bytes
    key: bytes  # 32 bytes

    def seal(self, content: bytes, stream: str, offset: int, stamps: list[int], now: int) -> bytes:
        """A batch as its file has it at an offset; its events have these time stamps, and came now."""
        key_id, nonce = bytes.fromhex(self.id), os.urandom(_NONCE)
        begins = EVENT.pack(SEALED, now, OVERHEAD - EVENT.size + len(content))
        about = (stamps[0], stamps[-1], len(stamps))
        bound = begins + _ABOUT.pack(*about, 0) + key_id + _place(stream, offset)
        rest = key_id + nonce + _cipher(self.key).encrypt(nonce, content, bound)
        return begins + _ABOUT.pack(*about, zlib.crc32(rest)) + rest

    def masks(self) -> bytes:
        """A key for digests of what is sealed: they say nothing to whoever does not have the data key."""
        return hashlib.blake2b(b"penstock log digests", key=self.key, digest_size=32).digest()


def load() -> None:
    """Load what opens sealed batches, which takes 30 ms: a process does so before it forks those that need it."""
    _cipher(bytes(32))


def described(body: bytes) -> Described | None:
    """What a sealed batch says of itself, of which `body` follows the header of an event; None of one that is not as it was written."""
    if len(body) < OVERHEAD - EVENT.size:
        return None
    found = Described(*_ABOUT.unpack_from(body))
    return found if zlib.crc32(body[_ABOUT.size :]) == found.checksum else None


def unsealed(batch: bytes, stream: str, offset: int, keys: Mapping[str, bytes]) -> bytes:
    """The events of a batch, sealed or not. Raises Locked, or InvalidTag for one that was changed."""
    if not batch.startswith(MARK):
        return batch
    key_id, nonce = batch[_HEAD - _ID : _HEAD], batch[_HEAD : _HEAD + _NONCE]
    key = keys.get(key_id.hex())
    if key is None:
        raise Locked
    about = Described(*_ABOUT.unpack_from(batch, EVENT.size))._replace(checksum=0)
    bound = batch[: EVENT.size] + _ABOUT.pack(*about) + key_id + _place(stream, offset)
    return _cipher(key).decrypt(nonce, batch[_HEAD + _NONCE :], bound)


def _cipher(key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import (  # noqa: PLC0415 - readers of plain streams start without it
        AESGCM,
    )

    return AESGCM(key)


def _place(stream: str, offset: int) -> bytes:
    return offset.to_bytes(8, "little") + stream.encode()
