"""Bundles at the exact bounds of what is taken, and every field of an archive's headers read back."""

from __future__ import annotations

import errno
import gzip
import io
import os
import tarfile
import time
import zlib
from pathlib import Path

import pytest
from penstock_zips import zip_archive, zip_entry

from penstock_agent import archive, tars, zips
from penstock_agent.archive import Member, Unpacker, copy_directory, kind_of, show, unpack
from penstock_agent.config import Limits
from penstock_agent.failures import BundleRefused

LIMITS = Limits(unpacked_bytes=1 << 30, entries=300, ratio=100)


def unpacker(path, limits=LIMITS, packed=1 << 30):
    path.mkdir()
    return Unpacker(str(path), packed, limits)


def member(name, kind="file", mode=0o644, mtime=0.0, link=b""):
    return Member(name, kind, mode, mtime, link)


def unpacked(path, data, kind, limits=LIMITS):
    bundle = path.with_suffix(".bundle")
    bundle.write_bytes(data)
    return unpack(str(bundle), kind, str(path), limits)


def header(name=b"a", flag=b"0", size=b"", *, mode=b"644", mtime=b"0", link=b"", magic=b"ustar\x0000", prefix=b""):
    fields = [name.ljust(100, b"\0"), mode.ljust(8, b"\0"), b"\0" * 16, size.ljust(12, b"\0"), mtime.ljust(12, b"\0")]
    rest = flag + link.ljust(100, b"\0") + magic.ljust(88, b"\0") + prefix.ljust(155, b"\0") + b"\0" * 12
    blank = b"".join(fields) + b" " * 8 + rest
    assert len(blank) == 512
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:]


def block(data):
    return data + b"\0" * (-len(data) % 512)


def pax(**fields):
    records = b""
    for key, value in fields.items():
        text = b" %s=%s\n" % (key.encode(), value)
        size = len(text) + 1
        while len(str(size)) + len(text) != size:
            size += 1
        records += b"%d%s" % (size, text)
    return records


def extended(data, flag=b"x"):
    return header(b"x", flag, b"%o" % len(data)) + block(data)


def read(data, *, compressed=False):
    """What a tar archive's members are, with their data."""
    return [(found, b"".join(blocks)) for found, blocks in tars.members(io.BytesIO(data), compressed=compressed)]


# --- what is taken ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("longest", "message"),
    [
        (b"/".join([b"d"] * 100), "nested deeper than 100 directories"),
        (b"n" * 255, "a name that is too long"),
        (b"/".join([b"n" * 59] * 50) + b"n", "a name that is too long"),
    ],
)
def test_names_are_taken_up_to_their_bounds(tmp_path, longest, message):
    assert unpacker(tmp_path / "a")._checked_name(longest) == longest
    deeper = b"d/" + longest if b"deeper" in message.encode() else longest + b"n"
    with pytest.raises(BundleRefused, match=message):
        unpacker(tmp_path / "b")._checked_name(deeper)


def test_entries_are_counted_with_the_directories_that_they_need(tmp_path):
    taken = unpacker(tmp_path / "a", Limits(entries=4))
    for name in (b"d/e/f", b"d/g"):
        taken.add(member(name), iter(()))
    with pytest.raises(BundleRefused, match=r"has more than 4 entries.*limits\.entries"):
        taken.add(member(b"h"), iter(()))


def test_bytes_are_taken_up_to_each_of_their_bounds(tmp_path, monkeypatch):
    for name, limits, packed, most, message in (
        ("size", Limits(unpacked_bytes=100), 1 << 30, 100, r"more than 100 bytes.*limits\.unpacked_bytes"),
        ("ratio", Limits(unpacked_bytes=1 << 40, ratio=100), 1 << 20, 100 << 20, r"100 times its size.*limits\.ratio"),
        ("floor", Limits(unpacked_bytes=1 << 40, ratio=100), 1, 64 << 20, r"100 times its size.*limits\.ratio"),
    ):
        growing = unpacker(tmp_path / name, limits, packed)
        growing._grow(most - 1)
        growing._grow(1)
        with pytest.raises(BundleRefused, match=message):
            growing._grow(1)
    found = os.statvfs(tmp_path)
    fields = list(found)
    fields[1], fields[4] = 10, 7  # f_frsize, f_bavail
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result(fields))
    growing = unpacker(tmp_path / "disk")
    growing._grow(70)
    with pytest.raises(BundleRefused, match="The disk is .*full"):
        growing._grow(1)


