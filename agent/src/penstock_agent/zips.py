"""A reader of zip archives that trusts nothing in them: the directory is bounded, entries may not overlap, sums must hold."""

from __future__ import annotations

import stat
import struct
import time
import zlib
from typing import BinaryIO, Iterator, List, NamedTuple, Tuple

from penstock_agent.archive import BLOCK, MAX_LINK, Member, beyond, show
from penstock_agent.config import Limits
from penstock_agent.failures import BundleRefused

MAX_DIRECTORY = 256 << 20
_DAMAGED = "The bundle is not a zip archive, or it is damaged. Pack and upload it again, and deploy it."
_UTF8 = 0x800
_UNICODE_PATH = 0x7075


class _Entry(NamedTuple):
    name: bytes
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    mode: int
    mtime: float


def members(file: BinaryIO, limits: Limits) -> Iterator[Tuple[Member, Iterator[bytes]]]:
    """Every member with its data. Raises BundleRefused."""
    entries, start = _directory(file, limits)
    places = {}
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.offset):
        data_at = _data_start(file, entry)
        if entry.offset < end or data_at + entry.packed > start:
            raise BundleRefused("The bundle's entries overlap at %s." % show(entry.name))
        end = data_at + entry.packed
        places[entry.offset] = data_at
    # In the directory's order: it decides which of two entries with one name is the last.
    for entry in entries:
        yield _member(file, entry, places[entry.offset])


def _member(file: BinaryIO, entry: _Entry, at: int) -> Tuple[Member, Iterator[bytes]]:
    kind = stat.S_IFMT(entry.mode)
    if entry.name.endswith(b"/") or stat.S_ISDIR(entry.mode):
        return Member(entry.name, "directory", entry.mode & 0o7777 or 0o755, entry.mtime), iter(())
    if kind == stat.S_IFLNK:
        if entry.size > MAX_LINK:
            raise BundleRefused("The bundle holds a symbolic link %s with an unusable target." % show(entry.name))
        target = b"".join(_data(file, entry, at))
        return Member(entry.name, "symlink", 0o777, entry.mtime, target), iter(())
    if kind not in (0, stat.S_IFREG):
        raise BundleRefused("The bundle holds %s, which is no file, directory or link." % show(entry.name))
    return Member(entry.name, "file", entry.mode & 0o7777 or 0o644, entry.mtime), _data(file, entry, at)


def _directory(file: BinaryIO, limits: Limits) -> Tuple[List[_Entry], int]:
    file.seek(0, 2)
    total = file.tell()
    tail_at = max(0, total - 65557)
    file.seek(tail_at)
    tail = file.read(65557)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise BundleRefused(_DAMAGED)
    disk, first_disk, _, count, size, offset = struct.unpack("<HHHHLL", tail[at + 4 : at + 20])
    end = tail_at + at
    if 0xFFFF in (disk, count) or 0xFFFFFFFF in (size, offset):
        locator = tail[at - 20 : at] if at >= 20 else b""
        if locator[:4] == b"PK\x06\x07":
            where = struct.unpack("<Q", locator[8:16])[0]
            file.seek(min(where, total))
            record = file.read(56)
            if len(record) < 56 or record[:4] != b"PK\x06\x06":
                raise BundleRefused(_DAMAGED)
            disk, first_disk = struct.unpack("<LL", record[16:24])
            count, size, offset = struct.unpack("<QQQ", record[32:56])
            end = where
    if disk or first_disk:
        raise BundleRefused("The bundle is one part of a zip archive in several files.")
    if count > limits.entries:
        raise beyond("has more than %d entries" % limits.entries, "entries")
    if size > min(MAX_DIRECTORY, end) or offset + size > end:
        raise BundleRefused(_DAMAGED)
    # Bytes before the archive (a self-extractor) shift every offset.
    shift = end - size - offset
    file.seek(offset + shift)
    data = file.read(size)
    entries = []
    at = 0
    for _ in range(count):
        entry, at = _entry(data, at, shift)
        entries.append(entry)
    return entries, offset + shift


