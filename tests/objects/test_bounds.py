"""Objects at their exact bounds: limits in numbers, the last second and byte, what a row must say, and the words of refusals."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from penstock.objects import (
    assembly,
    backend,
    collector,
    commits,
    conditions,
    contents,
    names,
    presigned_v2,
    records,
    segments,
)
from penstock.objects.assembly import Wanted
from penstock.objects.backend import DiskBackend
from penstock.objects.blobs import BATCH, Blob, Blobs, Piece, _opened, _sealed
from penstock.objects.checksums import ALGORITHMS, ChecksumType, Digests
from penstock.objects.errors import (
    AccessControlListNotSupported,
    BadDigest,
    BadRequest,
    BucketAlreadyExists,
    BucketAlreadyOwnedByYou,
    EntityTooLarge,
    EntityTooSmall,
    IllegalLocationConstraintException,
    InvalidArgument,
    InvalidBucketName,
    InvalidDigest,
    InvalidLocationConstraint,
    InvalidPart,
    InvalidPartNumber,
    InvalidPartOrder,
    InvalidRequest,
    InvalidStorageClass,
    InvalidTag,
    KeyTooLongError,
    MalformedXML,
    MetadataTooLarge,
    NotServed,
)
from penstock.objects.lookup import Found
from penstock.objects.model import About, Bucket, Checksum, Part, Upload, Version, Versioning, time_to_api
from penstock.objects.operations import buckets, copies, deletes, lists, multipart, reads, writes
from penstock.objects.presigned_v2 import PresignedV2
from penstock.objects.refusals import S3
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
from penstock.objects.s3_backend import Location
from penstock.objects.segments import DamagedBlob
from penstock.objects.url_headers import with_url_headers
from penstock.wire.errors import IncompleteSignature, MissingAuthentication, PresignedExpired, SignatureMismatch
from penstock.wire.message import RequestHead

MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40
BUCKET = Bucket(
    name="b", account="1" * 12, region="us-east-1", created=0, versioning=Versioning.NEVER, settings={}
)  # fmt: skip


def version(**changes: Any) -> Version:
    made: dict[str, Any] = {
        "bucket": "b", "key": "k", "rank": 0, "version": "null", "account": "1" * 12, "latest": True, "marker": False, "modified": 5,
        "etag": "e", "size": 10, "content": "c", "part_count": None, "about": About(),
    }  # fmt: skip
    return Version(**made | changes)


def refused(error: type[Exception], said: str = "") -> Any:
    return pytest.raises(error, match=said or None)


# --- URLs of version 2 ------------------------------------------------------------------------------------------------


def url(query: str, method: str = "GET", path: str = "/b/k", **headers: str) -> RequestHead:
    return RequestHead(method, path, query, {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("left", "error"),
    [(0, SignatureMismatch), (-0.001, PresignedExpired), (604_800, SignatureMismatch), (604_800.001, IncompleteSignature)],
)  # fmt: skip
def test_a_url_lives_to_its_last_moment_and_for_a_week_at_most(left, error):
    ends = 1_767_225_600
    head = url(f"AWSAccessKeyId=K&Signature={'s' * 300}&Expires={ends}")
    signature = PresignedV2().parse(head, "us-east-1")
    assert signature is not None
    with pytest.raises(error) as caught:
        PresignedV2().verify(signature, head, "secret", round((ends - left) * 1000))
    if error is PresignedExpired:
        assert caught.value.values == {"Expires": "2026-01-01T00:00:00Z", "ServerTime": "2026-01-01T00:00:00Z"}
    if error is SignatureMismatch:
        assert caught.value.values["SignatureProvided"] == "s" * 256


@pytest.mark.parametrize(
    ("query", "error", "said"),
    [
        ("AWSAccessKeyId=K&Signature=s", MissingAuthentication, "requires the Signature, Expires and AWSAccessKeyId parameters"),
        ("AWSAccessKeyId=K&Expires=1", MissingAuthentication, "requires"),
        ("AWSAccessKeyId=K&Signature=s&Expires=" + "1" * 13, IncompleteSignature, r"epoch\): 1{13}$"),
        ("AWSAccessKeyId=K&Signature=s&Expires=" + "x" * 70, IncompleteSignature, r"epoch\): x{64}$"),
        ("AWSAccessKeyId=K&Signature=s&Expires=%C2%B2", IncompleteSignature, "Invalid date"),
        ("AWSAccessKeyId=K&Signature=s&Expires=1&session&abac", IncompleteSignature, "does not sign the parameter abac; use version 4"),
    ],
)  # fmt: skip
def test_urls_that_are_not_signed_so(query, error, said):
    with refused(error, said):
        PresignedV2().parse(url(query), "us-east-1")


def test_what_a_url_of_version_2_claims():
    assert PresignedV2().parse(url("Signature=s&Expires=1"), "us-east-1") is None
    found = PresignedV2().parse(url("AWSAccessKeyId=K&Signature=s&Expires=" + "9" * 12), "eu-west-1")
    assert found is not None
    assert (found.presigned, found.expires_seconds, found.region, found.service) == (True, 999_999_999_999, "eu-west-1", "s3")  # fmt: skip


def test_what_version_2_signs():
    head = url(
        "Expires=9&acl&uploadId=u&versionId=&x-amz-a=1&other=2", "PUT", "/k", content_type="t", content_md5="m", x_amz_b=" 3 "
    )  # fmt: skip
    signed = "PUT\nm\nt\n9\nx-amz-a:1\nx-amz-b:3\n/b/k?acl&uploadId=u&versionId="
    assert presigned_v2.string_to_sign(head, bucket="b") == signed
    assert presigned_v2.string_to_sign(url("", path="/b/k")) == "GET\n\n\n\n/b/k"


@pytest.mark.parametrize(
    ("query", "headers", "signed", "stated"),
    [
        ("x-amz-acl=private", {}, (), {"x-amz-acl": "private"}),
        ("X-Amz-Acl=private", {"x-amz-acl": "public"}, (), {"x-amz-acl": "private"}),
        ("x-amz-acl=private", {"x-amz-acl": "public"}, ("x-amz-acl",), {"x-amz-acl": "public"}),
        ("If-None-Match=*", {}, (), {"if-none-match": "*"}),
        ("x-amz-checksum-crc32=x&X-Amz-Date=1&a=b", {}, (), {}),
    ],
)
def test_headers_that_a_url_states(query, headers, signed, stated):
    head = RequestHead("PUT", "/", query, headers)
    laid = with_url_headers(head, SimpleNamespace(scheme=None, signed_headers=signed))  # type: ignore[arg-type]
    assert laid.headers == headers | stated
    if query.startswith("x-amz-acl"):  # version 2 covers the headers as they are
        scheme = SimpleNamespace(scheme="v2", signed_headers=())
        assert with_url_headers(head, scheme).headers == stated | headers  # type: ignore[arg-type]


# --- what a write says ------------------------------------------------------------------------------------------------


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


def _sha256_of(body: bytes, md5: bytes) -> Any:
    return SimpleNamespace(md5=md5, value=lambda _algorithm: base64.b64encode(hashlib.sha256(body).digest()).decode())


# --- names and numbers ------------------------------------------------------------------------------------------------


def test_limits_in_numbers():
    """AWS: "Amazon S3 multipart upload limits", "Object key naming", "User-defined object metadata"."""
    from penstock.objects import model

    assert (model.MAX_KEY, model.MAX_METADATA, model.MAX_PARTS) == (1024, 2048, 10_000)
    assert (model.MAX_PUT, model.MAX_OBJECT, model.MIN_PART) == (5 * GIB, 48 * TIB, 5 * MIB)
    assert (segments.SEGMENT, segments.TAG, segments.KEY, segments.SEALED_SEGMENT) == (65_536, 16, 32, 65_552)
    assert BATCH == 524_288
    assert [segments.segment_count(size) for size in (0, 1, 65_536, 65_537)] == [1, 1, 1, 2]
    assert [segments.stored_size(size) for size in (0, 65_536, 65_537)] == [24, 65_560, 65_577]
    assert [segments.segment_offset(index) for index in (0, 1, 2)] == [8, 65_560, 131_112]
    assert [time_to_api(ms) for ms in (0, 999, 1000, 1999)] == [0, 0, 1000, 1000]


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("abc", True), ("ab", False), ("a" * 63, True), ("a" * 64, False), ("a.b", True), ("a..b", False), ("-ab", False), ("ab-", False), ("Abc", False),
        ("192.168.0.1", False), ("192.168.0.300", True), ("xn--a", False), ("a--x-s3", False), ("console", False), ("consoles", True),
    ],
)  # fmt: skip
def test_names_of_buckets(name, good):
    with contextlib.nullcontext() if good else refused(InvalidBucketName):
        names.check_bucket_name(name)


def test_keys_that_are_too_long_or_no_text():
    assert names.check_key("é" * 512) == "é" * 512
    with refused(KeyTooLongError) as caught:
        names.check_key("é" * 512 + "x")
    assert caught.value.values == {"Size": "1025", "MaxSizeAllowed": "1024"}
    with refused(InvalidRequest, "Couldn't parse the specified URI"):
        names.check_key("\ud800")


def test_an_owner_has_64_digits():
    assert names.owner("1") == {"ID": hashlib.sha256(b"penstock:1").hexdigest()}


@pytest.mark.parametrize(
    ("via", "region", "constraint", "answer"),
    [
        ("http", "us-east-1", "", "us-east-1"),
        ("http", "us-east-1", "EU", "eu-west-1"),
        ("http", "eu-west-1", "eu-west-1", "eu-west-1"),
        ("http", "eu-west-1", "", IllegalLocationConstraintException),
        ("http", "eu-west-2", "eu-west-1", IllegalLocationConstraintException),
        ("http", "us-east-1", "us-east-1", InvalidLocationConstraint),
        ("http", "us-east-1", "eu-west-9", InvalidLocationConstraint),
        ("invoke", "eu-west-2", "", "eu-west-2"),
        ("invoke", "eu-west-2", "eu-west-1", "eu-west-1"),
        ("invoke", "eu-west-2", "us-east-1", InvalidLocationConstraint),
    ],
)
def test_the_region_of_a_new_bucket(via, region, constraint, answer):
    settings = SimpleNamespace(all_regions=lambda: ("us-east-1", "eu-west-1", "eu-west-2"))
    call = SimpleNamespace(via=via, region=region, app=SimpleNamespace(settings=settings))
    if isinstance(answer, str):
        assert buckets._region(call, constraint) == answer  # type: ignore[arg-type]
        return
    with refused(answer) as caught:
        buckets._region(call, constraint)  # type: ignore[arg-type]
    if answer is InvalidLocationConstraint:
        assert "the regions of this installation are us-east-1, eu-west-1, eu-west-2" in caught.value.message


@pytest.mark.parametrize(
    ("there", "asked", "error"),
    [
        (("1", "us-east-1"), ("1", "us-east-1", {}), None),
        (("1", "us-east-1"), ("1", "us-east-1", {"tags": {}}), BucketAlreadyOwnedByYou),
        (("1", "us-east-1"), ("1", "eu-west-1", {}), BucketAlreadyOwnedByYou),
        (("1", "eu-west-1"), ("1", "us-east-1", {}), BucketAlreadyOwnedByYou),
        (("1", "eu-west-1"), ("1", "eu-west-1", {}), BucketAlreadyOwnedByYou),
        (("2", "us-east-1"), ("1", "us-east-1", {}), BucketAlreadyExists),
    ],
)
async def test_a_bucket_is_made_once(store, there, asked, error):
    def bucket(account: str, region: str, settings: dict[str, Any] | None = None) -> Bucket:
        return Bucket(
            name="b", account=account, region=region, created=1, versioning=Versioning.NEVER, settings=settings or {}
        )

    await store.write(buckets._create, bucket(*there))
    with refused(error) if error else contextlib.nullcontext():
        await store.write(buckets._create, bucket(*asked))
    found = await store.read(records.find_bucket, "b")
    assert (found.account, found.region, found.settings) == (*there, {})


async def test_which_buckets_are_listed(store):
    def make(conn: sa.Connection) -> None:
        for account, name, region in (
            ("1", "aa", "r1"), ("1", "ab", "r1"), ("1", "b", "r2"), ("2", "ac", "r1"), ("1", "xa", "r1"),
        ):  # fmt: skip
            records.insert_bucket(
                conn,
                Bucket(name=name, account=account, region=region, created=1, versioning=Versioning.NEVER, settings={}),
            )

    await store.write(make)

    def listed(**asked: Any) -> Any:
        question = {"after": None, "prefix": "", "region": "", "limit": 10} | asked
        return lambda conn: [bucket.name for bucket in records.list_buckets(conn, "1", **question)]

    for asked, found in (
        ({}, ["aa", "ab", "b", "xa"]), ({"prefix": "a"}, ["aa", "ab"]), ({"prefix": "ab"}, ["ab"]), ({"region": "r2"}, ["b"]),
        ({"after": ["aa"], "limit": 2}, ["ab", "b"]), ({"prefix": "z"}, []),
    ):  # fmt: skip
        assert await store.read(listed(**asked)) == found


@pytest.mark.parametrize(
    ("input", "page"),
    [
        ({}, (1000, 0)), ({"MaxParts": 1000, "PartNumberMarker": 3}, (1000, 3)), ({"MaxParts": 1001}, (1000, 0)), ({"MaxParts": 0}, (0, 0)),
        ({"MaxParts": -1}, "max-parts"), ({"PartNumberMarker": -1}, "part-number-marker"),
    ],
)  # fmt: skip
def test_pages_of_parts(input, page):
    if isinstance(page, tuple):
        assert reads.part_page(input) == page
        return
    with refused(InvalidArgument, f"Argument {page} must be an integer between 0 and 2147483647") as caught:
        reads.part_page(input)
    assert caught.value.values == {"ArgumentName": page, "ArgumentValue": "-1"}


def test_pages_of_keys():
    for asked, limit in ((None, 1000), (1000, 1000), (1001, 1000), (0, 0), (1, 1)):
        input = {"Bucket": "b"} if asked is None else {"Bucket": "b", "MaxKeys": asked}
        assert lists._selection(input, "MaxKeys").limit == limit
        common = lists._common(input, SimpleNamespace(entries=[b"x/"], truncated=True), "MaxKeys", str)  # type: ignore[arg-type]
        assert (common["MaxKeys"], common["CommonPrefixes"], common["IsTruncated"]) == (limit, [{"Prefix": "x/"}], True)
    with refused(InvalidArgument, "Argument MaxKeys must be an integer between 0 and 2147483647"):
        lists._selection({"MaxKeys": -1}, "MaxKeys")


def test_numbers_of_parts():
    for number in (1, 10_000):
        assert multipart._number({"PartNumber": number}) == number
    for number in (0, 10_001):
        with refused(InvalidArgument, "between 1 and 10000, inclusive"):
            multipart._number({"PartNumber": number})


@pytest.mark.parametrize(
    ("number", "parts", "answer"),
    [
        (1, None, (0, 10)), (2, None, InvalidPartNumber), (0, None, InvalidArgument), (10_001, None, InvalidArgument), (10_000, None, InvalidPartNumber),
        (1, [4, 6], (0, 4)), (2, [4, 6], (4, 10)), (3, [4, 6], InvalidPartNumber),
    ],
)  # fmt: skip
def test_where_a_part_is(number, parts, answer):
    pieces = [
        Piece(blob=Blob(id="b", size=size, key=b""), start=0, length=size, checksum=f"c{size}")
        for size in parts or [10]
    ]
    found = Found(bucket=BUCKET, version=version(part_count=parts and len(parts)), pieces=pieces)
    if isinstance(answer, tuple):
        assert reads._part(found, number) == answer
        return
    with refused(answer) as caught:
        reads._part(found, number)
    if answer is InvalidPartNumber:
        assert caught.value.values["ActualPartCount"] == str(len(parts or [1]))


def piece(length: int, start: int = 0) -> Piece:
    return Piece(blob=Blob(id="x", size=length, key=b""), start=start, length=length)


@pytest.mark.parametrize(
    ("input", "size", "answer"),
    [({}, 5 * GIB, (0, 5 * GIB)), ({}, 5 * GIB + 1, None), ({"CopySourceRange": "bytes=0-5368709119"}, 6 * GIB, (0, 5 * GIB)),
     ({"CopySourceRange": "bytes=0-5368709120"}, 6 * GIB, None), ({"CopySourceRange": "bytes=1-2"}, 9, (1, 3))],
)  # fmt: skip
def test_how_much_a_part_copies(input, size, answer):
    found = Found(bucket=BUCKET, version=version(size=size), pieces=[])
    if answer:
        assert multipart._copied_range(input, found) == answer
        return
    with refused(InvalidRequest, "larger than the maximum allowable size for a copy source: 5368709120"):
        multipart._copied_range(input, found)


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


# --- objects in parts -------------------------------------------------------------------------------------------------

CRC = "AAAAAA=="


def part(number: int, size: int = 5 * MIB, checksum: str = CRC) -> Part:
    return Part(
        number=number, blob="b", start=0, size=size, etag=f"{number:032x}", modified=0, checksum=checksum, key=b""
    )


def upload(**said: Any) -> Upload:
    return Upload(
        id="u", bucket="b", key="k", account="1", initiated=0, initiator="", about=About(**said), outcome=None
    )  # fmt: skip


def wanted(*numbers: int, **checksums: str) -> list[Wanted]:
    return [Wanted(number=number, etag=f"{number:032x}", checksums=checksums) for number in numbers]


def test_an_object_is_made_of_what_is_listed():
    parts = [part(1), part(2), part(4, 7)]
    made = assembly.assemble(upload(checksum_algorithm="CRC32", checksum_type="COMPOSITE"), parts, wanted(1, 4, CRC32=CRC), {})  # fmt: skip
    assert (made.size, made.unused, made.checksum.type, made.checksum.value[-2:]) == (
        5 * MIB + 7, [2], ChecksumType.COMPOSITE, "-2",
    )  # fmt: skip
    md5s = bytes.fromhex(f"{1:032x}{4:032x}")
    assert made.etag == f"{hashlib.md5(md5s, usedforsecurity=False).hexdigest()}-2"


@pytest.mark.parametrize(
    ("parts", "listed", "input", "error", "said"),
    [
        ([part(1)], [], {}, InvalidRequest, "You must specify at least one part"),
        ([part(1), part(2)], wanted(2, 1), {}, InvalidPartOrder, ""),
        ([part(1)], wanted(1, 1), {}, InvalidPartOrder, ""),
        ([part(1)], wanted(2), {}, InvalidPart, r"could not be found\.  The part may not"),
        ([part(1, 5 * MIB - 1), part(2)], wanted(1, 2), {}, EntityTooSmall, ""),
        ([part(1, 24 * TIB), part(2, 24 * TIB + 1)], wanted(1, 2), {}, EntityTooLarge, ""),
        ([part(1)], wanted(1), {"MpuObjectSize": 1}, InvalidRequest, f"header value 1 does not match what was computed: {5 * MIB}"),
        ([part(1)], wanted(1, CRC32=CRC), {}, InvalidPart, ""),
        ([part(1)], wanted(1), {"ChecksumType": "COMPOSITE"}, InvalidRequest, "using the null checksum mode"),
    ],
)  # fmt: skip
def test_objects_that_cannot_be_made(parts, listed, input, error, said):
    plain = [
        Part(**{name: getattr(one, name) for name in Part.__slots__} | {"checksum": "A" * 11 + "="}) for one in parts
    ]
    with refused(error, said) as caught:
        assembly.assemble(upload(), plain, listed, input)
    if error is EntityTooSmall:
        assert caught.value.values == {
            "ProposedSize": str(5 * MIB - 1), "MinSizeAllowed": str(5 * MIB), "PartNumber": "1", "ETag": f"{1:032x}",
        }  # fmt: skip
    if error is EntityTooLarge:
        assert caught.value.values == {"ProposedSize": str(48 * TIB + 1), "MaxSizeAllowed": str(48 * TIB)}


def test_the_largest_object_and_the_smallest_last_part():
    composite = upload(checksum_algorithm="CRC32", checksum_type="COMPOSITE")
    parts = [part(1, 24 * TIB), part(2, 24 * TIB)]
    assert assembly.assemble(composite, parts, wanted(1, 2, CRC32=CRC), {"MpuObjectSize": 48 * TIB}).size == 48 * TIB
    assert assembly.assemble(composite, [part(1, 0)], wanted(1, CRC32=CRC), {}).size == 0


@pytest.mark.parametrize(
    ("kind", "checksums", "error", "said"),
    [
        ("COMPOSITE", {}, InvalidRequest, "using a crc32 checksum. The complete request must include the checksum for each part. It was missing for part 1"),
        ("COMPOSITE", {"SHA1": "x"}, BadDigest, "The sha1 you specified for part 1 did not match"),
        ("COMPOSITE", {"CRC32": "BBBBBB=="}, InvalidPart, ""),
        ("FULL_OBJECT", {"CRC32": "BBBBBB=="}, InvalidPart, ""),
        ("FULL_OBJECT", {}, None, ""),
    ],
)  # fmt: skip
def test_checksums_of_listed_parts(kind, checksums, error, said):
    begun = upload(checksum_algorithm="CRC32", checksum_type=kind)
    with refused(error, said) if error else contextlib.nullcontext():
        assembly.assemble(begun, [part(1)], wanted(1, **checksums), {})


@pytest.mark.parametrize(
    ("begun", "input", "good"),
    [
        ({"checksum_algorithm": "CRC32", "checksum_type": "FULL_OBJECT"}, {"ChecksumCRC32": CRC, "ChecksumType": "FULL_OBJECT"}, True),
        ({"checksum_algorithm": "CRC32", "checksum_type": "FULL_OBJECT"}, {"ChecksumCRC32": CRC}, False),
        ({"checksum_algorithm": "CRC32", "checksum_type": "FULL_OBJECT"}, {"ChecksumSHA1": "x"}, False),
        ({"checksum_algorithm": "CRC32", "checksum_type": "FULL_OBJECT"}, {"ChecksumCRC32": "BBBBBB==", "ChecksumType": "FULL_OBJECT"}, False),
        ({"checksum_algorithm": "CRC32", "checksum_type": "COMPOSITE"}, {"ChecksumCRC32": "BBBBBB=="}, False),
        ({}, {"ChecksumSHA1": "x"}, True),
    ],
)  # fmt: skip
def test_the_checksum_of_a_whole_object(begun, input, good):
    checksum = CRC if begun else "A" * 11 + "="
    listed = wanted(1, **({"CRC32": CRC} if begun else {}))
    with contextlib.nullcontext() if good else refused(BadDigest, "did not match the calculated checksum"):
        assembly.assemble(upload(**begun), [part(1, 0, checksum)], listed, input)


def test_a_part_as_a_caller_lists_it():
    assert Wanted.of({}) == Wanted(number=0, etag="", checksums={})
    listed = Wanted.of({"PartNumber": 3, "ETag": '"e"', "ChecksumCRC32": CRC})
    assert listed == Wanted(number=3, etag="e", checksums={"CRC32": CRC})


# --- deletes and copies -----------------------------------------------------------------------------------------------


async def test_a_thousand_keys_are_deleted_at_once_and_no_more(monkeypatch):
    deleted = []

    async def write(_many, _call, _bucket, allowed):
        deleted.append(len(allowed))
        return [commits.Deleted() for _ in allowed]

    async def allow(*_):
        return BUCKET

    monkeypatch.setattr(deletes, "note_region", allow)
    app = SimpleNamespace(store=SimpleNamespace(write=write, read=allow), identity=SimpleNamespace(authorize=allow))
    call = SimpleNamespace(app=app, partition="aws", account=BUCKET.account, memo={})
    for number, quiet in ((1000, False), (1, True)):
        asked = {"Bucket": "b", "Delete": {"Objects": [{"Key": str(one)} for one in range(number)], "Quiet": quiet}}
        answer = await deletes.delete_objects(None, call, asked)  # type: ignore[arg-type]
        assert answer["Errors"] is None
        assert answer["Deleted"] is None if quiet else len(answer["Deleted"]) == number
    for number in (0, 1001):
        with refused(MalformedXML):
            await deletes.delete_objects(None, call, {"Bucket": "b", "Delete": {"Objects": [{"Key": "k"}] * number}})  # type: ignore[arg-type]
    assert deleted == [1000, 1]
    asked = {"Bucket": "b", "Delete": {"Objects": [{"Key": "k", "Size": 0}, {"Key": "l", "VersionId": "x"}, {"Key": "é" * 600}]}}  # fmt: skip
    answer = await deletes.delete_objects(None, call, asked)  # type: ignore[arg-type]
    assert [error["Code"] for error in answer["Errors"]] == ["NotImplemented", "NoSuchVersion", "KeyTooLongError"]
    assert deleted == [1000, 1]


@pytest.mark.parametrize(
    ("match", "version", "asked"),
    [(None, None, []), ("*", None, []), ("e", None, ["s3:GetObject"]), ("e", "v", ["s3:GetObjectVersion"])],
)
async def test_an_etag_is_guessed_only_by_who_may_read_it(match, version, asked):
    actions = []

    async def authorize(_call, action, resources):
        assert resources == ("arn:aws:s3:::b/k",)
        actions.append(action)

    call = SimpleNamespace(app=SimpleNamespace(identity=SimpleNamespace(authorize=authorize)), partition="aws")
    await deletes._may_compare(call, "b", commits.DeleteTarget(key="k", version=version, match=match))  # type: ignore[arg-type]
    assert actions == asked


@pytest.mark.parametrize(
    ("input", "settings", "idle"),
    [
        ({}, {}, True),
        ({"MetadataDirective": "COPY", "TaggingDirective": "COPY"}, {}, True),
        ({"MetadataDirective": "REPLACE"}, {}, False),
        ({"TaggingDirective": "REPLACE"}, {}, False),
        ({"CopySource": "b/k?versionId=v"}, {}, False),
        ({"ServerSideEncryption": "AES256"}, {}, False),
        ({"ChecksumAlgorithm": "SHA1"}, {}, False),
        ({"WebsiteRedirectLocation": "/x"}, {}, False),
        ({"StorageClass": "STANDARD"}, {}, False),
        ({}, {"encryption": {"algorithm": "AES256"}}, False),
    ],
)
def test_a_copy_onto_itself_changes_something(input, settings, idle):
    bucket = Bucket(name="b", account="1", region="r", created=0, versioning=Versioning.NEVER, settings=settings)
    with refused(InvalidRequest, "copy an object to itself without changing") if idle else contextlib.nullcontext():
        copies._refuse_idle({"CopySource": "b/k"} | input, bucket)


@pytest.mark.parametrize(
    ("input", "headers", "metadata", "tags"),
    [
        ({}, {"ContentType": "old"}, {"m": "old"}, {"t": "old"}),
        ({"MetadataDirective": "REPLACE", "ContentType": "new"}, {"ContentType": "new"}, {}, {"t": "old"}),
        ({"TaggingDirective": "REPLACE", "Tagging": "t=new"}, {"ContentType": "old"}, {"m": "old"}, {"t": "new"}),
        ({"WebsiteRedirectLocation": "/x"}, {"ContentType": "old"}, {"m": "old"}, {"t": "old"}),
    ],
)
def test_what_a_copy_keeps(input, headers, metadata, tags):
    kept = About(
        headers={"ContentType": "old", "WebsiteRedirectLocation": "/o"}, metadata={"m": "old"}, tags={"t": "old"}
    )
    said = copies._about(input, BUCKET, Found(bucket=BUCKET, version=version(about=kept), pieces=[]))
    assert (said.headers, said.metadata, said.tags) == (headers, metadata, tags)
    with refused(InvalidArgument, "Unknown metadata directive"):
        copies._about({"MetadataDirective": "X"}, BUCKET, Found(bucket=BUCKET, version=version(about=kept), pieces=[]))


# --- rows -------------------------------------------------------------------------------------------------------------


class Watched:
    """A connection without rows that says how rows were to be locked."""

    def __init__(self) -> None:
        self.locks: list[bool] = []

    def execute(self, statement: Any) -> Any:
        self.locks.append(statement._for_update_arg is not None)
        return SimpleNamespace(one_or_none=lambda: None)


def test_an_upload_is_locked_by_who_ends_it():
    conn: Any = Watched()
    assert contents.find_upload(conn, "u") is None
    assert contents.find_upload(conn, "u", lock=True) is None
    with pytest.raises(Exception, match="upload"):
        multipart._abort(conn, "u", 5)
    assert conn.locks == [False, True, True]


async def test_what_is_collected_is_older_than_its_time(store):
    def row(name: str, **more: Any) -> dict[str, Any]:
        made = {"id": name, "account": "", "region": "", "size": 0, "sha256": "", "created": 0}
        return made | {"unreferenced": None, "removed": None} | more

    def fill(conn: sa.Connection) -> None:
        conn.execute(
            sa.insert(records.blobs),
            [row("old", unreferenced=99), row("at", unreferenced=100), row("older", unreferenced=98), row("used"),
             row("claim", removed=99), row("claim-at", removed=100), row("given", removed=99, unreferenced=99)],
        )  # fmt: skip
        for name, completed in (("u-old", 99), ("u-at", 100), ("u-open", None)):
            made = Upload(
                id=name, bucket="b", key="k", account="1", initiated=0, initiator="", about=About(), outcome=None
            )
            contents.insert_upload(conn, made, "r")
            if completed:
                contents.complete_upload(conn, name, {}, completed)

    await store.write(fill)
    assert await store.read(contents.unreferenced_blobs, 100, 10) == ["older", "old", "given"]
    assert await store.read(contents.unreferenced_blobs, 100, 1) == ["older"]
    await store.write(contents.forget_uploads, 100)
    assert sorted(await store.read(contents.uploads_of_bucket, "b")) == [("u-at", False), ("u-open", True)]
    await store.write(contents.forget_claims, 100)
    assert await store.write(contents.give_up_strays, ["claim-at", "used", "stray"], 7) == ["claim-at", "stray"]
    await store.write(contents.forget_blobs, ["given", "claim-at", "used", "stray"])

    def left(conn: sa.Connection) -> set[str]:
        return set(conn.execute(sa.select(records.blobs.c.id)).scalars())

    assert await store.read(left) == {"old", "at", "older", "used", "claim-at", "stray"}


async def test_a_round_of_the_collector(monkeypatch):
    """Ten minutes for readers, an hour for writers, a day for repeated calls, a week for claims; 200 at a time, every two minutes."""
    asked = []

    async def write(fn, *arguments):
        asked.append((fn.__name__, *arguments))
        return []

    async def scan(fn, *arguments):
        asked.append((fn.__name__, *arguments))
        return []

    async def run(fn, *arguments):
        return fn(*arguments)

    def older_than(seconds):
        asked.append(("older_than", seconds))
        return iter([])

    app = SimpleNamespace(clock=SimpleNamespace(now=lambda: 10**12), store=SimpleNamespace(write=write, scan=scan))
    blobs = SimpleNamespace(run=run, backend=SimpleNamespace(older_than=older_than), unfinished=set())
    assert await collector.collect(app, blobs) == 0  # type: ignore[arg-type]
    assert asked == [
        ("forget_uploads", 10**12 - 86_400_000), ("unreferenced_blobs", 10**12 - 600_000, 200), ("older_than", 3600.0),
        ("forget_claims", 10**12 - 604_800_000),
    ]  # fmt: skip
    with pytest.raises(collector.Retry) as again:
        await collector.repeat(app, blobs)  # type: ignore[arg-type]
    assert (again.value.after_ms, again.value.counts) == (120_000, False)


async def test_the_collector_takes_what_is_old_and_not_being_written(store, blobs: Blobs, backend: DiskBackend):
    """And says how much it took."""
    for name in ("aa" + "0" * 30, "ab" + "0" * 30, "ac" + "0" * 30):
        sink = backend.create(name)
        sink.write([b"x"])
        sink.commit()
        os.utime(backend._path(name), (1, 1))
    blobs.unfinished.add("ab" + "0" * 30)
    app = SimpleNamespace(clock=SimpleNamespace(now=lambda: 10**12), store=store)
    assert await collector.collect(app, blobs) == 2  # type: ignore[arg-type]
    assert [path.name for path in backend._root.rglob("*") if path.is_file()] == ["ab" + "0" * 30]


def test_events_of_a_key_share_one_of_64_orders():
    assert [commits.ordering_key(key) for key in ("", "a", "é")] == [0, 3, 62]
    assert {commits.ordering_key(str(number)) for number in range(2000)} == set(range(64))


# --- bytes on disk ----------------------------------------------------------------------------------------------------


def test_a_blob_is_written_whole_however_little_the_disk_takes(tmp_path, monkeypatch):
    disk = DiskBackend(tmp_path)
    disk.prepare()
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {"0o700"}
    assert len(list(tmp_path.iterdir())) == 256
    asked, real = [], os.writev

    def some(descriptor, pieces):
        asked.append(len(pieces))
        return real(descriptor, [bytes(pieces[0])[:3]]) if len(pieces[0]) > 3 else real(descriptor, pieces)

    monkeypatch.setattr(backend.os, "writev", some)
    pieces = [b"", b"abcdefgh", b"", *(bytes([65 + number % 26]) for number in range(100)), b"xyz!"]
    sink = disk.create("ab12")
    sink.write(pieces)
    sink.commit()
    path = tmp_path / "ab" / "ab12"
    assert path.read_bytes() == b"".join(pieces)
    assert path.stat().st_mode & 0o777 == 0o600
    assert max(asked) == 64
    with pytest.raises(FileExistsError):
        disk.create("ab12")


def test_bytes_are_synced_before_their_name(tmp_path, monkeypatch):
    disk = DiskBackend(tmp_path)
    disk.prepare()
    steps = []
    sink = disk.create("ab12")
    close, fsync = os.close, os.fsync

    def closed(descriptor):
        steps.append(("close", os.readlink(f"/proc/self/fd/{descriptor}")))
        close(descriptor)

    def synced(descriptor):
        steps.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(backend.os, "close", closed)
    monkeypatch.setattr(backend.os, "fsync", synced)
    sink.commit()
    name, folder = str(tmp_path / "ab" / "ab12"), str(tmp_path / "ab")
    assert steps == [("fsync", name), ("close", name), ("fsync", folder), ("close", folder)]
    steps.clear()
    sink.discard()
    sink.discard()
    assert steps == []
    source = _on_disk(disk, "cd12", b"abc")
    assert (source.read(0, 2), source.read(1, 9), source.read(3, 1)) == (b"ab", b"bc", b"")
    steps.clear()
    source.close()
    source.close()
    assert [step for step, _ in steps] == ["close"]


def _on_disk(disk: DiskBackend, name: str, content: bytes) -> Any:
    sink = disk.create(name)
    sink.write([content])
    sink.commit()
    return disk.open(name)


def test_how_old_a_blob_is(tmp_path, monkeypatch):
    disk = DiskBackend(tmp_path)
    disk.prepare()
    (tmp_path / "no-folder").touch()
    for name, at in (("aa1", 899), ("ab1", 900), ("ac1", 901), ("ff1", 1)):
        _on_disk(disk, name, b"x").close()
        os.utime(disk._path(name), (at, at))
    monkeypatch.setattr(backend, "time", SimpleNamespace(time=lambda: 1000.0))
    assert list(disk.older_than(100)) == ["aa1", "ff1"]
    disk.remove("aa1")
    disk.remove("aa1")
    assert list(disk.older_than(100)) == ["ff1"]


def test_a_key_opens_under_its_own_root_only():
    def sealed_as_it_is(text: bytes, _context: str) -> bytes:
        return text

    sealer: Any = SimpleNamespace(seal=sealed_as_it_is, open=sealed_as_it_is)
    key, root = os.urandom(32), os.urandom(32)

    def opened(raw: bytes, under: bytes, blob: str = "b") -> bytes:
        return _opened(sealer, Blob(id=blob, size=1, key=raw), under)

    assert _sealed(sealer, key, b"", "b") == key == opened(key, b"")
    wrapped = _sealed(sealer, key, root, "b")
    assert len(wrapped) == 12 + 32 + 16
    assert opened(wrapped, root) == key
    for raw, under, blob in (
        (wrapped, os.urandom(32), "b"), (wrapped, root, "c"), (wrapped, b"", "b"), (key, root, "b"), (key[:-1], b"", "b"),
    ):  # fmt: skip
        with refused(DamagedBlob, f"the key of blob {blob} is not wrapped"):
            opened(raw, under, blob)


def test_a_blob_that_is_one_part_has_a_known_digest():
    whole = Piece(blob=Blob(id="b", size=5, key=b""), start=0, length=5, sha256="s")
    assert contents.digest_of_complete_blob([whole]) == "s"
    for pieces in ([], [whole, whole], [piece(4, 1)], [Piece(blob=whole.blob, start=0, length=4, sha256="s")]):
        assert contents.digest_of_complete_blob(pieces) == ""


# --- another store ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("s3://bucket", ""), ("http://bucket", "is not s3://bucket"), ("s3://B", "is not s3://bucket"), ("s3://ab", "is not s3://bucket"),
        ("s3://" + "a" * 63, ""), ("s3://" + "a" * 64, "is not s3://bucket"), ("s3://abc?endpoint=ftp://x", "is no http or https address"),
        ("s3://abc?b=1&a=2", "a, b is not known of an object store: credentials, endpoint, profile, region are"),
    ],
)  # fmt: skip
def test_addresses_of_other_stores(text, said):
    with refused(ValueError, said) if said else contextlib.nullcontext():
        found = Location.parse(text)
        assert (found.prefix, found.region, found.endpoint) == ("", "us-east-1", "")
    assert Location.parse("s3://abc//a/b/?region=r&profile=p").prefix == "a/b/"


class Client:
    """As much of a client of S3 as a backend uses."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.pages: dict[str, list[dict[str, Any]]] = {}

    def __getattr__(self, operation: str) -> Any:
        def run(**input: Any) -> Any:
            self.asked.append((operation, input))
            return {"UploadId": "u", "ETag": f"e{input.get('PartNumber')}"}

        return run

    def get_paginator(self, operation: str) -> Any:
        return SimpleNamespace(paginate=lambda **_where: self.pages[operation])


