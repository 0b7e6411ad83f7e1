"""Conditional requests, names, pieces and checksums at their bounds."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from penstock.blobs.segments import SEGMENT, segment_count, segment_offset, stored_size
from penstock.objects import checksums, errors
from penstock.objects.blobs import Piece
from penstock.objects.conditions import (
    Conditions,
    check_completion,
    check_match,
    check_write,
    parse_copied_range,
    parse_range,
)
from penstock.objects.lookup import cut
from penstock.objects.model import NULL, About, Bucket, Checksum, Version, Versioning
from penstock.objects.names import check_bucket_name, check_key, check_version_id

VERSION = Version(
    bucket="b", key="k", rank=1, version=NULL, account="111111111111", latest=True, marker=False, modified=5_400, etag="e",
    size=3, content="c", part_count=None, about=About(),
)  # fmt: skip
MARKER = replace(VERSION, marker=True, etag="")
NOW = 9_000


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ({}, ""),
        ({"IfMatch": '"e"'}, ""),
        ({"IfMatch": "*"}, ""),
        ({"IfMatch": '"x", W/"e"'}, ""),
        ({"IfMatch": '"x"'}, "!If-Match"),
        ({"IfMatch": '"x"', "IfNoneMatch": '"e"'}, "!If-Match"),
        ({"IfUnmodifiedSince": 5_000}, ""),  # the seconds that are shown are what is compared
        ({"IfUnmodifiedSince": 4_999}, "!If-Unmodified-Since"),
        ({"IfMatch": "e", "IfUnmodifiedSince": 1_000}, ""),
        ({"IfNoneMatch": "e"}, "If-None-Match"),
        ({"IfNoneMatch": "*"}, "If-None-Match"),
        ({"IfNoneMatch": "x"}, ""),
        ({"IfNoneMatch": "x", "IfModifiedSince": 8_000}, ""),
        ({"IfModifiedSince": 4_999}, ""),
        ({"IfModifiedSince": 5_000}, "If-Modified-Since"),
        ({"IfModifiedSince": NOW}, "If-Modified-Since"),
        ({"IfModifiedSince": NOW + 1}, ""),
        ({"IfUnmodifiedSince": 4_000, "IfNoneMatch": "e"}, "!If-Unmodified-Since"),
    ],
)
def test_what_a_reader_demands(asked, answer):
    for prefix, header in (("", ""), ("CopySource", "x-amz-copy-source-")):
        conditions = Conditions.of({prefix + name: value for name, value in asked.items()}, prefix)
        if answer.startswith("!"):
            with pytest.raises(errors.PreconditionFailed) as refused:
                conditions.unchanged(VERSION, NOW)
            assert refused.value.values["Condition"] == header + answer[1:]
        else:
            assert conditions.unchanged(VERSION, NOW) == (answer and header + answer)
        if answer:
            with pytest.raises(errors.PreconditionFailed):
                conditions.check_source(VERSION, NOW)
        else:
            conditions.check_source(VERSION, NOW)


@pytest.mark.parametrize(
    ("asked", "current", "error"),
    [
        ({}, VERSION, None),
        ({"IfNoneMatch": "*"}, None, None),
        ({"IfNoneMatch": "*"}, MARKER, None),
        ({"IfNoneMatch": "*"}, VERSION, errors.PreconditionFailed),
        ({"IfNoneMatch": '"e"'}, None, errors.NotServed),
        ({"IfMatch": "*"}, VERSION, errors.NotServed),
        ({"IfMatch": "e", "IfNoneMatch": "*"}, VERSION, errors.NotServed),
        ({"IfMatch": "e"}, VERSION, None),
        ({"IfMatch": "x"}, VERSION, errors.PreconditionFailed),
        ({"IfMatch": "e"}, MARKER, errors.NoSuchKey),
        ({"IfMatch": "e"}, None, errors.NoSuchKey),
    ],
)
def test_what_a_writer_demands(asked, current, error):
    # Of an upload in parts it must have held since the upload began.
    for check in (check_write, lambda *given: check_completion(*given, "" if current is None else current.content)):
        if error is None:
            check(asked, current)
        else:
            with pytest.raises(error):
                check(asked, current)
    if asked and error is None:
        with pytest.raises(errors.ConditionalRequestConflict):
            check_completion(asked, current, "another")
    check_match("*", VERSION, "k")
    with pytest.raises(errors.NoSuchKey):
        check_match("*", MARKER, "k")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-", (0, 10)), ("bytes=9-", (9, 10)), ("bytes=0-9", (0, 10)), ("bytes=0-10", (0, 10)), ("bytes=3-3", (3, 4)),
        ("bytes=-1", (9, 10)), ("bytes=-10", (0, 10)), ("bytes=-11", (0, 10)), (" bytes = 2 - 3 ", (2, 4)), ("bytes=4-3", None),
        ("bytes=-", None), ("bytes=0-1,3-4", None), ("items=0-1", None), ("bytes=10-", "none"), ("bytes=10-11", "none"), ("bytes=-0", "none"),
    ],
)  # fmt: skip
def test_ranges_at_their_bounds(header, expected):
    if expected == "none":
        with pytest.raises(errors.InvalidRange):
            parse_range(header, 10)
    else:
        assert parse_range(header, 10) == expected


def test_no_byte_of_nothing():
    for header in ("bytes=0-", "bytes=-1", "bytes=0-0"):
        with pytest.raises(errors.InvalidRange):
            parse_range(header, 0)


def test_ranges_of_a_copy_at_their_bounds():
    assert parse_copied_range("bytes=9-9", 10) == (9, 10)
    assert parse_copied_range("bytes=0-0", 10) == (0, 1)
    with pytest.raises(errors.InvalidArgument, match="not valid for source object of size: 10"):
        parse_copied_range("bytes=9-10", 10)


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("abc", True), ("a" * 63, True), ("a.b-c", True), ("1.2.3", True), ("xn-a", True), ("a-x-s3", True),
        ("ab", False), ("a" * 64, False), ("a..b", False), ("-abc", False), ("abc-", False), ("abc.", False), ("Abc", False), ("a_b", False),
        ("10.0.0.1", False), ("xn--abc", False), ("sthree-abc", False), ("amzn-s3-demo-a", False),
        ("abc-s3alias", False), ("abc--ol-s3", False), ("abc.mrap", False), ("abc--x-s3", False), ("abc--table-s3", False), ("console", False),
    ],
)  # fmt: skip
def test_names_of_buckets(name, good):
    if good:
        check_bucket_name(name)
    else:
        with pytest.raises(errors.InvalidBucketName):
            check_bucket_name(name)


def test_keys_of_1024_bytes():
    assert check_key("\u00e9" * 512) == "\u00e9" * 512
    with pytest.raises(errors.KeyTooLongError) as refused:
        check_key("\u00e9" * 512 + "x")
    assert refused.value.values == {"Size": "1025", "MaxSizeAllowed": "1024"}
    with pytest.raises(errors.InvalidRequest):
        check_key("\ud800")


def test_ids_of_versions():
    def bucket(versioning):
        return Bucket(name="b", account="1", region="r", created=0, versioning=versioning, settings={})

    for versioning in Versioning:
        assert check_version_id(bucket(versioning), None) is None
        assert check_version_id(bucket(versioning), NULL) == NULL
    for versioning in (Versioning.ENABLED, Versioning.SUSPENDED):
        assert check_version_id(bucket(versioning), "v" * 32) == "v" * 32
        for wrong in ("v" * 31, "v" * 33, "", "v" * 31 + "\n"):
            with pytest.raises(errors.InvalidArgument):
                check_version_id(bucket(versioning), wrong)
    with pytest.raises(errors.InvalidArgument):
        check_version_id(bucket(Versioning.NEVER), "v" * 32)


def test_a_range_is_cut_out_of_the_pieces_that_hold_it():
    pieces = [
        Piece(blob="a", start=100, length=5),
        Piece(blob="b", start=0, length=5),
        Piece(blob="c", start=7, length=5),
    ]
    for start in range(15):
        for stop in range(start + 1, 16):
            kept = cut(pieces, start, stop)
            bytes_of = [(p.blob, p.start + i) for p in pieces for i in range(p.length)][start:stop]
            assert [(p.blob, p.start + i) for p in kept for i in range(p.length)] == bytes_of
            assert all(p.length for p in kept)


def test_sizes_of_what_is_stored():
    assert [segment_count(size) for size in (0, 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT)] == [1, 1, 1, 2, 2]
    assert [stored_size(size) for size in (0, SEGMENT, SEGMENT + 1)] == [24, 24 + SEGMENT, 41 + SEGMENT]
    assert (segment_offset(0), segment_offset(2)) == (8, 8 + 2 * (SEGMENT + 16))


def test_what_is_stored_about_an_object_is_read_as_it_was():
    full = About(
        headers={"ContentType": "x"}, metadata={"a": "b"}, tags={"t": "u"}, encryption="aws:kms", kms_key="key", bucket_key=True,
        storage_class="GLACIER_IR", checksum=Checksum(algorithm="SHA1", type=checksums.ChecksumType.COMPOSITE, value="v-2"),
        checksum_algorithm="CRC32", checksum_type="FULL_OBJECT", replaces="c", sha256="ab",
    )  # fmt: skip
    assert About.of(full.document()) == full
    assert full.document()["v"] == 1
    assert About.of(About().document()) == About()
    assert About.of({}) == About(encryption="")
    assert full.checksum is not None
    assert full.checksum.spec is checksums.ALGORITHMS["SHA1"]


def test_values_of_the_right_size():
    for algorithm in checksums.ALGORITHMS.values():
        for size in (algorithm.size - 1, algorithm.size, algorithm.size + 1):
            value = base64.b64encode(bytes(size)).decode()
            assert checksums.well_formed(algorithm, value) is (size == algorithm.size)
        assert not checksums.well_formed(algorithm, "!" * 8)
        assert algorithm.header == f"x-amz-checksum-{algorithm.name.lower()}"
    sizes = {"CRC32": 4, "CRC32C": 4, "CRC64NVME": 8, "SHA1": 20, "SHA256": 32, "SHA512": 64}
    assert {name: algorithm.size for name, algorithm in checksums.ALGORITHMS.items()} == sizes
    digests = checksums.Digests([checksums.ALGORITHMS["SHA1"], checksums.ALGORITHMS["SHA256"]])
    digests.update(b"ab")
    digests.update(b"c")
    assert digests.size == 3
    assert digests.md5.hex() == "900150983cd24fb0d6963f7d28e17f72"
    assert digests.value(checksums.ALGORITHMS["SHA1"]) == "qZk+NkcGgWq6PiVxeFDCbJzQ2J0="
    assert digests.value(checksums.ALGORITHMS["SHA256"]) == "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
