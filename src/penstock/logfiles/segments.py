"""Segments: parts of streams that lie compressed elsewhere. Where a stream's file has been emptied of one, it has zeros.

A reader has no way to where segments lie. It asks for one over its connection, and the server sends its bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

_MAGIC = b"PENLOGS1"
_HEAD = struct.Struct("<QQII")  # offset and end in the stream, entries, checksum of what is compressed
_LARGEST = 64 << 20  # bytes of a segment before it is compressed
_LEVEL = 3
_HELD = 4  # unpacked segments in memory

KEPT, GONE, LOST = b"k", b"g", b"l"
"""What the server's answer begins with: the segment follows; its time is over, and the place of what comes after it follows; why it cannot be read follows."""


class Unreadable(Exception):
    """A segment is missing, or not as it was written."""


class Segment(NamedTuple):
    """A part of a stream."""

    offset: int
    entries: bytes  # of the stream's index
    content: bytes  # of its file

    @property
    def end(self) -> int:
        """Where it ends in the stream."""
        return self.offset + len(self.content)


class Entry(Protocol):
    """What is checked of an entry of the index."""

    @property
    def offset(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def checksum(self) -> int: ...


def is_whole(content: bytes, batches: Sequence[Entry]) -> bool:
    """Whether all batches of a part of a stream are as they were written."""
    first = batches[0].offset
    return (
        all(zlib.crc32(content[batch.offset - first : batch.end - first]) == batch.checksum for batch in batches)
        and len(content) == batches[-1].end - first
    )


def pack(segment: Segment, entries: int) -> bytes:
    """A segment as it is kept. `entries` is how many it has."""
    import zstandard  # noqa: PLC0415 - only those pay for it who have segments

    both = segment.entries + segment.content
    head = _HEAD.pack(segment.offset, segment.end, entries, zlib.crc32(both))
    return _MAGIC + head + zstandard.ZstdCompressor(level=_LEVEL).compress(both)


def unpack(data: bytes) -> Segment:
    """A segment again. Raises Unreadable."""
    import zstandard  # noqa: PLC0415

    if data[: len(_MAGIC)] != _MAGIC or len(data) < len(_MAGIC) + _HEAD.size:
        raise Unreadable("it does not begin as a segment does")
    offset, end, _, checksum = _HEAD.unpack_from(data, len(_MAGIC))
    try:
        reader = zstandard.ZstdDecompressor().stream_reader(data[len(_MAGIC) + _HEAD.size :])
        both = reader.read(_LARGEST + 1)
    except zstandard.ZstdError as error:
        raise Unreadable(str(error)) from None
    if not 0 <= end - offset <= len(both) <= _LARGEST or zlib.crc32(both) != checksum:
        raise Unreadable("its bytes are not those that were written")
    cut = len(both) - (end - offset)
    return Segment(offset, both[:cut], both[cut:])


Source = Callable[[Path, int], bytes]
"""Gives the segment that has a place of a stream, with KEPT, GONE or LOST before it."""


class Segments:
    """The segments that a process reads, a few of which it holds."""

    def __init__(self) -> None:
        self.source: Source | None = None
        self._held: OrderedDict[tuple[Path, int], Segment] = OrderedDict()

    def of(self, path: Path, offset: int) -> Segment | int:
        """The one that has a place of a stream; the place of the next one when its time is over. Raises Unreadable."""
        for key, segment in self._held.items():
            if key[0] == path and segment.offset <= offset < segment.end:
                self._held.move_to_end(key)
                return segment
        if self.source is None:
            raise Unreadable("there is nobody to ask for it")
        answer = self.source(path, offset)
        if answer[:1] == GONE:
            return int(answer[1:])
        if answer[:1] != KEPT:
            raise Unreadable(answer[1:].decode("utf-8", "replace"))
        segment = unpack(answer[1:])
        if not segment.offset <= offset < segment.end:
            raise Unreadable("it is another one")
        self._held[path, segment.offset] = segment
        if len(self._held) > _HELD:
            self._held.popitem(last=False)
        return segment


SEGMENTS = Segments()
"""Of this process: a reader answers one request."""