@pytest.fixture
def elsewhere():
    from penstock.objects.s3_backend import S3Backend

    made = S3Backend(Location.parse("s3://abc/p"), connections=2)
    made._client = Client()
    return made


@pytest.mark.parametrize(
    ("sizes", "operations"),
    [
        ([8 * MIB - 1], ["put_object"]),
        ([8 * MIB], ["create_multipart_upload", "upload_part", "complete_multipart_upload"]),
        ([8 * MIB, 1], ["create_multipart_upload", "upload_part", "upload_part", "complete_multipart_upload"]),
    ],
)
def test_what_goes_up_in_parts(elsewhere, sizes, operations):
    sink = elsewhere.create("id")
    for size in sizes:
        sink.write([bytes(size)])
    sink.commit()
    asked = elsewhere._client.asked
    assert [operation for operation, _ in asked] == operations
    assert all(input["Key"] == "p/id" for _, input in asked)
    if len(sizes) == 2:
        parts = [{"PartNumber": 1, "ETag": "e1"}, {"PartNumber": 2, "ETag": "e2"}]
        assert asked[-1][1]["MultipartUpload"] == {"Parts": parts}
        assert [len(input["Body"]) for operation, input in asked if operation == "upload_part"] == sizes
    asked.clear()
    sink.discard()
    assert [operation for operation, _ in asked] == ["abort_multipart_upload"] * (len(operations) > 1) + ["delete_object"]  # fmt: skip


