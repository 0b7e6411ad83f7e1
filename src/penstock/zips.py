"""Reads zip archives from outside: the directory is bounded before it is read, and streamed, and names are the bytes that were written.

A reader of our own, since `zipfile` loads the whole directory first and decodes names that are no UTF-8 as code page 437.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

MAX_NAME = 4096  # bytes
_CHUNK = 1 << 20
_TAIL = 65557  # bytes of the end record with the longest comment
_ENCRYPTED = 0x2041
_UTF8 = 0x800
_UNIX = (3, 19)
_UNICODE_PATH = 0x7075

_KINDS = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"Rar!\x1a\x07", "RAR"),
)


class Seekable(Protocol):
    """What an archive is read from: a file, or a place of one's own in a file that others read too."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes, and the position behind them; b"" at the end."""
        ...

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """The new position, as of `io.IOBase.seek`."""
        ...


class BadZip(Exception):
    """The archive cannot be read. Its text says why, without a full stop."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the directory."""

    name: bytes  # as it was written; `/` between folders
    folder: bool
    mode: int  # of Unix; 0 when the archive was made elsewhere
    size: int  # bytes unpacked
    packed: int  # bytes in the archive
    crc: int
    method: int
    encrypted: bool
    offset: int  # of its local header


class ZipReader:
    """A zip archive in a seekable file."""

    def __init__(self, file: Seekable) -> None:
        """Read the end record. Raises BadZip."""
        self._file = file
        self.count, self._start, self._end, self._shift = _end_record(file)

    def entries(self) -> Iterator[Entry]:
        """The entries in the order of the directory, `count` of them. Raises BadZip."""
        at = self._start
        for _ in range(self.count):
            self._file.seek(at)
            head = self._file.read(46)
            if len(head) < 46 or head[:4] != b"PK\x01\x02" or at + 46 > self._end:
                raise BadZip("its directory is damaged")
            name_size, extra_size, comment_size = struct.unpack("<HHH", head[28:34])
            rest = self._file.read(name_size + extra_size)
            at += 46 + name_size + extra_size + comment_size
            if name_size > MAX_NAME:
                raise BadZip(f"it holds a name of more than {MAX_NAME} bytes")
            if len(rest) < name_size + extra_size or at > self._end:
                raise BadZip("its directory is damaged")
            yield _entry(head, rest[:name_size], rest[name_size:], self._shift)

    def data(self, entry: Entry) -> Iterator[bytes]:
        """An entry's unpacked content, never more than its size; the checksum is compared at the end. Raises BadZip."""
        check_readable(entry)
        self._file.seek(entry.offset)
        head = self._file.read(30)
        if len(head) < 30 or head[:4] != b"PK\x03\x04":
            raise BadZip(f"the entry {printable(entry.name)} is not where the directory says")
        self._file.seek(sum(struct.unpack("<HH", head[26:30])), 1)
        left, crc = entry.size, 0
        for chunk in self._unpacked(entry):
            left -= len(chunk)
            if left < 0:
                raise BadZip(f"{printable(entry.name)} unpacks to more than the directory says")
            crc = zlib.crc32(chunk, crc)
            yield chunk
        if left or crc != entry.crc:
            raise BadZip(f"{printable(entry.name)} is damaged: its size or checksum is wrong")

    def _unpacked(self, entry: Entry) -> Iterator[bytes]:
        left = entry.packed
        inflate = zlib.decompressobj(-15) if entry.method else None
        while left and (packed := self._file.read(min(left, _CHUNK))):
            left -= len(packed)
            if inflate is None:
                yield packed
                continue
            try:
                while packed and not inflate.eof:
                    yield inflate.decompress(packed, _CHUNK)
                    packed = inflate.unconsumed_tail
            except zlib.error:
                raise BadZip(f"{printable(entry.name)} is damaged: it cannot be inflated") from None
        if inflate is not None:
            while chunk := inflate.decompress(b"", _CHUNK):
                yield chunk


