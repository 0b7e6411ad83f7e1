"""Objects in parts at their exact bounds: numbers of parts, what an object is made of, its checksum, and pages of parts."""

from __future__ import annotations

import contextlib
import hashlib
from types import SimpleNamespace
from typing import Any

import pytest
from penstock_object_rows import BUCKET, refused, version

from penstock.objects import (
    assembly,
    contents,
)
from penstock.objects.assembly import Wanted
from penstock.objects.blobs import Blob, Piece
from penstock.objects.checksums import ChecksumType
from penstock.objects.errors import (
    BadDigest,
    EntityTooLarge,
    EntityTooSmall,
    InvalidArgument,
    InvalidPart,
    InvalidPartNumber,
    InvalidPartOrder,
    InvalidRequest,
)
from penstock.objects.lookup import Found
from penstock.objects.model import About, Checksum, Part, Upload
from penstock.objects.operations import multipart, reads

MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40


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
    answer = await reads._parts(call, {"MaxParts": 2, "PartNumberMarker": 1}, shown, b"")
    if not listed:
        assert (answer, asked) == ({"TotalPartsCount": 4}, [])
        return
    assert asked == [("c", 1, 3)]
    assert answer == {
        "TotalPartsCount": 4, "PartNumberMarker": 1, "NextPartNumberMarker": 3, "MaxParts": 2, "IsTruncated": True,
        "Parts": [{"PartNumber": number, "Size": 5 * MIB, "ChecksumCRC32": CRC} for number in (2, 3)],
    }  # fmt: skip
    for limit, last in ((3, 4), (4, 4), (0, 0)):
        rest = await reads._parts(call, {"MaxParts": limit}, shown, b"")
        assert (rest["IsTruncated"], rest["NextPartNumberMarker"], len(rest["Parts"])) == (False, last, min(limit, 3))