def test_what_is_old_elsewhere(elsewhere, monkeypatch):
    from penstock.objects import s3_backend

    now = datetime(2026, 1, 2, tzinfo=UTC)
    monkeypatch.setattr(s3_backend, "datetime", SimpleNamespace(now=lambda _zone: now))
    day, second = s3_backend.timedelta(days=1), s3_backend.timedelta(seconds=1)
    elsewhere._client.pages = {
        "list_multipart_uploads": [
            {"Uploads": [{"Initiated": now - day, "Key": "p/young", "UploadId": "1"},
                         {"Initiated": now - day - second, "Key": "p/old", "UploadId": "2"}]},
            {},
        ],
        "list_objects_v2": [
            {"Contents": [{"LastModified": now - 60 * second, "Key": "p/at"}, {"LastModified": now - 61 * second, "Key": "p/old"}]}, {},
        ],
    }  # fmt: skip
    assert list(elsewhere.older_than(60)) == ["old"]
    aborted = {"Bucket": "abc", "Key": "p/old", "UploadId": "2"}
    assert elsewhere._client.asked == [("abort_multipart_upload", aborted)]


def test_reads_that_follow_each_other_are_one_request(elsewhere):
    closed = []

    class Body:
        def __init__(self, start: int) -> None:
            self.at = start

        def read(self, length: int) -> bytes:
            found = b"0123456789"[self.at : self.at + length]
            self.at += len(found)
            return found

        def close(self) -> None:
            closed.append(self.at)

    ranges = []

    def get_object(**input: Any) -> Any:
        ranges.append(input["Range"])
        return {"Body": Body(int(input["Range"][6:-1]))}

    elsewhere._client.get_object = get_object
    source = elsewhere.open("id")
    assert [source.read(0, 3), source.read(3, 3), source.read(1, 2)] == [b"012", b"345", b"12"]
    assert (ranges, closed) == (["bytes=0-", "bytes=1-"], [6])
    source.close()
    source.close()
    assert closed == [6, 3]


