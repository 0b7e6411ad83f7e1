"""A block of lines as the database keeps it: how many there are, their hashes as bytes, and the rest, compressed.

The records of a caller's calls of an operation begin with the same six hundred bytes (`penstock.wire.recording`), which stand once in a block:
so it takes a third of the time to pack, and a sixth to unpack.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from penstock.trail import NO_HASH, Line, Unreadable, take_apart

TIME = b',"eventTime":'
"""Where the records of a caller's calls of an operation begin to differ."""
_HASH = 32  # bytes
_COUNT = struct.Struct(">I")
# Of rows without a number: of a record that shares no beginning, and of a line that cannot be read.
_WHOLE, _DAMAGED = b"-", b"!"


Record = tuple[bytes, bytes]
"""A record in two parts: what others begin with too, or nothing, and the rest."""


class Packed(NamedTuple):
    """Lines, packed."""

    content: bytes
    hash: str  # of the last one
    times: list[int]  # ms
    records: list[Record]


def pack(lines: Sequence[bytes]) -> Packed:
    """Pack lines of a trail, without their ends. Those that somebody has damaged stay as they are: `penstock audit verify` names them."""
    numbers: dict[bytes, tuple[int, bytes]] = {}
    hashes, times, records, rows = [], [], [], []
    for line in lines:
        hash, at, record = _tolerant(line)
        head, begins, rest = record.partition(TIME)
        if hash == NO_HASH:
            rows.append(_DAMAGED + line)
        elif begins:
            known = numbers.get(head)
            if known is None:
                known = numbers[head] = len(numbers), head
            rows.append(b"%d %d %b" % (at, known[0], rest))
            records.append((known[1], rest))
        else:
            rows.append(b"%d %b%b" % (at, _WHOLE, record))
            records.append((b"", record))
        hashes.append(hash)
        times.append(at)
    shared = b"\n".join(numbers)
    written = b"%d\n%b\n%b" % (len(shared), shared, b"\n".join(rows))
    content = _COUNT.pack(len(rows)) + bytes.fromhex("".join(hashes)) + zlib.compress(written, 1)
    return Packed(content, hashes[-1], times, records)


def unpack(content: bytes) -> list[bytes]:
    """The lines of a block as they were. Raises Unreadable."""
    shared, written = _read(content)
    heads, rows = shared.split(b"\n"), written.split(b"\n")
    digits = content[_COUNT.size : _COUNT.size + _HASH * len(rows)].hex().encode()
    lines = []
    for place, row in enumerate(rows):
        if row.startswith(_DAMAGED):
            lines.append(row[1:])
        else:
            start = 2 * _HASH * place
            lines.append(b"%b %d %b" % (digits[start : start + 2 * _HASH], *_record(heads, row)))
    return lines


def holding(content: bytes, text: bytes) -> Iterator[tuple[int, bytes]]:
    """Time (ms) and JSON of the records of a block that hold a text, and maybe of others. Raises Unreadable.

    A record is not found by what it has of `TIME` alone.
    """
    shared, written = _read(content)
    heads = shared.split(b"\n")
    numbers = {b"%d" % shared.count(b"\n", 0, begin) for begin, _ in _lines_with(text, shared)}
    if numbers:
        every = written.split(b"\n")
        rows = (row for row in every if text in row or row.partition(b" ")[2].partition(b" ")[0] in numbers)
    else:
        rows = (written[begin:end] for begin, end in _lines_with(text, written))
    for row in rows:
        if not row.startswith(_DAMAGED):
            yield _record(heads, row)


def _lines_with(text: bytes, lines: bytes) -> Iterator[tuple[int, int]]:
    """Where the lines begin and end that hold a text."""
    end = 0
    while (place := lines.find(text, end)) >= 0:
        begin, end = lines.rfind(b"\n", 0, place) + 1, lines.find(b"\n", place)
        if end < 0:
            end = len(lines)
        yield begin, end


def _read(content: bytes) -> tuple[bytes, bytes]:
    """What records begin with, and the rows behind, a line each."""
    try:
        (count,) = _COUNT.unpack_from(content)
        size, _, written = zlib.decompress(content[_COUNT.size + _HASH * count :]).partition(b"\n")
        shared = int(size)
    except (struct.error, zlib.error, ValueError, TypeError):
        raise Unreadable from None
    return written[:shared], written[shared + 1 :]


def _record(heads: list[bytes], row: bytes) -> tuple[int, bytes]:
    at, _, rest = row.partition(b" ")
    number, _, own = rest.partition(b" ")
    try:
        return int(at), rest[1:] if rest.startswith(_WHOLE) else heads[int(number)] + TIME + own
    except (ValueError, IndexError):
        raise Unreadable from None


def _tolerant(line: bytes) -> Line:
    try:
        return take_apart(line)
    except Unreadable:
        return Line(NO_HASH, 0, b"")