def test_a_name_is_shown_in_one_line_of_bounded_length():
    assert show(b"a\nb\xff") == '"a\\nb\\xff"'
    assert show(b"a" * 120) == '"%s"' % ("a" * 120)
    assert show(b"a" * 60 + b"x" * 11 + b"b" * 50) == '"' + "a" * 60 + "…" + "b" * 50 + '"'


def test_times_and_modes_of_files_directories_and_hard_links_are_kept(tmp_path):
    taken = unpacker(tmp_path / "a")
    taken.add(member(b"d", "directory", 0o700, 1000.0), iter(()))
    taken.add(member(b"d/f", "file", 0o755, 2000.5), iter([b"1", b"2"]))
    taken.add(member(b"e/h", "hardlink", 0, 5.0, b"d/f"), iter(()))
    taken.add(member(b"d/f", "file", 0o640, 3000.0), iter([b"3"]))
    taken.add(member(b"e/s", "symlink", link=b"x"), iter(()))
    taken.add(member(b"e/s", "hardlink", link=b"d/f"), iter(()))
    taken.add(member(b".", "directory", 0o700, 7.0), iter(()))
    root = os.fsdecode(taken.finish())
    found = {name: os.lstat(os.path.join(root, name)) for name in ("d", "d/f", "e", "e/h", "e/s")}
    assert {name: (oct(each.st_mode & 0o7777), each.st_mtime) for name, each in found.items() if name != "e"} == {
        "d": ("0o700", 1000.0),
        "d/f": ("0o640", 3000.0),
        "e/h": ("0o755", 2000.5),
        "e/s": ("0o640", 3000.0),
    }
    assert oct(found["e"].st_mode & 0o7777) == "0o755"
    contents = [Path(root, name).read_bytes() for name in ("d/f", "e/h", "e/s")]
    assert contents == [b"3", b"12", b"3"]


@pytest.mark.parametrize(
    ("names", "inner"),
    [([b"s/appspec.yml"], "s"), ([b"s/appspec.json", b"s/b"], "s"), ([b"s/a"], ""), ([b"s/appspec.yml", b"t"], ""), ([b"appspec.yml"], "")],
)  # fmt: skip
def test_the_folder_around_a_revision_is_one_with_an_appspec_and_nothing_beside(tmp_path, names, inner):
    taken = unpacker(tmp_path / "a")
    for name in names:
        taken.add(member(name), iter(()))
    assert os.fsdecode(taken.finish()) == os.path.join(str(tmp_path / "a"), inner).rstrip("/")