# --- answers ----------------------------------------------------------------------------------------------------------


def test_codes_of_refusals_as_s3_has_them():
    codes = {kind.__name__: (wording.code, wording.status) for kind, wording in S3.table.items()}
    assert codes == {
        "AccessDenied": ("AccessDenied", 403), "UnknownAccessKey": ("InvalidAccessKeyId", 403), "InvalidSessionToken": ("InvalidToken", 400),
        "ExpiredSession": ("ExpiredToken", 400), "SignatureMismatch": ("SignatureDoesNotMatch", 403), "UnsignedHeaders": ("AccessDenied", 403),
        "PayloadMismatch": ("XAmzContentSHA256Mismatch", 400), "SignatureExpired": ("RequestTimeTooSkewed", 403),
        "PresignedExpired": ("AccessDenied", 403), "IncompleteSignature": ("AuthorizationHeaderMalformed", 400),
        "UnsupportedAuthorization": ("InvalidRequest", 400), "MissingAuthentication": ("AccessDenied", 403),
        "UnknownOperation": ("MethodNotAllowed", 405), "NotImplementedOperation": ("NotImplemented", 501), "MalformedBody": ("MalformedXML", 400),
        "BodyTooLarge": ("MaxMessageLengthExceeded", 400), "Throttled": ("SlowDown", 503), "Unavailable": ("ServiceUnavailable", 503),
        "InvalidInput": ("InvalidArgument", 400), "DigestMismatch": ("BadDigest", 400), "IncompleteBody": ("IncompleteBody", 400),
        "MalformedChunk": ("InvalidRequest", 400), "MissingLength": ("MissingContentLength", 411),
    }  # fmt: skip
    always = {kind.__name__ for kind, wording in S3.table.items() if wording.always}
    assert always == {"UnknownAccessKey", "InvalidSessionToken", "ExpiredSession", "SignatureExpired"}


