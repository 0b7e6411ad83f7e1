"""The reader of zip archives: every field of an entry, and every number that does not fit."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import pytest
from penstock_zips import zip_archive, zip_entry

from penstock.zips import BadZip, Entry, ZipReader, printable


def listed(data: bytes) -> list[tuple[Entry, bytes]]:
    listing, reader = ZipReader(io.BytesIO(data)), ZipReader(io.BytesIO(data))
    return [(entry, b"".join(reader.data(entry))) for entry in listing.entries()]


def wide(*values: int, kind: int = 1) -> bytes:
    return struct.pack(f"<HH{len(values)}Q", kind, 8 * len(values), *values)


@pytest.mark.parametrize("method", [0, 8])
def test_every_field_of_an_entry_is_read(method: int):
    content = b"abc" * 1_000_000
    made = zip_entry(b"d/f", content, method=method, mode=0o100755, comment=b"c", extra=wide(1, kind=9))
    (first, data), (second, other) = listed(zip_archive(made, zip_entry(b"g", b"x"), before=b"#!"))
    assert (data, other) == (content, b"x")
    assert first == Entry(
        name=b"d/f", folder=False, mode=0o100755, size=len(content), packed=made["packed"], crc=zlib.crc32(content),
        method=method, encrypted=False, offset=2,
    )  # fmt: skip
    assert second.offset == 2 + 30 + 3 + made["packed"]


def test_folders_and_modes_by_who_made_the_entry():
    for fields, name, read_as, folder, mode in (
        ({"mode": 0}, b"f", b"f", False, 0),
        ({"mode": 0}, b"d/", b"d/", True, 0),
        ({"mode": 0o040700}, b"d", b"d", True, 0o040700),
        ({"made_by": 19 << 8, "mode": 0o100600}, b"f", b"f", False, 0o100600),
        ({"mode": 0o100644, "dos": 0x10}, b"f", b"f", False, 0o100644),
        ({"made_by": 0, "mode": 0o040700}, b"f", b"f", False, 0),
        ({"made_by": 0, "mode": 0, "dos": 0x10}, b"d", b"d", True, 0),
        ({"made_by": 0, "mode": 0, "dos": 0x20}, b"a\\b", b"a/b", False, 0),
        ({"made_by": 0, "mode": 0}, b"a\\b/c", b"a\\b/c", False, 0),
        ({"mode": 0}, b"a\\b", b"a\\b", False, 0),
    ):
        ((entry, _),) = listed(zip_archive(zip_entry(name, **fields)))
        assert (entry.name, entry.folder, entry.mode) == (read_as, folder, mode)


def test_an_archive_lies_behind_other_bytes_and_ends_in_a_comment():
    entries = zip_entry(b"a", b"1"), zip_entry(b"b", b"2", method=8)
    kinds: tuple[dict[str, Any], ...] = (
        {}, {"before": b"#!self-extractor\n"}, {"comment": b"c" * 65535}, {"wide_end": True}, {"wide_end": True, "comment": b"c"},
    )  # fmt: skip
    for more in kinds:
        assert [data for _, data in listed(zip_archive(*entries, **more))] == [b"1", b"2"]
    with pytest.raises(BadZip, match="it has no directory of a zip archive at its end"):
        ZipReader(io.BytesIO(zip_archive(*entries, comment=b"c" * 65535) + b"more"))
    assert listed(zip_archive()) == []


def test_wide_fields_count_where_the_narrow_ones_are_full():
    full = 0xFFFFFFFF
    for fields, extra in (
        ({"size": full}, wide(3)), ({"packed": full}, wide(3)), ({"offset": full}, wide(34)),
        ({"size": full, "packed": full, "offset": full}, wide(3, 3, 34)), ({}, wide(9)), ({"size": full}, wide(7, kind=9) + wide(3)),
    ):  # fmt: skip
        entries = listed(zip_archive(zip_entry(b"a", b"123"), zip_entry(b"b", b"456", extra=extra, **fields)))
        assert [(data, entry.size, entry.packed) for entry, data in entries] == [(b"123", 3, 3), (b"456", 3, 3)]


def test_names_have_up_to_4096_bytes():
    assert listed(zip_archive(zip_entry(b"n" * 4096)))[0][0].name == b"n" * 4096
    with pytest.raises(BadZip, match="it holds a name of more than 4096 bytes"):
        listed(zip_archive(zip_entry(b"n" * 4097)))
    assert printable(b"n" * 201) == repr("n" * 200)
    assert printable(b"a\n\xff") == repr("a\n\\xff")


WHOLE = zip_archive(zip_entry(b"a", b"123"))
DIRECTORY = "its directory is damaged"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (zip_archive(zip_entry(b"a"), disk=1), "it is one part of an archive in several files"),
        (zip_archive(zip_entry(b"a"), first_disk=1), "it is one part of an archive in several files"),
        (zip_archive(zip_entry(b"a"), wide_end=True, disk=1), "it is one part of an archive in several files"),
        (zip_archive(zip_entry(b"a"), wide_end=True, first_disk=1), "it is one part of an archive in several files"),
        (zip_archive(zip_entry(b"a"), size=1 << 20), DIRECTORY),
        (zip_archive(zip_entry(b"a"), offset=1 << 20), DIRECTORY),
        (zip_archive(zip_entry(b"a"), count=2), DIRECTORY),
        (zip_archive(zip_entry(b"a", comment=b"c" * 50), count=2), DIRECTORY),
        (zip_archive(zip_entry(b"a"), count=1, size=46), DIRECTORY),
        (zip_archive(zip_entry(b"a"), wide_end=True, offset=1 << 40), DIRECTORY),
        (zip_archive(zip_entry(b"a"), wide_end=True).replace(b"PK\x06\x06", b"PK\x06\x05"), DIRECTORY),
        (WHOLE.replace(b"PK\x01\x02", b"PK\x01\x03"), DIRECTORY),
        (WHOLE[:-1], "it has no directory of a zip archive at its end: it was cut off, or is another kind of file"),
        (WHOLE.replace(b"PK\x03\x04", b"PK\x03\x05"), "the entry 'a' is not where the directory says"),
        (zip_archive(zip_entry(b"a", b"123", offset=4)), "the entry 'a' is not where the directory says"),
        (zip_archive(zip_entry(b"a", b"123", size=2)), "'a' unpacks to more than the directory says"),
        (zip_archive(zip_entry(b"a", b"123", size=4)), "'a' is damaged: its size or checksum is wrong"),
        (zip_archive(zip_entry(b"a", b"123", crc=1)), "'a' is damaged: its size or checksum is wrong"),
        (zip_archive(zip_entry(b"a", b"123", method=8, data=b"\xff\xff\xff", packed=3)), "'a' is damaged: it cannot be inflated"),
        (zip_archive(zip_entry(b"a", method=9)), "'a' is packed by method 9: only stored and deflated entries are read"),
        *((zip_archive(zip_entry(b"a", flags=flag)), "it is encrypted at 'a'") for flag in (1, 0x40, 0x2000)),
        (b"", "it is empty"),
        (b"x" * 257 + b"ustar", "it is a tar archive"),
        (b"x" * 256 + b"ustar", "it has no directory of a zip archive at its end: it was cut off, or is another kind of file"),
        (b"\x1f\x8b8", "it is a gzip file"),
        (b"BZh9", "it is a bzip2 file"),
        (b"\xfd7zXZ\0", "it is a xz file"),
        (b"\x28\xb5\x2f\xfd", "it is a zstd file"),
        (b"7z\xbc\xaf\x27\x1c", "it is a 7-Zip file"),
        (b"Rar!\x1a\x07", "it is a RAR file"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_why(data: bytes, reason: str):
    with pytest.raises(BadZip) as refused:
        listed(data)
    assert str(refused.value) == reason


def test_the_name_beside_one_in_a_code_page_is_of_that_name_only():
    def field(name: bytes, crc: int, version: int = 1) -> bytes:
        return struct.pack("<HHBL", 0x7075, 5 + len(name), version, crc) + name

    right = zlib.crc32(b"caf\x82")
    for extra, flags, name in (
        (field(b"n", right), 0, b"n"), (field(b"", right), 0, b"caf\x82"), (field(b"new", right + 1), 0, b"caf\x82"),
        (field(b"new", right, 2), 0, b"caf\x82"), (field(b"new", right), 0x800, b"caf\x82"), (wide(1, kind=9) + field(b"new", right), 0, b"new"),
    ):  # fmt: skip
        assert listed(zip_archive(zip_entry(b"caf\x82", extra=extra, flags=flags)))[0][0].name == name
