"""The CRCs of S3's checksums, computed by anycrc.

All of them are reflected (bit 0 of a byte is its highest power), begin with all ones and end inverted.
Parameters: the catalogue of parametrised CRC algorithms (CRC-32/ISO-HDLC, CRC-32/ISCSI, CRC-64/NVME); AWS: "Checking object integrity".
"""

from __future__ import annotations

from typing import Any

import anycrc


class Crc:
    """A running CRC with the interface of `hashlib`'s objects."""

    def __init__(self, width: int, polynomial: int) -> None:
        """`width` in bits; the polynomial has its highest power first and leaves out the leading term."""
        self._size = width // 8
        self._engine = _engine(width, polynomial)
        self._value = 0  # the CRC of no bytes

    def update(self, data: bytes) -> None:
        """Take in more of the message."""
        self._value = self._engine.calc(data, self._value)

    def digest(self) -> bytes:
        """The checksum, most significant byte first, as S3 encodes it."""
        return self._value.to_bytes(self._size, "big")


def combine(width: int, polynomial: int, first: bytes, second: bytes, length: int) -> bytes:
    """The CRC of two messages joined: from the CRC of each and the second's length in bytes."""
    joined = _engine(width, polynomial).combine(int.from_bytes(first, "big"), int.from_bytes(second, "big"), length)
    return joined.to_bytes(width // 8, "big")


def _engine(width: int, polynomial: int) -> Any:
    ones = (1 << width) - 1
    return anycrc.CRC(width, polynomial, ones, True, True, ones)