@pytest.mark.parametrize(
    ("kept", "parts", "sha256", "algorithm", "md5", "read"),
    [
        (("SHA1", ChecksumType.FULL_OBJECT), None, "", "SHA1", "", False),
        (("SHA1", ChecksumType.FULL_OBJECT), 2, "", "SHA1", "", True),
        (("SHA1", ChecksumType.FULL_OBJECT), 2, "", "SHA1", "not wanted", False),
        (("SHA1", ChecksumType.FULL_OBJECT), None, "", "SHA1", "not known", True),
        (("SHA1", ChecksumType.FULL_OBJECT), None, "", "SHA1", "not known, nor wanted", False),
        (("SHA1", ChecksumType.COMPOSITE), None, "", "SHA1", "not wanted", True),
        (("SHA1", ChecksumType.FULL_OBJECT), None, "ab" * 32, "SHA256", "", False),
        (("SHA1", ChecksumType.FULL_OBJECT), None, "", "SHA256", "not wanted", True),
        (None, None, "ab" * 32, "SHA1", "", True),
        (None, 1, "ab" * 32, "SHA256", "", True),
        (None, 1, "ab" * 32, "SHA256", "not wanted", False),
    ],
)  # fmt: skip
async def test_what_a_copy_is_read_for(monkeypatch, kept, parts, sha256, algorithm, md5, read):
    reads_: list[Any] = []

    async def digests_of(_blobs, _source, start, stop, algorithm, root, *, md5):
        reads_.append((start, stop, algorithm.name, root))
        return SimpleNamespace(md5=bytes(16) if md5 else b"", value=lambda one: f"new {one.name}")

    monkeypatch.setattr(copies, "digests_of", digests_of)
    checksum = kept and Checksum(algorithm=kept[0], type=kept[1], value="old")
    whole = Piece(blob=Blob(id="b", size=10, key=b""), start=0, length=10, sha256=sha256)
    about = About(checksum=checksum, data_key="of KMS" if md5.startswith("not known") else "")
    found = Found(bucket=BUCKET, version=version(part_count=parts, about=about), pieces=[whole])
    asked: dict[str, Any] = {"md5": not md5.endswith("wanted")}
    etag, made = await copies._hashes(None, found, ALGORITHMS[algorithm], b"root", **asked)  # type: ignore[arg-type]
    assert reads_ == ([(0, 10, algorithm, b"root")] if read else [])
    assert etag == ("e" if not read else "0" * 32 if asked["md5"] else "")
    assert (made.algorithm, made.type) == (algorithm, ChecksumType.FULL_OBJECT)
    if not read:
        known = base64.b64encode(bytes.fromhex(sha256)).decode() if sha256 else "old"
        assert made.value == known