def test_what_an_archive_is_by_its_first_bytes():
    for head, kind in (
        (b"\x1f\x8b", "tgz"), (b"PK\x03\x04", "zip"), (b"PK\x05\x06", "zip"), (b"a" * 257 + b"ustar", "tar"),
        (b"a" * 256 + b"ustar", "declared"), (b"", "declared"), (b"PK\x01\x02", "declared"),
    ):  # fmt: skip
        assert kind_of(head, "declared") == kind
    for head, name in (
        (b"BZh9", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    ):
        with pytest.raises(
            BundleRefused, match="packed with " + name + r"\. Make it a tar, tgz \(gzip\) or zip archive"
        ):
            kind_of(head, "tar")


def test_errors_of_the_disk_are_sentences(tmp_path, monkeypatch):
    (tmp_path / "taken").mkdir()
    with pytest.raises(
        BundleRefused, match=r"^The bundle cannot be unpacked: something with that name is there already"
    ):
        unpacked(tmp_path / "taken", b"x", "tar")
    with pytest.raises(BundleRefused, match=r"^The directory .*none cannot be copied: it does not exist"):
        copy_directory(str(tmp_path / "none"), str(tmp_path / "copy"), LIMITS)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a").write_text("1")

    def unpack_it(at):
        unpacked(at, header(), "tar")

    def copy_it(at):
        copy_directory(str(tmp_path / "source"), str(at), LIMITS)

    for number, code in enumerate((errno.ENOSPC, errno.EDQUOT)):

        def full(*_given, code=code):
            raise OSError(code, "full")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fchmod", full)
            for act in (unpack_it, copy_it):
                with pytest.raises(BundleRefused) as refused:
                    act(tmp_path / f"full-{number}-{act.__name__}")
                assert str(refused.value) == archive.FULL


def test_a_copied_directory_keeps_what_an_archive_keeps(tmp_path):
    source = tmp_path / "source"
    (source / "d" / "e").mkdir(parents=True)
    (source / "d" / "f").write_bytes(b"1" * (archive.BLOCK + 1))
    os.chmod(source / "d" / "f", 0o751)
    os.symlink("f", source / "d" / "l")
    for path, at in ((source / "d" / "f", 1000), (source / "d" / "e", 2000), (source / "d", 3000)):
        os.utime(path, (at, at))
    into = tmp_path / "source-2"  # begins like the source, and does not lie in it
    assert copy_directory(str(source), str(into), LIMITS) == str(into)
    assert (into / "d" / "f").read_bytes() == b"1" * (archive.BLOCK + 1)
    assert os.readlink(into / "d" / "l") == "f"
    found = [os.stat(into / name) for name in ("d/f", "d/e", "d")]
    assert [each.st_mtime for each in found] == [1000, 2000, 3000]
    assert found[0].st_mode & 0o7777 == 0o751
    with pytest.raises(BundleRefused, match="cannot be copied into itself"):
        copy_directory(str(source), str(source), LIMITS)
    with pytest.raises(BundleRefused, match="has more than 3 entries"):
        copy_directory(str(source), str(tmp_path / "more"), Limits(entries=3))


# --- tar --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "number"),
    [
        (b"", 0), (b"\0" * 8, 0), (b"17", 15), (b" 17 \0", 15), (b"17\0junk", 15), (b"7777777", 0o7777777),
        (b"\x80\x00\x00\x01", 1), (b"\x80\x01\x00\x00", 1 << 16), (b"\xff\xff\xff\xff", -1), (b"\xff\xff\xff\xfe", -2),
    ],
)  # fmt: skip
def test_numbers_of_a_header(field, number):
    assert tars._number(field) == number


@pytest.mark.parametrize("field", [b"8", b"1x", b"0x1", b"\x81\0\0\1"])
def test_what_is_no_number_of_a_header(field):
    with pytest.raises(BundleRefused, match="not a tar archive, or it is damaged"):
        tars._number(field)


def test_a_header_holds_by_its_sum_of_signed_bytes_too():
    right = header(b"caf\xe9\xff")
    signed = sum(byte - 256 if byte > 127 else byte for byte in right[:148] + b" " * 8 + right[156:])
    for total, taken in ((signed, True), (signed + 1, False), (signed - 1, False)):
        data = right[:148] + b"%06o\0 " % total + right[156:]
        if taken:
            assert read(data)[0][0].name == b"caf\xe9\xff"
        else:
            with pytest.raises(BundleRefused, match="or it is damaged"):
                read(data)


def test_every_field_of_a_member_is_read():
    ((found, data),) = read(header(b"f", b"7", b"3", mode=b"6755", mtime=b"1750", prefix=b"p/q") + block(b"abc"))
    assert (found, data) == (Member(b"p/q/f", "file", 0o6755, 1000.0), b"abc")
    assert read(header(b"f", magic=b"ustar  \0", prefix=b"p"))[0][0].name == b"f"  # GNU keeps other things there
    assert read(header(b"d/", b"\0"))[0][0].kind == "directory"
    assert read(header(b"l/", b"2", link=b"t"))[0][0] == Member(b"l/", "symlink", 0o644, 0.0, b"t")
    assert read(header(b"d", b"5", b"3") + header(b"e"))[1][0].name == b"e"  # a directory's size says nothing
    for flag, message in ((b"2", "is a link with contents"), (b"Z", "of the unknown type"), (b"S", "a sparse file")):
        with pytest.raises(BundleRefused, match=message):
            read(header(b"l", flag, b"3") + block(b"abc"))
    with pytest.raises(BundleRefused, match="negative size"):
        read(header(size=b"\xff" * 12))


