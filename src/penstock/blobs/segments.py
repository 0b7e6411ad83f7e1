"""How a blob is encrypted: AES-256-GCM in segments of 64 KiB, each bound to its place.

The construction is STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015): a data key of its own per blob, the segment's index
and a final flag in the nonce, the blob's id as associated data. So a segment that was changed, moved, left out or taken
from another blob does not open, and neither does a blob that was cut after any segment; and any range can be read
alone.

    file := MAGIC segment*          segment := ciphertext (≤ 65536 bytes) tag (16 bytes)

An empty blob has one empty final segment.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"PENBLOB1"
SEGMENT = 65536  # plaintext bytes
TAG = 16
SEALED_SEGMENT = SEGMENT + TAG
KEY = 32  # bytes of a data key


class DamagedBlob(Exception):
    """The stored bytes of a blob are not what was written."""


def segment_count(size: int) -> int:
    """How many segments a blob of `size` plaintext bytes has (at least one)."""
    return max(1, -(-size // SEGMENT))


def stored_size(size: int) -> int:
    """Bytes on disk of a blob of `size` plaintext bytes."""
    return len(MAGIC) + size + TAG * segment_count(size)


def segment_offset(index: int) -> int:
    """Where segment `index` starts in the file."""
    return len(MAGIC) + index * SEALED_SEGMENT


class Seal:
    """Encrypts one blob from front to back. Give it the plaintext in pieces of any size; not thread-safe."""

    def __init__(self, key: bytes, blob: str) -> None:
        self._aead = AESGCM(key)
        self._blob = blob.encode()
        self._index = 0
        self._held = b""  # less than or exactly one segment: whether it is final is known with the next byte or the end

    def update(self, data: bytes) -> list[bytes]:
        """The sealed segments that `data` completes."""
        view = memoryview(self._held + data if self._held else data)
        sealed: list[bytes] = []
        start = 0
        while len(view) - start > SEGMENT:
            sealed.append(self._segment(view[start : start + SEGMENT], final=False))
            start += SEGMENT
        self._held = bytes(view[start:])
        return sealed

    def finish(self) -> list[bytes]:
        """The last sealed segment."""
        return [self._segment(memoryview(self._held), final=True)]

    def _segment(self, plain: memoryview, *, final: bool) -> bytes:
        sealed = self._aead.encrypt(_nonce(self._index, final=final), plain, self._blob)
        self._index += 1
        return sealed


class Unseal:
    """Decrypts segments of one blob in any order."""

    def __init__(self, key: bytes, blob: str, size: int) -> None:
        self._aead = AESGCM(key)
        self._blob = blob.encode()
        self._size = size
        self._last = segment_count(size) - 1

    def segments(self, first: int, sealed: bytes) -> list[bytes]:
        """The plaintext of the consecutive segments that start with index `first`.

        Raises DamagedBlob unless every byte is as it was written, at this place, and no segment of the asked-for span
        is missing at the blob's end.
        """
        view = memoryview(sealed)
        plain: list[bytes] = []
        index = first
        for start in range(0, len(view), SEALED_SEGMENT):
            part = view[start : start + SEALED_SEGMENT]
            try:
                opened = self._aead.decrypt(_nonce(index, final=index == self._last), part, self._blob)
            except (InvalidTag, ValueError) as error:
                raise DamagedBlob(f"segment {index} of blob {self._blob.decode()} does not verify") from error
            if len(opened) != min(SEGMENT, self._size - index * SEGMENT):
                raise DamagedBlob(f"segment {index} of blob {self._blob.decode()} has a wrong length")
            plain.append(opened)
            index += 1
        return plain


def _nonce(index: int, *, final: bool) -> bytes:
    return index.to_bytes(8, "big") + (b"\0\0\0\1" if final else b"\0\0\0\0")