@pytest.mark.parametrize(
    ("kind", "listed"), [(ChecksumType.COMPOSITE, True), (ChecksumType.FULL_OBJECT, False), (None, False)]
)
async def test_whose_parts_are_listed(kind, listed):
    asked = []

    async def scan(_fn, content, after, limit):
        asked.append((content, after, limit))
        return [part(number) for number in (2, 3, 4)]

    call: Any = SimpleNamespace(app=SimpleNamespace(store=SimpleNamespace(scan=scan)))
    checksum = kind and Checksum(algorithm="CRC32", type=kind, value="v")
    shown = version(part_count=4, about=About(checksum=checksum))
    answer = await reads._parts(call, {"MaxParts": 2, "PartNumberMarker": 1}, shown)
    if not listed:
        assert (answer, asked) == ({"TotalPartsCount": 4}, [])
        return
    assert asked == [("c", 1, 3)]
    assert answer == {
        "TotalPartsCount": 4, "PartNumberMarker": 1, "NextPartNumberMarker": 3, "MaxParts": 2, "IsTruncated": True,
        "Parts": [{"PartNumber": number, "Size": 5 * MIB, "ChecksumCRC32": CRC} for number in (2, 3)],
    }  # fmt: skip
    for limit, last in ((3, 4), (4, 4), (0, 0)):
        rest = await reads._parts(call, {"MaxParts": limit}, shown)
        assert (rest["IsTruncated"], rest["NextPartNumberMarker"], len(rest["Parts"])) == (False, last, min(limit, 3))