@pytest.mark.parametrize(
    ("given", "mtime"),
    [(b"1.5", 1.5), (b"0", 0.0), (b"8589934591", 8589934591.0), (b"8589934592", 0.0), (b"-1", 0.0), (b"nan", 0.0), (b"soon", 0.0), (b"", 8.0)],
)  # fmt: skip
def test_times_out_of_reason_are_none(given, mtime):
    assert read(extended(pax(mtime=given)) + header(mtime=b"10"))[0][0].mtime == mtime


def test_extended_headers_hold_for_the_next_member_and_global_ones_for_all():
    data = extended(pax(mtime=b"5", other=b"x"), b"g")
    data += extended(pax(path=b"long", size=b"2")) + header(b"short", size=b"1") + block(b"12")
    data += extended(b"name\0junk", b"L") + extended(b"to\0junk", b"K") + header(b"l", b"2", link=b"x")
    data += header(b"last", mtime=b"7")
    assert read(data) == [
        (Member(b"long", "file", 0o644, 5.0), b"12"),
        (Member(b"name", "symlink", 0o644, 5.0, b"to"), b""),
        (Member(b"last", "file", 0o644, 5.0), b""),
    ]


def test_extended_headers_are_bounded_in_number_and_size():
    one = extended(pax(mtime=b"1"))
    assert len(read(one * 100 + header() + one * 100 + header(b"b"))) == 2
    with pytest.raises(BundleRefused, match="101 extended headers stand before one member"):
        read(one * 101 + header())
    full = b"n" * (256 << 10)
    assert read(extended(full, b"L") + header())[0][0].name == full
    with pytest.raises(BundleRefused, match="an extended header of 262145 bytes"):
        read(extended(full + b"n", b"L") + header())


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"4 =\n",
        b"5 a=x",
        b"6 a=1\n7",
        b"7 a=1\n",
        b"6 abc\n",
        b" a=1\n",
        b"-6 a=1\n",
        b"0000000000006 a=1\n",
        b"5  =\n6",
    ],
)
def test_extended_headers_that_cannot_be_read(data):
    with pytest.raises(BundleRefused, match="an extended header cannot be read"):
        tars._pax(data)


def test_records_of_an_extended_header():
    assert tars._pax(b"") == {}
    assert tars._pax(b"9 path=a\n12 size=123\n9 path=b\n8 foo=x\n") == {b"path": b"b", b"size": b"123"}
    assert tars._pax(b"11 path=a=\n") == {b"path": b"a="}
    sparse = pax(**{"GNU.sparse.major": b"1"})
    with pytest.raises(BundleRefused, match="a sparse file"):
        read(extended(sparse) + header())
    for size in (b"1" * 21, b"x", b""):
        with pytest.raises(BundleRefused, match="an extended header cannot be read"):
            read(extended(pax(size=size)) + header())


@pytest.mark.parametrize("compressed", [False, True])
def test_an_archive_ends_with_blank_blocks_or_with_its_last_member(compressed):
    whole = header(size=b"%o" % 513) + block(b"x" * 513)
    pack = gzip.compress if compressed else bytes
    for end in (b"", b"\0" * 512, b"\0" * 1024 + b"junk", b"\0" * 100):
        assert [len(data) for _, data in read(pack(whole + end), compressed=compressed)] == [513]
    assert read(pack(b"\0" * 1024), compressed=compressed) == []
    for cut, message in (
        (whole[:-1], "cut short"),
        (whole[:-511], "cut short"),
        (whole[:600], "no end"),
        (whole + b"x", "cut short"),
    ):
        with pytest.raises(BundleRefused, match=message):
            read(pack(cut), compressed=compressed)


def test_data_that_nobody_reads_is_skipped():
    data = header(b"a", size=b"1") + block(b"1") + header(b"b", size=b"2000") + block(b"2" * 1024) + header(b"c")
    assert [found.name for found, _ in tars.members(io.BytesIO(data), compressed=False)] == [b"a", b"b", b"c"]


def test_gzip_members_of_any_size_are_one_archive_and_junk_behind_is_damage():
    big = os.urandom(archive.BLOCK + 5)
    whole = header(size=b"%o" % len(big)) + block(big)
    packed = b"".join(gzip.compress(whole[at : at + 100_000]) for at in range(0, len(whole), 100_000))
    assert read(packed + b"\0" * 3, compressed=True)[0][1] == big
    with pytest.raises(BundleRefused, match="not a tgz archive, or it is damaged"):
        read(packed + b"junk", compressed=True)
    with pytest.raises(BundleRefused, match="its compressed data has no end"):
        read(gzip.compress(whole)[:-9], compressed=True)


