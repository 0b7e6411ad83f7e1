"""The index of a log stream as its events alone say it: for an index that was emptied, cut short or deleted.

Nothing vouches for events that no entry knows, so they are believed only as far as they read as what `streams` writes: text without a NUL byte
(what a power failure took is zeros), that came no earlier than the event before it and not after now. Sealed batches have a checksum of their own.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from penstock.logfiles.sealed import EVENT, OVERHEAD, SEALED, described

_MOST = 1 << 20  # bytes of one event, and of a batch that is put together
_TURN = 64  # events, a quarter of a millisecond, between two moments at which other threads may run


class Incomplete(Exception):
    """The indexes of streams lack events, and who reads may not write them."""

    def __init__(self, paths: list[str]) -> None:
        super().__init__()
        self.paths = paths


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
    alone = False
    looked_at = 0
    file.seek(offset)
    while (piece := _next(file, size, since, now)) is not None:
        since = piece.ingestion
        looked_at += 1
        if looked_at % _TURN == 0:
            time.sleep(
                0
            )  # the event loop, which would wait five milliseconds each time for this thread to be interrupted
        joins = (
            made is not None
            and not (alone or piece.sealed)
            and made.ingestion == since
            and made.highest <= piece.lowest
            and made.end - made.offset < _MOST
        )
        if made is not None and joins:
            checksum = zlib.crc32(piece.data, made.checksum)
            made = made._replace(
                highest=piece.highest, end=made.end + len(piece.data), events=made.events + 1, checksum=checksum
            )
            continue
        if made is not None:
            yield made
        begins, alone = offset if made is None else made.end, piece.sealed
        end = begins + len(piece.data)
        made = Found(piece.lowest, piece.highest, since, begins, end, piece.events, zlib.crc32(piece.data))
    if made is not None:
        yield made


class _Piece(NamedTuple):
    """An event, or a sealed batch."""

    lowest: int
    highest: int
    ingestion: int
    events: int
    data: bytes
    sealed: bool


def _next(file: BinaryIO, size: int, since: int, now: int) -> _Piece | None:
    """What begins where a file stands; None for what is no event, and no sealed batch."""
    header = file.read(EVENT.size)
    if len(header) < EVENT.size:
        return None
    stamp, ingestion, length = EVENT.unpack(header)
    most = min(_MOST + OVERHEAD, size - file.tell())
    if stamp < SEALED or not max(since, 1) <= ingestion <= now or not 0 < length <= most:
        return None
    body = file.read(length)
    if stamp != SEALED:
        fits = len(body) == length and b"\0" not in body
        return _Piece(stamp, stamp, ingestion, 1, header + body, sealed=False) if fits else None
    about = described(body) if len(body) == length else None
    if about is None or not 0 <= about.lowest <= about.highest or not about.events:
        return None
    return _Piece(about.lowest, about.highest, ingestion, about.events, header + body, sealed=True)
