"""Bundles that mean harm, and bundles as people make them. Nothing may ever come to lie outside the directory."""

import io
import os
import struct
import subprocess
import tarfile
import time
import zipfile
import zlib

import pytest
from agent_harness import tgz, zipped
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_agent.archive import copy_directory, unpack
from penstock_agent.config import Limits
from penstock_agent.failures import BundleRefused

LIMITS = Limits(unpacked_bytes=200 << 20, entries=500, ratio=100)


def member(name, kind=tarfile.REGTYPE, data=b"", link="", mode=0o644):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    info.size = len(data)
    info.mode = mode
    return info, data


def tar(*members, format=tarfile.GNU_FORMAT, mode="w"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=format, errors="surrogateescape") as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zip_of(*entries, **more):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **more) as archive:
        for name, data, mode in entries:
            info = zipfile.ZipInfo(name)
            info.filename = name
            info.create_system = 3
            info.external_attr = mode << 16
            archive.writestr(info, data)
    return out.getvalue()


def unpacked(tmp_path, data, kind="tar", limits=LIMITS):
    bundle = tmp_path / "bundle"
    bundle.write_bytes(data)
    return unpack(str(bundle), kind, str(tmp_path / "out"), limits)


def tree(root):
    found = {}
    for directory, directories, files in os.walk(os.fsencode(root)):
        for name in [*directories, *files]:
            path = os.path.join(directory, name)
            relative = os.path.relpath(path, os.fsencode(root))
            if os.path.islink(path):
                found[relative] = b"-> " + os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    found[relative] = file.read()
    return found


def pax(name, **headers):
    info = tarfile.TarInfo(name)
    info.pax_headers = headers
    return info