def test_archives_of_tarfile_read_the_same():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as made:
        info = tarfile.TarInfo("n" * 150)
        info.size, info.mtime = 3, 99
        made.addfile(info, io.BytesIO(b"abc"))
    assert read(out.getvalue()) == [(Member(b"n" * 150, "file", 0o644, 99.0), b"abc")]


# --- zip --------------------------------------------------------------------------------------------------------------


def listed(data, limits=LIMITS):
    return [(found, b"".join(blocks)) for found, blocks in zips.members(io.BytesIO(data), limits)]


def wide(*values, kind=1):
    field = b"".join(value.to_bytes(8, "little") for value in values)
    return kind.to_bytes(2, "little") + len(field).to_bytes(2, "little") + field


@pytest.mark.parametrize("method", [0, 8])
def test_every_field_of_a_zip_entry_is_read(method):
    date, clock = (2026 - 1980) << 9 | 11 << 5 | 30, 13 << 11 | 45 << 5 | 29
    at = time.mktime((2026, 11, 30, 13, 45, 58, 0, 0, -1))
    entry = zip_entry(
        b"d/f", b"abc" * 1000, method=method, mode=0o104755, date=date, clock=clock, comment=b"c", extra=wide(1, kind=9)
    )
    assert listed(zip_archive(entry, zip_entry(b"g", b"x"))) == [
        (Member(b"d/f", "file", 0o4755, at), b"abc" * 1000),
        (Member(b"g", "file", 0o644, time.mktime((1980, 1, 1, 0, 0, 0, 0, 0, -1))), b"x"),
    ]


def test_kinds_and_modes_by_who_made_the_entry():
    for fields, name, kind, mode in (
        ({"mode": 0}, b"f", "file", 0o644),
        ({"mode": 0}, b"d/", "directory", 0o755),
        ({"mode": 0o040700}, b"d", "directory", 0o700),
        ({"made_by": 19 << 8, "mode": 0o100600}, b"f", "file", 0o600),
        ({"made_by": 0, "mode": 0o100600}, b"f", "file", 0o644),
        ({"made_by": 0, "mode": 0, "dos": 0x10}, b"d", "directory", 0o755),
        ({"made_by": 0, "mode": 0, "dos": 0x20}, b"f", "file", 0o644),
        ({"mode": 0o100644, "dos": 0x10}, b"f", "file", 0o644),
    ):
        ((found, _),) = listed(zip_archive(zip_entry(name, **fields)))
        assert (found.name, found.kind, found.mode) == (name, kind, mode)
    for made_by, name, read_as in ((0, b"a\\b", b"a/b"), (0, b"a\\b/c", b"a\\b/c"), (3 << 8, b"a\\b", b"a\\b")):
        assert listed(zip_archive(zip_entry(name, made_by=made_by)))[0][0].name == read_as


def test_links_of_a_zip_lead_as_far_as_the_kernel_takes():
    link = {"mode": 0o120777}
    assert listed(zip_archive(zip_entry(b"l", b"t" * 4095, **link)))[0][0].link == b"t" * 4095
    with pytest.raises(BundleRefused, match="an unusable target"):
        listed(zip_archive(zip_entry(b"l", b"t" * 4096, **link)))


def test_a_zip_lies_behind_other_bytes_and_ends_in_a_comment():
    entries = zip_entry(b"a", b"1"), zip_entry(b"b", b"2", method=8)
    for more in (
        {},
        {"before": b"#!self-extractor\n"},
        {"comment": b"c" * 65535},
        {"wide_end": True},
        {"wide_end": True, "comment": b"c"},
    ):
        assert [data for _, data in listed(zip_archive(*entries, **more))] == [b"1", b"2"]
    with pytest.raises(BundleRefused, match="not a zip archive"):
        listed(zip_archive(*entries, comment=b"c" * 65535) + b"more")
    assert [data for _, data in listed(zip_archive(*entries, comment=b"c" * 9) + b"more")] == [b"1", b"2"]


