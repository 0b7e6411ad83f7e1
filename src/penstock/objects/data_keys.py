"""Data keys of objects that are encrypted under a key of KMS (SSE-KMS): whoever may not decrypt cannot read them.

A blob has a key of its own. In such an object these are wrapped under a data key, which KMS makes for the writer and opens for the reader;
what the object keeps of it is its ciphertext. (AWS: S3 User Guide, "Using server-side encryption with AWS KMS keys".)
"""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode
from dataclasses import replace
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from penstock.application import Call
from penstock.blobs.segments import DamagedBlob
from penstock.objects.errors import AccessDenied
from penstock.objects.model import About
from penstock.objects.names import arn_of_bucket, arn_of_object
from penstock.wire.call import Input, Output
from penstock.wire.errors import ServiceError, error_class

_NONCE = 12
_DIGEST = b"digest"  # what is sealed under a data key beside the keys of blobs
_SERVICES_OWN = "alias/aws/s3"  # where neither the request nor the bucket names a key


async def new_data_key(call: Call, said: About, bucket: Any, key: str) -> tuple[About, bytes]:
    """What is said of an object that is to be written to `bucket`, and the data key to write it under: none but for SSE-KMS.

    Raises AccessDenied for a caller who may not use the key, and KMS's errors as S3 names them.
    """
    if not said.encryption.startswith("aws:kms"):
        return said, b""
    made = await _kms(
        call,
        "GenerateDataKey",
        {
            "KeyId": said.kms_key or _SERVICES_OWN,
            "KeySpec": "AES_256",
            "EncryptionContext": _context(call, said, bucket.name, key),
        },
        region=bucket.region,
    )
    sealed = b64encode(made["CiphertextBlob"]).decode()
    return replace(said, kms_key=made["KeyId"], data_key=sealed), made["Plaintext"]


async def data_key(call: Call, said: About, bucket: str, key: str, *, region: str) -> bytes:
    """The data key of an object or upload in a bucket of a region; none but for SSE-KMS. Raises as `new_data_key`."""
    if not said.data_key:
        return b""
    asked = {"CiphertextBlob": b64decode(said.data_key), "EncryptionContext": _context(call, said, bucket, key)}
    return (await _kms(call, "Decrypt", asked, region=region))["Plaintext"]


def etag_of(call: Call, said: About, md5: str) -> str:
    """The ETag (no quotes) of the bytes of an object or part with this MD5 (hexadecimal).

    Whoever may list may not always decrypt: of what is under a key of KMS it says nothing about the bytes, not even whether two
    objects have the same. (AWS: Object, "ETag".)
    """
    return call.app.ids.hex(32) if said.data_key else md5


def closed(root: bytes, digest: str) -> str:
    """A digest of bytes as it is kept: sealed under the data key (`root`) of its object, if that has one.

    A database that fell into other hands would confirm guesses of the bytes otherwise.
    """
    if not root or not digest:
        return digest
    nonce = secrets.token_bytes(_NONCE)
    return b64encode(nonce + AESGCM(root).encrypt(nonce, digest.encode(), _DIGEST)).decode()


def opened(root: bytes, digest: str) -> str:
    """A digest from what is kept of it. Raises DamagedBlob when it was sealed under another data key, or under none."""
    if not root or not digest:
        return digest
    try:
        kept = b64decode(digest, validate=True)
        return AESGCM(root).decrypt(kept[:_NONCE], kept[_NONCE:], _DIGEST).decode()
    except (InvalidTag, ValueError) as error:
        raise DamagedBlob("a digest is not sealed under the data key of its object") from error


def closed_about(root: bytes, said: About) -> About:
    """What is said of an object, as it is kept: without digests that anybody can read."""
    if not root:
        return said
    checksum = said.checksum and replace(said.checksum, value=closed(root, said.checksum.value))
    return replace(said, checksum=checksum, sha256=closed(root, said.sha256))


def opened_about(root: bytes, kept: About) -> About:
    """What is said of an object, with its digests. Raises DamagedBlob."""
    if not root:
        return kept
    checksum = kept.checksum and replace(kept.checksum, value=opened(root, kept.checksum.value))
    return replace(kept, checksum=checksum, sha256=opened(root, kept.sha256))


async def _kms(call: Call, operation: str, input: Input, *, region: str) -> Output:
    """An operation of KMS as the caller, by way of S3, also where the call is one of our additions to it."""
    origin = replace(call.origin, called_via=(*call.called_via, "s3.amazonaws.com"))
    try:
        return await call.app.invoke(call.session, "kms", operation, input, region=region, origin=origin)
    except ServiceError as error:
        if error.server_fault:
            raise
        if error.wire_code == "AccessDeniedException":
            raise AccessDenied(error.reason) from None
        raise error_class(f"KMS.{error.wire_code}")(error.reason) from None


def _context(call: Call, said: About, bucket: str, key: str) -> dict[str, str]:
    """One data key of a bucket serves many objects on AWS, and policies there ask for the bucket then."""
    return {"aws:s3:arn": arn_of_bucket(call, bucket) if said.bucket_key else arn_of_object(call, bucket, key)}
