"""The index of a log stream as its events alone say it: for an index that was emptied, cut short or deleted.

Nothing vouches for events that no entry knows, so they are believed only as far as they read as what `streams` writes: text without a NUL byte
(what a power failure took is zeros), that came no earlier than the event before it and not after now.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

EVENT = struct.Struct("<qqI")  # time stamp ms, ingestion ms, bytes of text
_MOST = 1 << 20  # bytes of one event, and of a batch that is put together


class Found(NamedTuple):
    """Events that lie beside each other and came at one time, as an entry of the index has them."""

    lowest: int
    highest: int
    ingestion: int
    offset: int
    end: int
    events: int
    checksum: int


def batches(file: BinaryIO, offset: int, size: int, *, since: int, now: int) -> Iterator[Found]:
    """The batches from an offset on of a file with `size` bytes. What came before it came at `since` or earlier (ms)."""
    made: Found | None = None
    file.seek(offset)
    while (event := _next(file, size, since, now)) is not None:
        stamp, since, data = event
        joins = (
            made is not None and made.ingestion == since and made.highest <= stamp and made.end - made.offset < _MOST
        )
        if made is not None and joins:
            checksum = zlib.crc32(data, made.checksum)
            made = made._replace(highest=stamp, end=made.end + len(data), events=made.events + 1, checksum=checksum)
            continue
        if made is not None:
            yield made
        begins = offset if made is None else made.end
        made = Found(stamp, stamp, since, begins, begins + len(data), 1, zlib.crc32(data))
    if made is not None:
        yield made


def _next(file: BinaryIO, size: int, since: int, now: int) -> tuple[int, int, bytes] | None:
    """Time stamp and ingestion of the event where a file stands, and its bytes; None for what is none."""
    header = file.read(EVENT.size)
    if len(header) < EVENT.size:
        return None
    stamp, ingestion, length = EVENT.unpack(header)
    if stamp < 0 or not max(since, 1) <= ingestion <= now or not 0 < length <= min(_MOST, size - file.tell()):
        return None
    text = file.read(length)
    return None if len(text) < length or b"\0" in text else (stamp, ingestion, header + text)
