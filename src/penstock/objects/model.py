"""What buckets hold, as the operations see it."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from penstock.objects.checksums import ALGORITHMS, Algorithm, ChecksumType

NULL = "null"
"""The version id of objects that were written while versioning was not enabled."""

MAX_KEY = 1024  # bytes of UTF-8
MAX_METADATA = 2048  # bytes of user metadata, names and values
MAX_PUT = 5 << 30  # bytes of one PutObject or part
MAX_OBJECT = 48 << 40  # bytes of a multipart object
MIN_PART = 5 << 20  # bytes of every part but the last
MAX_PARTS = 10_000


def time_to_api(ms: int) -> int:
    """A time as S3 shows it, in whole seconds: what is compared with an HTTP date must not lie behind it."""
    return ms // 1000 * 1000


class Versioning(StrEnum):
    """The versioning state of a bucket."""

    NEVER = ""  # never enabled: an overwrite replaces
    ENABLED = "Enabled"  # every write makes a version
    SUSPENDED = "Suspended"  # writes replace the null version; the others stay


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket."""

    name: str
    account: str
    region: str
    created: int  # ms
    versioning: Versioning
    settings: dict[str, Any]  # subresources by name: encryption, tags, …


@dataclass(frozen=True, slots=True, kw_only=True)
class Checksum:
    """The checksum of an object or part that its writer asked for."""

    algorithm: str
    type: ChecksumType
    value: str  # base64; "-N" behind it when composite

    @property
    def spec(self) -> Algorithm:
        """Its algorithm."""
        return ALGORITHMS[self.algorithm]


_PLAIN = (
    "headers",
    "metadata",
    "tags",
    "encryption",
    "kms_key",
    "bucket_key",
    "data_key",
    "storage_class",
    "replaces",
    "sha256",
)  # members of About that are stored as they are


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a writer says about an object beside its bytes. Stored as one document."""

    headers: dict[str, str] = field(default_factory=dict)  # by member: ContentType, CacheControl, …
    metadata: dict[str, str] = field(default_factory=dict)  # x-amz-meta-…
    tags: dict[str, str] = field(default_factory=dict)
    encryption: str = "AES256"  # what the writer asked for; everything is encrypted
    kms_key: str = ""  # its ARN, once there is a data key
    bucket_key: bool = False
    data_key: str = ""  # under which the keys of its blobs are wrapped: ciphertext of KMS, in base64
    storage_class: str = "STANDARD"
    checksum: Checksum | None = None
    checksum_algorithm: str = ""  # of an upload that is under way
    checksum_type: str = ""
    replaces: str = ""  # of an upload that is under way: the content that its key held when it began
    sha256: str = ""  # hexadecimal, where it is known and no checksum says it

    @property
    def digest(self) -> str:
        """The SHA-256 (hexadecimal) of the bytes; "" where it is not known."""
        checksum = self.checksum
        if checksum is not None and (checksum.algorithm, checksum.type) == ("SHA256", ChecksumType.FULL_OBJECT):
            return b64decode(checksum.value).hex()
        return self.sha256

    def with_digests(self, checksum: Checksum, sha256: str) -> About:
        """The same with what is known of the bytes: a checksum, and the SHA-256 (hexadecimal) or "" unless that is the checksum."""
        is_checksum = (checksum.algorithm, checksum.type) == ("SHA256", ChecksumType.FULL_OBJECT)
        return replace(self, checksum=checksum, sha256="" if is_checksum else sha256)

    def document(self) -> dict[str, Any]:
        """As stored: under SSE-KMS its digests are sealed already (`data_keys.closed_about`)."""
        document: dict[str, Any] = {"v": 1}
        for name in _PLAIN:
            if value := getattr(self, name):
                document[name] = value
        if self.checksum is not None:
            document["checksum"] = [self.checksum.algorithm, self.checksum.type.value, self.checksum.value]
        if self.checksum_algorithm:
            document["upload_checksum"] = [self.checksum_algorithm, self.checksum_type]
        return document

    @classmethod
    def of(cls, document: dict[str, Any]) -> About:
        """From what was stored."""
        checksum = document.get("checksum")
        algorithm, kind = document.get("upload_checksum", ("", ""))
        return cls(
            headers=document.get("headers", {}),
            metadata=document.get("metadata", {}),
            tags=document.get("tags", {}),
            encryption=document.get("encryption", ""),
            kms_key=document.get("kms_key", ""),
            bucket_key=document.get("bucket_key", False),
            data_key=document.get("data_key", ""),
            storage_class=document.get("storage_class", "STANDARD"),
            checksum=checksum and Checksum(algorithm=checksum[0], type=ChecksumType(checksum[1]), value=checksum[2]),
            checksum_algorithm=algorithm,
            checksum_type=kind,
            replaces=document.get("replaces", ""),
            sha256=document.get("sha256", ""),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of an object, or a delete marker."""

    bucket: str
    key: str
    rank: int  # the newest of a key has the lowest
    version: str
    account: str
    latest: bool
    marker: bool
    modified: int  # ms
    etag: str  # without quotes
    size: int
    content: str  # whose parts hold the bytes
    part_count: int | None  # of a multipart object
    about: About

    @property
    def quoted_etag(self) -> str:
        """As on the wire."""
        return f'"{self.etag}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A multipart upload."""

    id: str
    bucket: str
    key: str
    account: str
    initiated: int  # ms
    initiator: str  # ARN
    about: About
    outcome: dict[str, Any] | None  # of a completed one


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of an upload or object: a range of one blob."""

    number: int
    blob: str
    start: int
    size: int
    etag: str
    modified: int  # ms
    checksum: str  # base64 by the upload's algorithm, "" when it is missing
    key: bytes  # see Blob
