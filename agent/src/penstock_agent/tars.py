"""A reader of tar archives (ustar, GNU and pax), one member after the other, that trusts nothing in them."""

from __future__ import annotations

import zlib
from typing import BinaryIO, Dict, Iterator, Tuple

from penstock_agent.archive import BLOCK, Member, show
from penstock_agent.failures import BundleRefused

MAX_EXTENSION = 256 * 1024
MAX_EXTENSIONS = 100  # in front of one member
_KINDS = {b"0": "file", b"\0": "file", b"7": "file", b"1": "hardlink", b"2": "symlink", b"5": "directory"}
_USED = (b"path", b"linkpath", b"size", b"mtime")
_REFUSED = {b"3": "a character device", b"4": "a block device", b"6": "a named pipe", b"S": "a sparse file"}


class _Source:
    """Bytes of the archive, unzipped on the way when it is compressed."""

    def __init__(self, file: BinaryIO, compressed: bool) -> None:
        self._file = file
        self._gzip = zlib.decompressobj(31) if compressed else None
        self._buffer = b""

    def _more(self) -> bytes:
        if self._gzip is None:
            return self._file.read(BLOCK)
        try:
            while True:
                pending = self._gzip.unconsumed_tail
                if self._gzip.eof:
                    # Several gzip members one after the other are one stream; padding of zeros ends it.
                    rest = (self._gzip.unused_data or self._file.read(BLOCK)).lstrip(b"\0")
                    if not rest:
                        return b""
                    self._gzip = zlib.decompressobj(31)
                    pending = rest
                elif not pending:
                    pending = self._file.read(BLOCK)
                    if not pending:
                        raise BundleRefused("The bundle is cut short: its compressed data has no end.")
                data = self._gzip.decompress(pending, BLOCK)
                if data:
                    return data
        except zlib.error:
            raise BundleRefused("The bundle is not a tgz archive, or it is damaged.") from None

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, or fewer at the end."""
        while len(self._buffer) < size:
            more = self._more()
            if not more:
                break
            self._buffer += more
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def blocks(self, size: int) -> Iterator[bytes]:
        """`size` bytes in blocks. Raises BundleRefused at an early end."""
        while size:
            data = self._buffer or self._more()
            if not data:
                raise BundleRefused("The bundle is cut short: a file in it has no end.")
            self._buffer = data[size:]
            data = data[:size]
            size -= len(data)
            yield data


def _number(field: bytes) -> int:
    if field[:1] in (b"\x80", b"\xff"):
        value = int.from_bytes(field[1:], "big")
        return value if field[:1] == b"\x80" else value - (1 << 8 * (len(field) - 1))
    text = field.split(b"\0")[0].strip()
    try:
        return int(text, 8) if text else 0
    except ValueError:
        raise BundleRefused("The bundle is not a tar archive, or it is damaged.") from None


def _checked(header: bytes) -> None:
    # The checksum counts its own field as blanks; old writers summed signed bytes.
    expected = _number(header[148:156])
    rest = header[:148] + b" " * 8 + header[156:]
    if expected not in (sum(rest), sum(byte - 256 if byte > 127 else byte for byte in rest)):
        raise BundleRefused("The bundle is not a tar archive, or it is damaged.")


def _pax(data: bytes) -> Dict[bytes, bytes]:
    fields: Dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 12)
        digits = data[at:space] if space > 0 else b""
        size = int(digits) if digits.isdigit() else 0
        record = data[space + 1 : at + size]
        if size < 5 or at + size > len(data) or not record.endswith(b"\n") or b"=" not in record:
            raise BundleRefused("The bundle is damaged: an extended header cannot be read.")
        key, _, value = record[:-1].partition(b"=")
        if key in _USED or key.startswith(b"GNU.sparse"):
            fields[key] = value
        at += size
    return fields


def members(file: BinaryIO, *, compressed: bool) -> Iterator[Tuple[Member, Iterator[bytes]]]:
    """Every member with its data, which is skipped when it is not read. Raises BundleRefused."""
    source = _Source(file, compressed)
    everywhere: Dict[bytes, bytes] = {}
    extension: Dict[bytes, bytes] = {}
    first = True
    extensions = 0
    while True:
        header = source.read(512)
        if len(header) < 512:
            if first or header.strip(b"\0"):
                raise BundleRefused("The bundle is not a tar archive, or it is cut short.")
            return
        if not header.strip(b"\0"):
            if first:
                return  # an archive of nothing; the missing AppSpec file is what the next event reports
            return
        _checked(header)
        first = False
        flag = header[156:157]
        size = _number(header[124:136])
        if size < 0:
            raise BundleRefused("The bundle is damaged: a member has a negative size.")
        if flag in b"xgLK" and flag:
            extensions += 1
            if extensions > MAX_EXTENSIONS:
                raise BundleRefused("The bundle is damaged: %d extended headers stand before one member." % extensions)
            if size > MAX_EXTENSION:
                raise BundleRefused("The bundle has an extended header of %d bytes." % size)
            data = b"".join(source.blocks(size))
            _skip(source, size)
            if flag == b"x":
                extension.update(_pax(data))
            elif flag == b"g":
                everywhere.update(_pax(data))
            else:
                extension[b"path" if flag == b"L" else b"linkpath"] = data.split(b"\0")[0]
            continue
        fields = {**everywhere, **extension}
        extension = {}
        extensions = 0
        member, size = _member(header, flag, size, fields)
        data_blocks = source.blocks(size)
        yield member, data_blocks
        for _ in data_blocks:
            pass
        _skip(source, size)


def _skip(source: _Source, size: int) -> None:
    padding = -size % 512
    if len(source.read(padding)) != padding:
        raise BundleRefused("The bundle is cut short.")


def _member(header: bytes, flag: bytes, size: int, fields: Dict[bytes, bytes]) -> Tuple[Member, int]:
    name = header[0:100].split(b"\0")[0]
    prefix = header[345:500].split(b"\0")[0]
    if header[257:263] == b"ustar\0" and prefix:
        name = prefix + b"/" + name
    name = fields.get(b"path", name)
    if flag in _REFUSED or any(key.startswith(b"GNU.sparse") for key in fields):
        raise BundleRefused("The bundle holds %s: %s." % (_REFUSED.get(flag, "a sparse file"), show(name)))
    kind = _KINDS.get(flag)
    if kind is None:
        raise BundleRefused("The bundle holds %s of the unknown type %r." % (show(name), flag))
    if kind == "file" and name.endswith(b"/"):
        kind = "directory"
    if b"size" in fields:
        if not fields[b"size"].isdigit() or len(fields[b"size"]) > 20:
            raise BundleRefused("The bundle is damaged: an extended header cannot be read.")
        size = int(fields[b"size"])
    if kind != "file":
        if size and kind not in {"hardlink", "directory"}:
            raise BundleRefused("The bundle is damaged: %s is a link with contents." % show(name))
        size = 0
    try:
        mtime = float(fields.get(b"mtime", b"") or _number(header[136:148]))
    except ValueError:
        mtime = 0.0
    if not 0 <= mtime < 1 << 33:
        mtime = 0.0
    link = fields.get(b"linkpath", header[157:257].split(b"\0")[0])
    return Member(name, kind, _number(header[100:108]) & 0o7777, mtime, link), size