@pytest.mark.parametrize(
    ("input", "answer"),
    [
        ({}, {"ContentLength": 10}),
        ({"Range": "bytes=2-4"}, {"ContentLength": 3, "ContentRange": "bytes 2-4/10"}),
        ({"Range": "bytes=0-9"}, {"ContentLength": 10, "ContentRange": "bytes 0-9/10"}),
        ({"PartNumber": 1}, {"ContentLength": 10, "ContentRange": "bytes 0-9/10"}),
        ({"PartNumber": 1, "Range": "bytes=0-1"}, None),
        ({"ChecksumMode": "enabled"}, {"ContentLength": 10, "ChecksumCRC32": "v", "ChecksumType": "FULL_OBJECT"}),
        ({"ChecksumMode": "ENABLED", "Range": "bytes=0-8"}, {"ContentLength": 9, "ContentRange": "bytes 0-8/10"}),
    ],
)
def test_what_is_said_of_what_is_read(input, answer):
    checksum = Checksum(algorithm="CRC32", type=ChecksumType.FULL_OBJECT, value="v")
    found = Found(bucket=BUCKET, version=version(about=About(checksum=checksum)), pieces=[piece(10)])
    if answer is None:
        with refused(InvalidRequest, "Cannot specify both Range header and partNumber query parameter"):
            reads._described(input, found, 0)
        return
    output, start, stop, partial = reads._described(input, found, 0)
    assert {
        name: value for name, value in output.items() if name.startswith(("Content", "Checksum", "Parts"))
    } == answer
    assert stop - start == output["ContentLength"]
    assert partial is ("ContentRange" in answer)