FILE = member("a", data=b"1")
LINK = tarfile.SYMTYPE
HOSTILE = {
    "parent": (tar(member("../a", data=b"1")), "a path that leaves it"),
    "parent-inside": (tar(member("x/../../a", data=b"1")), "a path that leaves it"),
    "absolute": (tar(member("/etc/a", data=b"1")), "an absolute path"),
    "through-link": (tar(member("l", LINK, link="d"), member("l/x", data=b"1")), "which is not a directory"),
    "below-file": (tar(FILE, member("a/x", data=b"1")), "which is not a directory"),
    "hard-link-out": (tar(member("h", tarfile.LNKTYPE, link="../../etc/passwd")), "a path that leaves it"),
    "hard-link-absolute": (tar(member("h", tarfile.LNKTYPE, link="/etc/passwd")), "an absolute path"),
    "hard-link-nowhere": (tar(member("h", tarfile.LNKTYPE, link="x")), "no file before it"),
    "device": (tar(member("dev", tarfile.CHRTYPE)), "a character device"),
    "block-device": (tar(member("dev", tarfile.BLKTYPE)), "a block device"),
    "pipe": (tar(member("pipe", tarfile.FIFOTYPE)), "a named pipe"),
    "through-link-out": (tar(member("l", LINK, link="/tmp"), member("l/x", data=b"1")), "which is not a directory"),
    "link-and-directory": (tar(member("l", LINK, link="/tmp"), member("l", tarfile.DIRTYPE)), "both as a directory"),
    "file-then-directory": (tar(FILE, member("a", tarfile.DIRTYPE)), "both as a directory"),
    "directory-then-file": (tar(member("a/x", data=b"1"), FILE), "both as a directory"),
    "link-without-target": (tar(member("l", LINK, link="")), "an unusable target"),
    "endless-headers": (tar(*(member("x", b"g") for _ in range(200))), "extended headers stand before one member"),
    "size-of-many-digits": (
        tar((pax("a", size="9" * 5000), b""), format=tarfile.PAX_FORMAT),
        "an extended header cannot be read",
    ),
    "bzip2": (b"BZh91AY&SY" + b"x" * 600, "packed with bzip2"),
    "xz": (b"\xfd7zXZ\0" + b"x" * 600, "packed with xz"),
    "long": (tar(member("n" * 300, data=b"1")), "too long"),
    "long-path": (tar(member("/".join(["n" * 200] * 20), data=b"1")), "too long"),
    "deep": (tar(member("/".join("d" * 150), data=b"1")), "nested deeper"),
    "many": (tar(*(member(f"f{number}") for number in range(501))), "more than 500 entries.*limits.entries"),
    "empty": (b"", "the object has no bytes. Upload"),
    "noise": (os.urandom(2048), "not a tar archive"),
    "cut": (tar(member("a", data=b"x" * 2000))[:1500], "cut short"),
    "pax-parent": (
        tar(member("p" * 120 + "/../../../x", data=b"1"), format=tarfile.PAX_FORMAT),
        "a path that leaves it",
    ),
    "no-name": (tar(member("", data=b"1")), "without a name"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_tar_archives_are_refused(tmp_path, name):
    data, message = HOSTILE[name]
    (tmp_path / "deep").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(BundleRefused, match=message):
        unpacked(tmp_path / "deep", data)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert {path.name for path in (tmp_path / "deep").iterdir()} <= {"bundle", "out"}


def lying_zip(size):
    """An entry that says it is `size` long and is not."""
    data = bytearray(zipped({"a": "x" * 100}))
    at = data.index(b"PK\x01\x02")
    struct.pack_into("<L", data, at + 24, size)
    return bytes(data)


def overlapping_zip():
    """Two directory entries for one body, as in a bomb that repeats itself."""
    one = zipped({"a": "x" * 1000})
    at = one.index(b"PK\x01\x02")
    end = one.index(b"PK\x05\x06")
    entry = one[at:end]
    other = entry.replace(b"a", b"b")
    return one[:at] + entry + other + struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, 2, 2, len(entry + other), at, 0)


FILE_MODE, LINK_MODE = 0o100644, 0o120777
HOSTILE_ZIPS = {
    "parent": (zip_of(("../a", "1", FILE_MODE)), "a path that leaves it"),
    "absolute": (zip_of(("/a", "1", FILE_MODE)), "an absolute path"),
    "through-link-out": (zip_of(("l", "/etc", LINK_MODE), ("l/x", "1", FILE_MODE)), "which is not a directory"),
    "socket": (zip_of(("p", "", 0o140644)), "no file, directory or link"),
    "device": (zip_of(("p", "", 0o020644)), "no file, directory or link"),
    "through-link": (zip_of(("l", "d", LINK_MODE), ("l/x", "1", FILE_MODE)), "which is not a directory"),
    "pipe": (zip_of(("p", "", 0o010644)), "no file, directory or link"),
    "overlap": (overlapping_zip(), "entries overlap"),
    "longer": (lying_zip(10), "longer than it says"),
    "shorter": (lying_zip(1000), "checksum does not hold"),
    "noise": (os.urandom(500), "not a zip archive"),
    "empty": (b"", "the object has no bytes. Upload"),
    "cut": (zipped({"a": "x" * 5000})[:-30], "not a zip archive"),
}


@pytest.mark.parametrize("name", HOSTILE_ZIPS)
def test_hostile_zip_archives_are_refused(tmp_path, name):
    data, message = HOSTILE_ZIPS[name]
    with pytest.raises(BundleRefused, match=message):
        unpacked(tmp_path, data, "zip")
    assert {path.name for path in tmp_path.iterdir()} <= {"bundle", "out"}


def test_a_zip_packed_with_bzip2_is_refused(tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a", "1" * 1000)
    with pytest.raises(BundleRefused, match="only stored and deflated entries are read"):
        unpacked(tmp_path, out.getvalue(), "zip")


def test_an_encrypted_zip_is_refused(tmp_path):
    data = bytearray(zipped({"a": "1"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    with pytest.raises(BundleRefused, match="is encrypted"):
        unpacked(tmp_path, bytes(data), "zip")


def test_bombs_are_refused(tmp_path):
    many = tar(member("zeros", data=b"\0" * (80 << 20)), mode="w:gz")
    with pytest.raises(BundleRefused, match="more than 100 times its size.*limits.ratio"):
        unpacked(tmp_path, many, "tgz")
    small = Limits(unpacked_bytes=1 << 20)
    (tmp_path / "zip").mkdir()
    with pytest.raises(BundleRefused, match="unpacks to more than 1048576 bytes.*limits.unpacked_bytes"):
        unpacked(tmp_path / "zip", zipped({"zeros": b"\0" * (2 << 20)}), "zip", small)


def test_a_header_that_claims_gigabytes_costs_no_memory(tmp_path):
    info = tarfile.TarInfo("././@LongLink")
    info.type = tarfile.GNUTYPE_LONGNAME
    info.size = 5 << 30
    with pytest.raises(BundleRefused, match="an extended header of"):
        unpacked(tmp_path, info.tobuf(tarfile.GNU_FORMAT) + b"x" * 512)


def test_modes_lose_set_uid_and_the_write_bits_of_others(tmp_path):
    data = tar(
        member("a", data=b"1", mode=0o6777),
        member("d", tarfile.DIRTYPE, mode=0o1777),
        member("d/b", data=b"1", mode=0o666),
        member("n", data=b"", mode=0),
    )
    root = unpacked(tmp_path, data)
    modes = {name: os.stat(os.path.join(root, name)).st_mode & 0o7777 for name in ("a", "d", "d/b", "n")}
    assert modes == {"a": 0o755, "d": 0o755, "d/b": 0o644, "n": 0o400}
    copied = copy_directory(str(root), str(tmp_path / "copy"), LIMITS)
    assert os.stat(copied).st_mode & 0o7777 == os.stat(root).st_mode & 0o7777 == 0o755
    os.chmod(os.path.join(root, "a"), 0o666)
    copied = copy_directory(str(root), str(tmp_path / "again"), LIMITS)
    assert os.stat(os.path.join(copied, "a")).st_mode & 0o7777 == 0o644


LINKS = (
    ("uploads", "/var/lib/app/uploads"),
    ("d/out", "../../../etc/passwd"),
    ("bytes", "caf\udce9/\udcff"),
    ("loop", "loop"),
    ("line", "a\tb"),
    ("long", "/" + "n" * 4094),
)


@pytest.mark.parametrize("kind", ["tar", "pax", "zip", "directory"])
def test_links_are_content_wherever_they_lead(tmp_path, kind):
    """They come out as they are, and a file after a link takes its place instead of being written through it."""
    outside = tmp_path / "outside"
    outside.write_text("mine")
    links = [*LINKS, ("over", str(outside))]
    if kind == "directory":
        source = tmp_path / "source"
        (source / "d").mkdir(parents=True)
        for name, target in links[:-1]:
            (source / name).symlink_to(target)
        (source / "over").write_text("1")
        root = copy_directory(str(source), str(tmp_path / "out"), LIMITS)
    elif kind == "zip":
        entries = [(name, os.fsencode(target), LINK_MODE) for name, target in links]
        with pytest.warns(UserWarning, match="Duplicate name"):
            data = zip_of(*entries, ("over", "1", FILE_MODE))
        root = unpacked(tmp_path, data, "zip")
    else:
        members = [member(name, LINK, link=target) for name, target in links]
        root = unpacked(
            tmp_path,
            tar(
                *members,
                member("over", data=b"1"),
                format=tarfile.PAX_FORMAT if kind == "pax" else tarfile.GNU_FORMAT,
            ),
        )
    assert tree(root) == {
        **{os.fsencode(name): b"-> " + os.fsencode(target) for name, target in LINKS},
        b"over": b"1",
    }
    assert outside.read_text() == "mine"


def test_of_two_entries_with_one_name_the_last_counts(tmp_path):
    entries = [("a", b"1"), ("./b", b"2"), ("a", b"3"), ("b", b"4")]
    both = {b"a": b"3", b"b": b"4"}
    (tmp_path / "tar").mkdir()
    assert tree(unpacked(tmp_path / "tar", tar(*(member(name, data=data) for name, data in entries)))) == both
    (tmp_path / "zip").mkdir()
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = zip_of(*((name, data, FILE_MODE) for name, data in entries))
    assert tree(unpacked(tmp_path / "zip", data, "zip")) == both
    again = tar(FILE, member("a", LINK, link="/etc"), member("h", data=b"2"), member("h", tarfile.LNKTYPE, link="h"))
    (tmp_path / "kinds").mkdir()
    assert tree(unpacked(tmp_path / "kinds", again)) == {b"a": b"-> /etc", b"h": b"2"}


def test_the_zip_directory_decides_which_entry_is_the_last(tmp_path):
    """Entries may lie in the file in another order than the directory names them."""
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = zip_of(("a", "1", FILE_MODE), ("a", "2", FILE_MODE))
    at, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    half = (end - at) // 2
    turned = data[:at] + data[at + half : end] + data[at : at + half] + data[end:]
    assert tree(unpacked(tmp_path, turned, "zip")) == {b"a": b"1"}


@pytest.mark.parametrize("declared", ["tar", "tgz", "zip"])
@pytest.mark.parametrize("real", ["tar", "tgz", "zip"])
def test_an_archive_is_what_its_bytes_say(tmp_path, declared, real):
    files = {"appspec.yml": "x", "d/a": "1"}
    data = {"tar": tgz(files, "w"), "tgz": tgz(files), "zip": zipped(files)}[real]
    assert tree(unpacked(tmp_path, data, declared)) == {b"appspec.yml": b"x", b"d/a": b"1"}


def test_names_in_a_zip_without_the_utf8_flag_keep_their_bytes(tmp_path):
    for number, name in enumerate(["smørrebrød 日本.txt".encode(), b"caf\xe9\xff.txt"]):
        data = zipped({"n" * len(name): "1"}).replace(b"n" * len(name), name)
        (tmp_path / str(number)).mkdir()
        assert tree(unpacked(tmp_path / str(number), data, "zip")) == {name: b"1"}


@pytest.mark.parametrize("kind", ["zip", "tar", "tgz"])
def test_names_keep_every_byte_that_a_name_can_have(tmp_path, kind):
    names = [
        "a\nb",
        "a\rb",
        "\x1b[31mred",
        "tab\t",
        "back\\slash",
        "quote'\"",
        "e\u0301",
        "\u00e9",
        "n" * 255,
        " x ",
        "-rf",
    ]
    pack = zipped if kind == "zip" else lambda files: tgz(files, "w:gz" if kind == "tgz" else "w")
    root = unpacked(tmp_path, pack(dict.fromkeys(names, "1")), kind)
    assert sorted(tree(root)) == sorted(name.encode() for name in names)


def test_the_utf8_name_beside_one_in_a_code_page_counts(tmp_path):
    # As Info-ZIP's zip writes on Windows: the name in code page 437, and its UTF-8 form in the extra field 0x7075.
    utf8 = "caf\u00e9".encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, of in (("cafX", b"caf\x82"), ("cbfX", b"another")):
            info = zipfile.ZipInfo(name)
            field = struct.pack("<BL", 1, zlib.crc32(of)) + utf8
            info.extra = struct.pack("<HH", 0x7075, len(field)) + field
            archive.writestr(info, "1")
    data = out.getvalue().replace(b"cafX", b"caf\x82").replace(b"cbfX", b"cbf\x82")
    assert tree(unpacked(tmp_path, data, "zip")) == {utf8: b"1", b"cbf\x82": b"1"}


def test_links_inside_and_hard_links_are_fine(tmp_path):
    root = unpacked(
        tmp_path,
        tar(
            FILE,
            member("d/l", LINK, link="../a"),
            member("h", tarfile.LNKTYPE, link="a"),
            member("dangling", LINK, link="d/none"),
            member("same", tarfile.LNKTYPE, link="dangling"),
        ),
    )
    links = {b"d/l": b"-> ../a", b"dangling": b"-> d/none", b"same": b"-> d/none"}
    assert tree(root) == {b"a": b"1", b"h": b"1", **links}
    assert os.stat(os.path.join(root, "h")).st_nlink == 1


def test_names_that_are_not_utf8_and_names_that_differ_in_case(tmp_path):
    root = unpacked(tmp_path, tar(member("caf\udce9", data=b"1"), member("A", data=b"2"), member("a", data=b"3")))
    assert tree(root) == {b"caf\xe9": b"1", b"A": b"2", b"a": b"3"}


def test_a_folder_around_the_revision_is_taken_off(tmp_path):
    root = unpacked(tmp_path, tgz({"shop-1.0/appspec.yml": "x", "shop-1.0/a": "1"}), "tgz")
    assert tree(root) == {b"appspec.yml": b"x", b"a": b"1"}
    assert root == str(tmp_path / "out" / "shop-1.0")


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_format_of_tar_with_long_names(tmp_path, format):
    name = "/".join([f"directory-{number}" for number in range(15)]) + "/" + "f" * 60
    wide = [] if format == tarfile.USTAR_FORMAT else [member("u" * 200, data=b"2"), member("l", LINK, link="u" * 200)]
    root = unpacked(tmp_path, tar(member(name, data=b"1"), *wide, format=format))
    assert tree(root)[name.encode()] == b"1"
    if wide:
        assert tree(root)[b"l"] == b"-> " + b"u" * 200


def test_archives_of_the_tar_command(tmp_path):
    source = tmp_path / "source"
    (source / "d").mkdir(parents=True)
    (source / "d/a").write_text("1")
    (source / "l").symlink_to("d/a")
    for options, kind in (("-czf", "tgz"), ("-cf", "tar")):
        subprocess.run(["tar", options, str(tmp_path / kind), "-C", str(source), "."], check=True)
        (tmp_path / (kind + "-out")).mkdir()
        root = unpacked(tmp_path / (kind + "-out"), (tmp_path / kind).read_bytes(), kind)
        assert tree(root) == {b"d/a": b"1", b"l": b"-> d/a"}


def test_several_gzip_members_are_one_archive(tmp_path):
    import gzip

    data = tar(member("a", data=b"1" * 5000), member("b", data=b"2"))
    root = unpacked(tmp_path, gzip.compress(data[:3000]) + gzip.compress(data[3000:]) + b"\0" * 100, "tgz")
    assert tree(root) == {b"a": b"1" * 5000, b"b": b"2"}


def test_a_tgz_that_is_cut_short(tmp_path):
    data = tgz({"a": os.urandom(50000)})
    with pytest.raises(BundleRefused, match="cut short|damaged"):
        unpacked(tmp_path, data[:30000], "tgz")


def test_a_zip_from_windows_and_one_in_zip64(tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = "d\\a.txt"
        info.create_system = 0
        archive.writestr(info, "1")
        with archive.open(zipfile.ZipInfo("big"), "w", force_zip64=True) as file:
            file.write(b"2")
    root = unpacked(tmp_path, out.getvalue(), "zip")
    assert tree(root) == {b"d/a.txt": b"1", b"big": b"2"}


def test_a_directory_is_copied_under_the_same_rules(tmp_path):
    source = tmp_path / "source"
    (source / "d").mkdir(parents=True)
    (source / "d/a").write_text("1")
    copy_directory(str(source), str(tmp_path / "one"), LIMITS)
    assert tree(tmp_path / "one") == {b"d/a": b"1"}
    with pytest.raises(BundleRefused, match="cannot be copied into itself"):
        copy_directory(str(source), str(source / "state"), LIMITS)
    os.mkfifo(source / "pipe")
    with pytest.raises(BundleRefused, match="no file, directory or link"):
        copy_directory(str(source), str(tmp_path / "two"), LIMITS)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_archives_never_raise_anything_else(tmp_path_factory, data):
    kind = data.draw(st.sampled_from(["tar", "tgz", "zip"]))
    complete = {"tar": TAR, "tgz": TGZ, "zip": ZIP}[kind]
    bundle = bytearray(complete)
    for _ in range(data.draw(st.integers(1, 4))):
        bundle[data.draw(st.integers(0, len(bundle) - 1))] = data.draw(st.integers(0, 255))
    bundle = bundle[: data.draw(st.integers(0, len(bundle)))] if data.draw(st.booleans()) else bundle
    path = tmp_path_factory.mktemp("damaged")
    try:
        unpacked(path, bytes(bundle), kind)
    except BundleRefused:
        pass
    assert {each.name for each in path.iterdir()} <= {"bundle", "out"}


TAR = tar(
    FILE,
    member("d/b", data=b"22", mode=0o755),
    member("l", LINK, link="a"),
    member("n" * 150, data=b"3"),
    format=tarfile.PAX_FORMAT,
)
TGZ = tgz({"a": "1", "d/b": "2" * 100})
ZIP = zip_of(("a", "1" * 50, FILE_MODE), ("d/b", "2", FILE_MODE), ("l", "a", LINK_MODE))


@pytest.mark.parametrize("pack", [tgz, zipped])
def test_what_tests_pack_twice_is_the_same_in_another_second(pack, monkeypatch):
    now = pack({"a": "1"})
    monkeypatch.setattr(time, "time", lambda: 1e9)
    assert pack({"a": "1"}) == now