def test_wide_fields_count_where_the_narrow_ones_are_full():
    full = 0xFFFFFFFF
    first = zip_entry(b"a", b"123")
    for fields, extra in (
        ({"size": full}, wide(3)), ({"packed": full}, wide(3)), ({"offset": full}, wide(34)),
        ({"size": full, "packed": full, "offset": full}, wide(3, 3, 34)), ({}, wide(9)), ({"size": full}, wide(7, kind=9) + wide(3)),
    ):  # fmt: skip
        entries = listed(zip_archive(first, zip_entry(b"b", b"456", extra=extra, **fields)))
        assert [data for _, data in entries] == [b"123", b"456"]


def test_a_zip_whose_numbers_do_not_fit_is_refused():
    damaged = "not a zip archive, or it is damaged"
    whole = zip_archive(zip_entry(b"a", b"123"))
    for data, message in (
        (zip_archive(zip_entry(b"a"), disk=1), "one part of a zip archive in several files"),
        (zip_archive(zip_entry(b"a"), first_disk=1), "one part of a zip archive in several files"),
        (zip_archive(zip_entry(b"a"), wide_end=True, disk=1), "one part of a zip archive in several files"),
        (zip_archive(zip_entry(b"a"), size=1 << 20), damaged),
        (zip_archive(zip_entry(b"a"), offset=1 << 20), damaged),
        (zip_archive(zip_entry(b"a"), wide_end=True, offset=1 << 20), damaged),
        (zip_archive(zip_entry(b"a"), count=2), damaged),
        (zip_archive(zip_entry(b"a"), wide_end=True).replace(b"PK\x06\x06", b"PK\x06\x05"), damaged),
        (whole[:-1], damaged),
        (whole.replace(b"PK\x03\x04", b"PK\x03\x05"), damaged),
        (zip_archive(zip_entry(b"a", b"123", offset=4)), "damaged|overlap"),
        (zip_archive(zip_entry(b"a", b"123", packed=4, size=4)), "overlap"),
        (zip_archive(zip_entry(b"a", b"123", size=2)), "longer than it says"),
        (zip_archive(zip_entry(b"a", b"123", size=4)), "checksum does not hold"),
        (zip_archive(zip_entry(b"a", b"123", crc=1)), "checksum does not hold"),
        (zip_archive(zip_entry(b"a", b"123", method=8, data=b"\xff\xff\xff", packed=3)), "is damaged at"),
        (zip_archive(zip_entry(b"a", b"123", method=9)), "with method 9; only stored and deflated"),
        *((zip_archive(zip_entry(b"a", flags=flag)), "is encrypted at") for flag in (1, 0x40, 0x2000)),
    ):  # fmt: skip
        with pytest.raises(BundleRefused, match=message):
            listed(data)
    assert len(listed(zip_archive(*(zip_entry(b"%d" % number) for number in range(4))), Limits(entries=4))) == 4
    with pytest.raises(BundleRefused, match=r"more than 4 entries.*limits\.entries"):
        listed(zip_archive(*(zip_entry(b"%d" % number) for number in range(5))), Limits(entries=4))


def test_the_name_beside_one_in_a_code_page_is_of_that_name_only():
    def field(name, crc, version=1):
        data = bytes([version]) + crc.to_bytes(4, "little") + name
        return b"\x75\x70" + len(data).to_bytes(2, "little") + data

    right = zlib.crc32(b"caf\x82")
    for extra, flags, name in (
        (field(b"new", right), 0, b"new"), (field(b"n", right), 0, b"n"), (field(b"", right), 0, b"caf\x82"),
        (field(b"new", right + 1), 0, b"caf\x82"), (field(b"new", right, 2), 0, b"caf\x82"), (field(b"new", right), 0x800, b"caf\x82"),
    ):  # fmt: skip
        assert listed(zip_archive(zip_entry(b"caf\x82", extra=extra, flags=flags)))[0][0].name == name


@pytest.mark.parametrize(
    ("field", "found"),
    [
        (b"", b""), (b"\1\0\0", b""), (b"\1\0\0\0", b""), (b"\1\0\2\0ab", b"ab"), (b"\2\0\1\0x\1\0\1\0y", b"y"),
        (b"\2\0\1\0x", b""), (b"\1\0\5\0ab", b"ab"), (b"\2\0\0\0\1\0\0\0", b""),
    ],
)  # fmt: skip
def test_what_stands_beside_an_entry_of_a_zip(field, found):
    assert zips._extra(field, 1) == found
