"""What a write says of its object, at its exact bounds: metadata, encodings, encryption, storage classes, tags and checksums."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from penstock_object_rows import BUCKET, refused

from penstock.objects.checksums import ALGORITHMS, ChecksumType, Digests
from penstock.objects.errors import (
    AccessControlListNotSupported,
    BadDigest,
    BadRequest,
    EntityTooLarge,
    InvalidArgument,
    InvalidDigest,
    InvalidRequest,
    InvalidStorageClass,
    InvalidTag,
    MetadataTooLarge,
    NotServed,
)
from penstock.objects.model import About, Bucket, Checksum, Versioning
from penstock.objects.operations import writes
from penstock.objects.request import (
    BUCKET_TAGS,
    OBJECT_TAGS,
    ChecksumRequirements,
    about,
    encryption_of,
    refuse_unserved,
    storage_class,
    tags_of_header,
)


def test_how_much_metadata_an_object_has():
    said = about({"Metadata": {"Name": "é" * 1022}}, BUCKET)
    assert said.metadata == {"name": "é" * 1022}
    with refused(MetadataTooLarge) as caught:
        about({"Metadata": {"Name": "é" * 1022 + "x"}}, BUCKET)
    assert caught.value.values == {"Size": "2049", "MaxSizeAllowed": "2048"}


@pytest.mark.parametrize(
    ("encoding", "kept"),
    [("gzip", "gzip"), ("aws-chunked", None), ("aws-chunked, gzip, br", "gzip, br"), ("gzip,aws-chunked,br", "gzip,br"), (",", None)],
)  # fmt: skip
def test_the_transfer_is_no_encoding_of_an_object(encoding, kept):
    said = about({"ContentEncoding": encoding, "WebsiteRedirectLocation": "/x", "CacheControl": ""}, BUCKET)
    expected = {"ContentType": "binary/octet-stream", "WebsiteRedirectLocation": "/x"}
    assert said.headers == expected | ({"ContentEncoding": kept} if kept else {})


@pytest.mark.parametrize(
    ("input", "settings", "answer"),
    [
        ({}, {}, ("AES256", "", False)),
        ({}, {"algorithm": "aws:kms", "key": "k", "bucket_key": True}, ("aws:kms", "k", True)),
        ({"ServerSideEncryption": "AES256"}, {"algorithm": "aws:kms", "key": "k"}, ("AES256", "", False)),
        ({"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "k", "BucketKeyEnabled": True}, {}, ("aws:kms", "k", True)),
        ({"ServerSideEncryption": "aws:kms:dsse"}, {}, ("aws:kms:dsse", "", False)),
        ({"ServerSideEncryption": "AES256", "SSEKMSKeyId": "k"}, {}, "requires HTTP header x-amz-server-side-encryption : aws:kms"),
        ({"SSEKMSKeyId": "k"}, {}, "requires HTTP header x-amz-server-side-encryption : aws:kms"),
        ({"ServerSideEncryption": "rot13"}, {}, "The encryption method specified is not supported"),
    ],
)  # fmt: skip
def test_how_an_object_is_said_to_be_encrypted(input, settings, answer):
    bucket = Bucket(
        name="b", account="1", region="r", created=0, versioning=Versioning.NEVER, settings={"encryption": settings}
    )
    if isinstance(answer, tuple):
        assert encryption_of(input, bucket) == answer
        return
    with refused(InvalidArgument, answer) as caught:
        encryption_of(input, bucket)
    assert caught.value.values["ArgumentValue"] == input.get("ServerSideEncryption", "null")


@pytest.mark.parametrize(
    ("input", "error"),
    [
        ({}, None),
        ({"ACL": "private"}, None),
        ({"ACL": "bucket-owner-full-control"}, None),
        ({"ACL": "public-read"}, AccessControlListNotSupported),
        ({"GrantRead": "x"}, AccessControlListNotSupported),
        ({"ObjectLockMode": "GOVERNANCE"}, InvalidRequest),
        ({"SSECustomerKey": "x"}, NotServed),
        ({"CopySourceSSECustomerAlgorithm": "AES256"}, NotServed),
        ({"IfMatchSize": 0}, NotServed),
        ({"WriteOffsetBytes": 0}, NotServed),
    ],
)
def test_promises_that_are_not_kept_are_refused(input, error):
    with refused(error) if error else contextlib.nullcontext():
        refuse_unserved(input)


def test_storage_classes_that_can_be_read_at_once():
    assert storage_class({}) == storage_class({"StorageClass": "STANDARD"}) == "STANDARD"
    assert storage_class({"StorageClass": "GLACIER_IR"}) == "GLACIER_IR"
    with refused(InvalidStorageClass) as caught:
        storage_class({"StorageClass": "GLACIER"})
    assert caught.value.values == {"StorageClassRequested": "GLACIER"}


@pytest.mark.parametrize(
    ("header", "tags"),
    [("", {}), ("a=1&b", {"a": "1", "b": ""}), ("a=%C3%A9+x", {"a": "é x"}), ("a=1&a=2", None), ("&", None), ("a=%ff", None)],
)  # fmt: skip
def test_tags_of_a_header(header, tags):
    if tags is not None:
        assert tags_of_header(header) == tags
        return
    with refused(InvalidArgument, "without tag name duplicates") as caught:
        tags_of_header(header)
    assert caught.value.values == {"ArgumentName": "x-amz-tagging", "ArgumentValue": header}


def test_how_many_tags_there_are_and_how_they_are_spelt():
    for rules, limit, what in ((OBJECT_TAGS, 10, "Object tags"), (BUCKET_TAGS, 50, "Bucket tag count")):
        pairs = [(f"k{number}", "") for number in range(limit + 1)]
        assert len(rules.check(pairs[:limit])) == limit
        with refused(BadRequest, f"^{what} cannot be greater than {limit}$"):
            rules.check(pairs)
    for pair, said in (
        (("", ""), "TagKey you have provided is invalid"),
        (("k" * 129, ""), "TagKey you have provided is invalid"),
        (("a!", ""), "TagKey you have provided is invalid"),
        (("k" * 128, "v" * 257), "TagValue you have provided is invalid"),
        (("a", "!"), "TagValue you have provided is invalid"),
    ):
        with refused(InvalidTag, said):
            OBJECT_TAGS.check([pair])
    OBJECT_TAGS.check([("k" * 128, "v" * 256)])


def digests_of(body: bytes, requirements: ChecksumRequirements) -> Digests:
    made = Digests(requirements.algorithms)
    made.update(body)
    return made


def requirements(
    via: str = "http", upload: About | None = None, trailer: str = "", **input: Any
) -> ChecksumRequirements:
    call = SimpleNamespace(via=via, headers={"x-amz-trailer": trailer})
    return ChecksumRequirements(call, input, upload=upload)  # type: ignore[arg-type]


SHA256 = base64.b64encode(hashlib.sha256(b"x").digest()).decode()


MD5 = hashlib.md5(b"x", usedforsecurity=False).digest()


@pytest.mark.parametrize(
    ("input", "said"),
    [
        ({"ChecksumAlgorithm": "XXHASH3"}, ""),
        ({"ChecksumSHA256": SHA256, "ChecksumCRC32": "AAAAAA=="}, "Expecting a single x-amz-checksum- header"),
        ({"ChecksumSHA256": "AAAAAA=="}, "Value for x-amz-checksum-sha256 header is invalid"),
        ({"ChecksumSHA256": "!"}, "Value for x-amz-checksum-sha256 header is invalid"),
        ({"ChecksumAlgorithm": "sha256"}, "no corresponding x-amz-checksum-"),
        ({"ChecksumAlgorithm": "md4", "via": "invoke"}, "Checksum algorithm provided is unsupported"),
        ({"ChecksumSHA256": SHA256, "upload": About(checksum_algorithm="CRC32")}, "expected checksum Type: crc32, actual checksum Type: sha256"),
    ],
)  # fmt: skip
def test_checksums_that_cannot_be_asked_for(input, said):
    with refused(InvalidRequest if said else NotServed, said):
        requirements(**input)


@pytest.mark.parametrize(
    ("input", "kept", "computed"),
    [
        ({}, "CRC64NVME", ["CRC64NVME"]),
        ({"ChecksumSHA256": SHA256}, "SHA256", ["SHA256"]),
        ({"ChecksumAlgorithm": "sha1", "via": "invoke"}, "SHA1", ["SHA1"]),
        ({"ChecksumSHA256": SHA256, "upload": About()}, "CRC64NVME", ["CRC64NVME", "SHA256"]),
        ({"upload": About(checksum_algorithm="SHA1")}, "SHA1", ["SHA1"]),
        ({"trailer": " X-Amz-Checksum-SHA256 "}, "SHA256", ["SHA256"]),
    ],
)
def test_which_checksum_is_kept(input, kept, computed):
    wanted = requirements(**input)
    assert [one.name for one in wanted.algorithms] == computed
    made = digests_of(b"x", wanted)
    assert wanted.check(made, SimpleNamespace(trailers=None)) == made.value(ALGORITHMS[kept])
    assert wanted.kept("v") == Checksum(algorithm=kept, type=ChecksumType.FULL_OBJECT, value="v")


def test_a_body_is_what_was_announced():
    for upload, expected in ((None, bytes(16).hex()), (About(), base64.b64encode(bytes(16)).decode())):
        wanted = requirements(ContentMD5=base64.b64encode(bytes(16)).decode(), upload=upload)
        with refused(BadDigest) as caught:
            wanted.check(digests_of(b"x", wanted), b"x")
        assert caught.value.values == {"ExpectedDigest": expected, "CalculatedDigest": base64.b64encode(MD5).decode()}
    good = requirements(ContentMD5=base64.b64encode(MD5).decode(), ChecksumSHA256=SHA256)
    assert good.check(digests_of(b"x", good), b"x") == SHA256
    with refused(BadDigest, "The SHA256 you specified did not match the calculated checksum"):
        good.check(_sha256_of(b"y", MD5), b"y")
    trailing = requirements(trailer="x-amz-checksum-sha256")
    made = digests_of(b"x", trailing)
    assert trailing.check(made, SimpleNamespace(trailers={"x-amz-checksum-sha256": SHA256})) == SHA256
    with refused(BadDigest):
        trailing.check(made, SimpleNamespace(trailers={"x-amz-checksum-sha256": base64.b64encode(bytes(32)).decode()}))
    for wrong in ("", "!", base64.b64encode(bytes(15)).decode()):
        with refused(InvalidDigest):
            requirements(ContentMD5=wrong)


def test_a_digest_is_known_by_a_checksum_too():
    sha256 = Checksum(algorithm="SHA256", type=ChecksumType.FULL_OBJECT, value=SHA256)
    assert About(checksum=sha256).digest == hashlib.sha256(b"x").hexdigest()
    assert About(checksum=replace(sha256, type=ChecksumType.COMPOSITE), sha256="ab").digest == "ab"
    assert About(checksum=replace(sha256, algorithm="SHA1")).digest == ""


def _sha256_of(body: bytes, md5: bytes) -> Any:
    return SimpleNamespace(md5=md5, value=lambda _algorithm: base64.b64encode(hashlib.sha256(body).digest()).decode())


async def test_how_large_a_body_may_be(monkeypatch):
    monkeypatch.setattr(writes, "MAX_PUT", 5)
    written = []

    async def write(body, **_more):
        written.append(body if isinstance(body, bytes) else b"".join([chunk async for chunk in body]))
        return written[-1]

    class Body:
        def __init__(self, length: int | None, *chunks: bytes) -> None:
            self.length, self.chunks = length, chunks

        async def __aiter__(self):
            for chunk in self.chunks:
                yield chunk

    store = SimpleNamespace(write=write)
    wanted = SimpleNamespace(algorithms=(), states_md5=False)
    for body in (b"123456", Body(5, b"123", b"45"), Body(None, b"12345")):
        await writes.write_body(store, body, wanted, b"")  # type: ignore[arg-type]
    assert written == [b"123456", b"12345", b"12345"]  # what is here already was bounded where it was read
    with refused(EntityTooLarge) as caught:
        await writes.write_body(store, Body(6), wanted, b"")  # type: ignore[arg-type]
    assert caught.value.values == {"ProposedSize": "6", "MaxSizeAllowed": "5"}
    with refused(EntityTooLarge) as caught:
        await writes.write_body(store, Body(None, b"12345", b"6"), wanted, b"")  # type: ignore[arg-type]
    assert caught.value.values == {"MaxSizeAllowed": "5"}


@pytest.mark.parametrize(
    ("root", "states", "md5"), [(b"", False, True), (b"", True, True), (b"root", False, False), (b"root", True, True)]
)
async def test_an_md5_is_computed_where_it_is_shown_or_compared(root, states, md5):
    asked = []

    async def write(_body, **more):
        asked.append(more)

    wanted = SimpleNamespace(algorithms=(), states_md5=states)
    await writes.write_body(SimpleNamespace(write=write), b"x", wanted, root)  # type: ignore[arg-type]
    assert asked == [{"algorithms": (), "root": root, "md5": md5}]
    assert Digests(md5=md5).md5 == (hashlib.md5(usedforsecurity=False).digest() if md5 else b"")
