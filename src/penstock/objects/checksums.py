"""S3's object checksums: names, running digests, and the value of a multipart object from those of its parts.

AWS: "Checking object integrity in Amazon S3" (algorithms, types and which upload may use which).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Protocol

from penstock.objects.crc import Crc, combine


class ChecksumType(StrEnum):
    """What the checksum of a multipart object covers."""

    FULL_OBJECT = "FULL_OBJECT"  # the bytes of the whole object
    COMPOSITE = "COMPOSITE"  # the checksums of its parts


class Running(Protocol):
    """A digest while it runs, as `hashlib` has them."""

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """One checksum algorithm of the model."""

    name: str  # as x-amz-checksum-algorithm names it
    member: str  # of inputs and outputs
    begin: Callable[[], Running]
    size: int  # bytes of a digest
    types: tuple[ChecksumType, ...]  # that a multipart upload may use; the first is the default
    polynomial: int = 0  # of a CRC

    @property
    def header(self) -> str:
        """The header or trailer that carries it."""
        return f"x-amz-checksum-{self.name.lower()}"


def _crc(member: str, width: int, polynomial: int, types: tuple[ChecksumType, ...]) -> Algorithm:
    return Algorithm(
        name=member.removeprefix("Checksum"),
        member=member,
        begin=partial(Crc, width, polynomial),
        size=width // 8,
        types=types,
        polynomial=polynomial,
    )


_COMPOSITE = (ChecksumType.COMPOSITE,)
_BOTH = (ChecksumType.COMPOSITE, ChecksumType.FULL_OBJECT)

ALGORITHMS: Mapping[str, Algorithm] = {
    algorithm.name: algorithm
    for algorithm in (
        _crc("ChecksumCRC32", 32, 0x04C11DB7, _BOTH),
        _crc("ChecksumCRC32C", 32, 0x1EDC6F41, _BOTH),
        _crc("ChecksumCRC64NVME", 64, 0xAD93D23594C93659, (ChecksumType.FULL_OBJECT,)),
        Algorithm(name="SHA1", member="ChecksumSHA1", begin=hashlib.sha1, size=20, types=_COMPOSITE),
        Algorithm(name="SHA256", member="ChecksumSHA256", begin=hashlib.sha256, size=32, types=_COMPOSITE),
        Algorithm(name="SHA512", member="ChecksumSHA512", begin=hashlib.sha512, size=64, types=_COMPOSITE),
    )
}
DEFAULT = ALGORITHMS["CRC64NVME"]
"""What S3 computes and keeps of an object whose writer gives no checksum (AWS: "Checking object integrity")."""
# The model knows these too; nothing in Python's library computes them.
UNSERVED = ("XXHASH64", "XXHASH3", "XXHASH128", "MD5")


class Digests:
    """Everything that is computed over a body in one pass. Not for the event loop above 64 KB."""

    def __init__(self, algorithms: Iterable[Algorithm] = (), *, md5: bool = True) -> None:
        """Without `md5` that is left out, which costs most of all."""
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 else None
        self._sha256 = hashlib.sha256()
        self._others = {a.name: a.begin() for a in algorithms if a.name != "SHA256"}
        self.size = 0

    def update(self, data: bytes) -> None:
        """Take in more of the body."""
        self.size += len(data)
        if self._md5 is not None:
            self._md5.update(data)
        self._sha256.update(data)
        for running in self._others.values():
            running.update(data)

    @property
    def md5(self) -> bytes:
        """MD5 of what was taken in; empty where it was left out."""
        return b"" if self._md5 is None else self._md5.digest()

    @property
    def sha256(self) -> bytes:
        """SHA-256 of what was taken in."""
        return self._sha256.digest()

    def value(self, algorithm: Algorithm) -> str:
        """The checksum as S3 writes it: base64."""
        digest = self.sha256 if algorithm.name == "SHA256" else self._others[algorithm.name].digest()
        return base64.b64encode(digest).decode()


def announced(input: Mapping[str, Any]) -> dict[str, str]:
    """The checksums that a caller gave with the request, by algorithm name."""
    return {a.name: value for a in ALGORITHMS.values() if (value := input.get(a.member))}


def well_formed(algorithm: Algorithm, value: str) -> bool:
    """Whether `value` is base64 of a digest of the right size."""
    try:
        return len(base64.b64decode(value, validate=True)) == algorithm.size
    except ValueError:
        return False


def composite(algorithm: Algorithm, parts: Iterable[str]) -> str:
    """The COMPOSITE checksum: the digest of the parts' digests, a dash and their number."""
    running = algorithm.begin()
    number = 0
    for part in parts:
        running.update(base64.b64decode(part))
        number += 1
    return f"{base64.b64encode(running.digest()).decode()}-{number}"


def full_object(algorithm: Algorithm, parts: Iterable[tuple[str, int]]) -> str:
    """The FULL_OBJECT checksum of a CRC from (checksum, size in bytes) of every part, without reading them again."""
    total = bytes(algorithm.size)
    for value, size in parts:
        total = combine(8 * algorithm.size, algorithm.polynomial, total, base64.b64decode(value), size)
    return base64.b64encode(total).decode()


def multipart_etag(parts: Iterable[str]) -> str:
    """The ETag (no quotes) of a multipart object from those of its parts: the MD5 of them all, a dash, their number."""
    etags = [bytes.fromhex(part) for part in parts]
    return f"{hashlib.md5(b''.join(etags), usedforsecurity=False).hexdigest()}-{len(etags)}"