def _entry(data: bytes, at: int, shift: int) -> Tuple[_Entry, int]:
    if data[at : at + 4] != b"PK\x01\x02" or len(data) < at + 46:
        raise BundleRefused(_DAMAGED)
    made_by, flags, method, clock, date = struct.unpack("<H2xHHHH", data[at + 4 : at + 16])
    crc, packed, size, name_size, extra_size, comment_size = struct.unpack("<LLLHHH", data[at + 16 : at + 34])
    attributes, offset = struct.unpack("<LL", data[at + 38 : at + 46])
    after = at + 46 + name_size + extra_size + comment_size
    if len(data) < after:
        raise BundleRefused(_DAMAGED)
    name = data[at + 46 : at + 46 + name_size]
    extra = data[at + 46 + name_size : at + 46 + name_size + extra_size]
    if flags & 0x2041:
        raise BundleRefused("The bundle is encrypted at %s." % show(name))
    if method not in (0, 8):
        raise BundleRefused(
            "The bundle packs %s with method %d; only stored and deflated entries are read." % (show(name), method)
        )
    wide = _extra(extra, 1)
    values = []
    for value in (size, packed, offset):
        if value == 0xFFFFFFFF and len(wide) >= 8:
            values.append(struct.unpack("<Q", wide[:8])[0])
            wide = wide[8:]
        else:
            values.append(value)
    unix = made_by >> 8 in (3, 19)
    if not flags & _UTF8:
        name = _unicode_path(_extra(extra, _UNICODE_PATH), name)
    if not unix and b"/" not in name:
        name = name.replace(b"\\", b"/")
    entry = _Entry(
        name=name,
        method=method,
        crc=crc,
        packed=values[1],
        size=values[0],
        offset=values[2] + shift,
        mode=attributes >> 16 if unix else stat.S_IFDIR if attributes & 0x10 else 0,
        mtime=_time(date, clock),
    )
    return entry, after


def _extra(extra: bytes, kind: int) -> bytes:
    at = 0
    while at + 4 <= len(extra):
        found, size = struct.unpack("<HH", extra[at : at + 4])
        if found == kind:
            return extra[at + 4 : at + 4 + size]
        at += 4 + size
    return b""


def _unicode_path(field: bytes, name: bytes) -> bytes:
    """The UTF-8 name that Info-ZIP's archivers write beside one in a code page, unless it is of another name."""
    if len(field) > 5 and field[0] == 1 and struct.unpack("<L", field[1:5])[0] == zlib.crc32(name):
        return field[5:]
    return name


def _time(date: int, clock: int) -> float:
    fields = ((date >> 9) + 1980, date >> 5 & 15, date & 31, clock >> 11, clock >> 5 & 63, (clock & 31) * 2, 0, 0, -1)
    try:
        return max(0.0, time.mktime(fields))
    except (OverflowError, ValueError):
        return 0.0


def _data_start(file: BinaryIO, entry: _Entry) -> int:
    file.seek(entry.offset)
    header = file.read(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise BundleRefused(_DAMAGED)
    name_size, extra_size = struct.unpack("<HH", header[26:30])
    return entry.offset + 30 + name_size + extra_size


def _data(file: BinaryIO, entry: _Entry, at: int) -> Iterator[bytes]:
    unzip = zlib.decompressobj(-15) if entry.method == 8 else None
    left = entry.packed
    crc = 0
    size = 0
    pending = b""
    file.seek(at)
    while True:
        if not pending and left:
            pending = file.read(min(BLOCK, left))
            if not pending:
                raise BundleRefused(_DAMAGED)
            left -= len(pending)
        if unzip is None:
            block, pending, done = pending, b"", not left
        else:
            try:
                block = unzip.decompress(pending, BLOCK)
            except zlib.error:
                raise BundleRefused("The bundle is damaged at %s." % show(entry.name)) from None
            pending = unzip.unconsumed_tail
            done = unzip.eof or (not pending and not left and not block)
        size += len(block)
        if size > entry.size:
            raise BundleRefused("The bundle is damaged: %s is longer than it says." % show(entry.name))
        crc = zlib.crc32(block, crc)
        if block:
            yield block
        if done:
            break
    if size != entry.size or crc != entry.crc:
        raise BundleRefused("The bundle is damaged at %s: its checksum does not hold." % show(entry.name))
