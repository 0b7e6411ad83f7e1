"""What a write says about its object: headers, metadata, tags, encryption and checksums, checked by S3's rules."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from penstock.application import Call
from penstock.objects.checksums import (
    ALGORITHMS,
    DEFAULT,
    UNSERVED,
    Algorithm,
    ChecksumType,
    Digests,
    announced,
    well_formed,
)
from penstock.objects.errors import (
    AccessControlListNotSupported,
    BadDigest,
    BadRequest,
    InvalidArgument,
    InvalidDigest,
    InvalidRequest,
    InvalidStorageClass,
    InvalidTag,
    MetadataTooLarge,
    NotServed,
)
from penstock.objects.model import MAX_METADATA, About, Bucket, Checksum
from penstock.wire.tags import KEY, TagRules

HEADERS = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "Expires")
_CLASSES = frozenset(
    {"STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"}
)
ENCRYPTIONS = frozenset({"AES256", "aws:kms", "aws:kms:dsse"})
_GRANTS = ("GrantFullControl", "GrantRead", "GrantReadACP", "GrantWrite", "GrantWriteACP")
_LOCKS = (
    "ObjectLockMode",
    "ObjectLockRetainUntilDate",
    "ObjectLockLegalHoldStatus",
    "ObjectLockEventHold",
    "ObjectLockEventHoldDurationDays",
    "ObjectLockEventHoldDurationYears",
)
_CUSTOMER_KEYS = (
    "SSECustomerAlgorithm",
    "SSECustomerKey",
    "SSECustomerKeyMD5",
    "CopySourceSSECustomerAlgorithm",
    "CopySourceSSECustomerKey",
    "CopySourceSSECustomerKeyMD5",
)
# By member, the header that the refusal names. The first four are of directory buckets.
_NOT_SERVED = {
    "IfMatchInitiatedTime": "x-amz-if-match-initiated-time",
    "IfMatchLastModifiedTime": "x-amz-if-match-last-modified-time",
    "IfMatchSize": "x-amz-if-match-size",
    "WriteOffsetBytes": "x-amz-write-offset-bytes",
    "SSEKMSEncryptionContext": "x-amz-server-side-encryption-context",
    "ChecksumMD5": "x-amz-checksum-md5",
    "ChecksumXXHASH3": "x-amz-checksum-xxhash3",
    "ChecksumXXHASH64": "x-amz-checksum-xxhash64",
    "ChecksumXXHASH128": "x-amz-checksum-xxhash128",
}
_TAG = re.compile(r"[\w\s+\-=._:/@]*")


def about(input: Mapping[str, Any], bucket: Bucket) -> About:
    """What PutObject, CreateMultipartUpload or a replacing CopyObject says about its object."""
    headers = {name: str(value) for name in HEADERS if (value := input.get(name))}
    headers.setdefault("ContentType", "binary/octet-stream")
    if encoding := headers.pop("ContentEncoding", ""):
        # aws-chunked is a matter of the transfer.
        kept = [item for item in (part.strip() for part in encoding.split(",")) if item and item != "aws-chunked"]
        if kept:
            headers["ContentEncoding"] = ", ".join(kept) if ", " in encoding else ",".join(kept)
    if redirect := input.get("WebsiteRedirectLocation"):
        headers["WebsiteRedirectLocation"] = redirect
    metadata = {name.lower(): value for name, value in (input.get("Metadata") or {}).items()}
    size = sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items())
    if size > MAX_METADATA:
        raise MetadataTooLarge(Size=str(size), MaxSizeAllowed=str(MAX_METADATA))
    encryption, kms_key, bucket_key = encryption_of(input, bucket)
    return About(
        headers=headers,
        metadata=metadata,
        tags=tags_of_header(input.get("Tagging") or ""),
        encryption=encryption,
        kms_key=kms_key,
        bucket_key=bucket_key,
        storage_class=storage_class(input),
    )


def refuse_unserved(input: Mapping[str, Any]) -> None:
    """Refuse what would promise something that is not kept: customer keys, grants, object locks, conditions of no effect."""
    if any(input.get(name) for name in _CUSTOMER_KEYS):
        raise NotServed(
            "A header you provided implies functionality that is not implemented: encryption with keys that the customer "
            "provides (SSE-C). Every object is encrypted at rest; leave the header out, or send AES256 or aws:kms.",
            Header="x-amz-server-side-encryption-customer-algorithm",
        )
    if (input.get("ACL") or "private") not in ("private", "bucket-owner-full-control") or any(
        input.get(name) for name in _GRANTS
    ):
        raise AccessControlListNotSupported
    if any(input.get(name) for name in _LOCKS):
        raise InvalidRequest("Bucket is missing Object Lock Configuration")
    for member, header in _NOT_SERVED.items():
        if input.get(member) is not None:
            raise NotServed(Header=header)


def encryption_of(input: Mapping[str, Any], bucket: Bucket) -> tuple[str, str, bool]:
    """(algorithm, KMS key, bucket key) that an object is said to be encrypted with: the request's, or the bucket's default."""
    asked = input.get("ServerSideEncryption")
    key = input.get("SSEKMSKeyId") or ""
    if not asked:
        if key:
            raise InvalidArgument(
                "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms",
                ArgumentName="x-amz-server-side-encryption",
                ArgumentValue="null",
            )
        default = bucket.settings.get("encryption") or {}
        return default.get("algorithm", "AES256"), default.get("key", ""), default.get("bucket_key", False)
    if asked not in ENCRYPTIONS:
        raise InvalidArgument(
            "The encryption method specified is not supported",
            ArgumentName="x-amz-server-side-encryption",
            ArgumentValue=asked,
        )
    if key and asked == "AES256":
        raise InvalidArgument(
            "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms",
            ArgumentName="x-amz-server-side-encryption",
            ArgumentValue=asked,
        )
    return asked, key, bool(input.get("BucketKeyEnabled"))


def storage_class(input: Mapping[str, Any]) -> str:
    """The storage class to echo: those whose objects can be read at once. All bytes lie in the same place."""
    asked = input.get("StorageClass") or "STANDARD"
    if asked not in _CLASSES:
        raise InvalidStorageClass(StorageClassRequested=asked)
    return asked


def tags_of_header(header: str) -> dict[str, str]:
    """The tags of an x-amz-tagging header (URL query form; a name alone is a tag with an empty value)."""
    try:
        pairs = parse_qsl(header, keep_blank_values=True, errors="strict")
    except ValueError:
        pairs = []
    if len({key for key, _ in pairs}) < len(pairs) or (header and not pairs):
        raise InvalidArgument(
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.",
            ArgumentName="x-amz-tagging",
            ArgumentValue=header,
        )
    return OBJECT_TAGS.check(pairs)


def _rules(what: str, limit: int, reserved: str, *, names_key: bool = True) -> TagRules:
    return TagRules(
        too_many=lambda: BadRequest(f"{what} cannot be greater than {limit}"),
        reserved=lambda key: InvalidTag(reserved, TagKey=key if names_key else None),
        duplicate=lambda key: InvalidTag("Cannot provide multiple Tags with the same key", TagKey=key),
        malformed=_malformed_tag,
        limit=limit,
        alphabet=_TAG,
    )


def _malformed_tag(key: str, value: str) -> InvalidTag:
    if not 1 <= len(key) <= KEY or not _TAG.fullmatch(key):
        return InvalidTag("The TagKey you have provided is invalid", TagKey=key)
    return InvalidTag("The TagValue you have provided is invalid", TagKey=key, TagValue=value)


# AWS: "Categorizing your storage using tags"
OBJECT_TAGS = _rules("Object tags", 10, "Your TagKey cannot be prefixed with aws:")
BUCKET_TAGS = _rules("Bucket tag count", 50, "System tags cannot be added/updated by requester")
NEW_BUCKET_TAGS = _rules(
    "Bucket tag count",
    50,
    'User-defined tag keys can\'t start with "aws:". This prefix is reserved for system tags. Remove "aws:" from your tag '
    "keys and try again.",
    names_key=False,
)


class ChecksumRequirements:
    """What a body has to hash to, and which checksum is kept of it."""

    def __init__(self, call: Call, input: Mapping[str, Any], *, upload: About | None = None) -> None:
        """`upload` is what was said about the upload that a part belongs to."""
        kept = "" if upload is None else upload.checksum_algorithm
        self._of_part = upload is not None
        self._md5 = _md5(input.get("ContentMD5"))
        given = announced(input)
        for name in UNSERVED:
            if input.get("ChecksumAlgorithm") == name:
                raise NotServed(Header=f"x-amz-checksum-{name.lower()}")
        if len(given) > 1:
            raise InvalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
        self._given = given
        trailer = call.headers.get("x-amz-trailer", "").strip().lower()
        self._trailer = next((a for a in ALGORITHMS.values() if a.header == trailer), None)
        asked = (input.get("ChecksumAlgorithm") or "").upper()
        for name, value in given.items():
            if not well_formed(ALGORITHMS[name], value):
                raise InvalidRequest(f"Value for {ALGORITHMS[name].header} header is invalid.")
        if asked and call.via == "http" and not given and self._trailer is None:
            raise InvalidRequest(
                "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found."
            )
        chosen = next(iter(given), "") or (self._trailer.name if self._trailer else "") or asked
        if kept and chosen and chosen != kept:
            raise InvalidRequest(
                f"Checksum Type mismatch occurred, expected checksum Type: {kept.lower()}, actual checksum Type: {chosen.lower()}"
            )
        if chosen and chosen not in ALGORITHMS:
            raise InvalidRequest(
                "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]"
            )
        self.algorithm: Algorithm | None = ALGORITHMS.get(chosen or kept)  # what the caller asked for
        # A part of an upload without an algorithm is kept with S3's own, whatever was sent along to check this one part.
        self._kept = (ALGORITHMS[kept] if kept else DEFAULT) if upload is not None else self.algorithm or DEFAULT

    @property
    def states_md5(self) -> bool:
        """Whether the caller has said what the MD5 is."""
        return self._md5 is not None

    @property
    def algorithms(self) -> tuple[Algorithm, ...]:
        """What to compute while the body is read."""
        return (self._kept,) if self.algorithm in (None, self._kept) else (self._kept, self.algorithm)

    def check(self, digests: Digests, body: Any) -> str:
        """The checksum to keep. Raises BadDigest when the body is not what was announced."""
        if self._md5 is not None and self._md5 != digests.md5:
            # AWS writes what it expected of an object in hexadecimal, and of a part in base64.
            expected = base64.b64encode(self._md5).decode() if self._of_part else self._md5.hex()
            raise BadDigest(
                ExpectedDigest=expected,
                CalculatedDigest=base64.b64encode(digests.md5).decode(),
            )
        if self.algorithm is None:
            return digests.value(self._kept)
        value = digests.value(self.algorithm)
        given = self._given.get(self.algorithm.name)
        if self._trailer is self.algorithm:
            trailers: Mapping[str, str] = getattr(body, "trailers", None) or {}
            given = trailers.get(self.algorithm.header, given)
        if given is not None and base64.b64decode(given) != base64.b64decode(value):
            raise BadDigest(f"The {self.algorithm.name} you specified did not match the calculated checksum.")
        return digests.value(self._kept)

    def kept(self, value: str) -> Checksum:
        """The checksum of a plain object."""
        return Checksum(algorithm=self._kept.name, type=ChecksumType.FULL_OBJECT, value=value)


def _md5(header: str | None) -> bytes | None:
    if header is None:
        return None
    try:
        digest = base64.b64decode(header, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != 16:
        raise InvalidDigest(**{"Content-MD5": header[:256]})
    return digest