def test_positions_that_are_far_away():
    assert [conditions._bounded(digits) for digits in ("", "0", "007", "9" * 18, "1" + "0" * 18)] == [
        "", "0", "7", "9" * 18, "9" * 18,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("regions", "found", "memo"),
    [(("r1", "r2"), "r2", {"region": "r2"}), (("r1", "r2"), None, {}), (("r1",), "r2", {})],
)
async def test_the_region_that_policies_see_is_the_buckets(regions, found, memo):
    async def read(_find, name):
        assert name == "b"
        return found and SimpleNamespace(region=found)

    settings = SimpleNamespace(all_regions=lambda: regions)
    call: Any = SimpleNamespace(app=SimpleNamespace(settings=settings, store=SimpleNamespace(read=read)), memo={})
    await names.note_region(call, "b")
    assert call.memo == memo


@pytest.mark.parametrize(
    ("input", "error", "settings"),
    [
        ({}, None, {}),
        ({"CreateBucketConfiguration": {"Tags": [{"Key": "a", "Value": "1"}]}}, None, {"tags": {"a": "1"}}),
        ({"BucketNamespace": "global", "ObjectOwnership": "BucketOwnerEnforced"}, None, {}),
        ({"BucketNamespace": "mine"}, NotServed, None),
        ({"ObjectLockEnabledForBucket": True}, NotServed, None),
        ({"ObjectOwnership": "ObjectWriter"}, InvalidRequest, None),
        ({"CreateBucketConfiguration": {"Bucket": {"Type": "Directory"}}}, NotServed, None),
        ({"CreateBucketConfiguration": {"Location": {"Name": "x"}}}, NotServed, None),
        ({"CreateBucketConfiguration": {"Tags": [{"Key": "aws:a", "Value": "1"}]}}, InvalidTag, None),
    ],
)
async def test_what_a_new_bucket_is_answered(input, error, settings):
    made = []

    async def write(_create, bucket):
        made.append(bucket)

    app = SimpleNamespace(
        settings=SimpleNamespace(all_regions=lambda: ("us-east-1",)), store=SimpleNamespace(write=write)
    )
    call: Any = SimpleNamespace(via="http", region="us-east-1", account="1", partition="aws", now=5, app=app)
    with refused(error) if error else contextlib.nullcontext():
        answer = await buckets.create_bucket(None, call, {"Bucket": "abc"} | input)  # type: ignore[arg-type]
        assert answer == {"Location": "/abc", "BucketArn": "arn:aws:s3:::abc"}
    expected = Bucket(
        name="abc", account="1", region="us-east-1", created=5, versioning=Versioning.NEVER, settings=settings or {}
    )
    assert made == ([] if error else [expected])