def check_readable(entry: Entry) -> None:
    """Raises BadZip for an entry that is packed in a way that is not read."""
    if entry.encrypted:
        raise BadZip(f"it is encrypted at {printable(entry.name)}")
    if entry.method not in (0, 8):
        raise BadZip(
            f"{printable(entry.name)} is packed by method {entry.method}: only stored and deflated entries are read"
        )


def printable(name: bytes) -> str:
    """A name for messages: bounded, quoted, and readable whatever its bytes are."""
    return repr(name[:200].decode("utf-8", "backslashreplace"))


def _end_record(file: Seekable) -> tuple[int, int, int, int]:
    """Entries, where the directory begins and ends, and how many bytes lie before the archive."""
    total = file.seek(0, 2)
    tail_at = max(0, total - _TAIL)
    file.seek(tail_at)
    tail = file.read(_TAIL)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise BadZip(_kind(file, total))
    disk, first_disk, _, count, size, offset = struct.unpack("<HHHHLL", tail[at + 4 : at + 20])
    end = tail_at + at
    if 0xFFFF in (disk, count) or 0xFFFFFFFF in (size, offset):
        locator = tail[at - 20 : at] if at >= 20 else b""
        if locator[:4] == b"PK\x06\x07":
            where = struct.unpack("<Q", locator[8:16])[0]
            file.seek(min(where, total))
            record = file.read(56)
            if len(record) < 56 or record[:4] != b"PK\x06\x06":
                raise BadZip("its directory is damaged")
            disk, first_disk = struct.unpack("<LL", record[16:24])
            count, size, offset = struct.unpack("<QQQ", record[32:56])
            end = where
    if disk or first_disk:
        raise BadZip("it is one part of an archive in several files")
    if size > end or offset + size > end or count * 46 > size:
        raise BadZip("its directory is damaged")
    # Bytes before the archive, as of one that unpacks itself, shift every offset.
    shift = end - size - offset
    return count, offset + shift, end, shift


def _kind(file: Seekable, total: int) -> str:
    file.seek(0)
    head = file.read(512)
    if not total:
        return "it is empty"
    if head[257:262] == b"ustar":
        return "it is a tar archive"
    for magic, kind in _KINDS:
        if head.startswith(magic):
            return f"it is a {kind} file"
    return "it has no directory of a zip archive at its end: it was cut off, or is another kind of file"


def _entry(head: bytes, name: bytes, extra: bytes, shift: int) -> Entry:
    made_by, flags, method = struct.unpack("<H2xHH", head[4:12])
    crc, packed, size = struct.unpack("<LLL", head[16:28])
    attributes, offset = struct.unpack("<LL", head[38:46])
    wide = _extra(extra, 1)
    values: list[int] = []
    for value in (size, packed, offset):
        if value == 0xFFFFFFFF and len(wide) >= 8:
            values.append(struct.unpack("<Q", wide[:8])[0])
            wide = wide[8:]
        else:
            values.append(value)
    unix = made_by >> 8 in _UNIX
    mode = attributes >> 16 if unix else 0
    if not flags & _UTF8:
        name = _unicode_path(_extra(extra, _UNICODE_PATH), name)
    if not unix and b"/" not in name:
        name = name.replace(b"\\", b"/")
    return Entry(
        name=name,
        folder=name.endswith(b"/") or mode & 0o170000 == 0o040000 or (not unix and bool(attributes & 0x10)),
        mode=mode,
        size=values[0],
        packed=values[1],
        crc=crc,
        method=method,
        encrypted=bool(flags & _ENCRYPTED),
        offset=values[2] + shift,
    )


def _unicode_path(field: bytes, name: bytes) -> bytes:
    """The UTF-8 name that Info-ZIP's archivers write beside one in a code page, unless it is of another name."""
    if len(field) > 5 and field[0] == 1 and struct.unpack("<L", field[1:5])[0] == zlib.crc32(name):
        return field[5:]
    return name


def _extra(extra: bytes, kind: int) -> bytes:
    at = 0
    while at + 4 <= len(extra):
        found, size = struct.unpack("<HH", extra[at : at + 4])
        if found == kind:
            return extra[at + 4 : at + 4 + size]
        at += 4 + size
    return b""
