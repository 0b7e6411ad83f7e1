"""One log stream as two files: events, appended, and an index of the batches they came in.

An event is a header (time stamp, ingestion time, length) and its UTF-8 text. The index has one entry per batch; it is what makes
reading near the end, or from a time on, independent of the length of the log (`reading` does that). Whatever a crash cut off is cut away when
the stream is next opened for writing. Blocking; not for the loop.

A batch that a writer names with a token, and sends again since the answer did not arrive, is kept once.

Durability: a batch is handed to the kernel before PutLogEvents answers, so it outlives kill -9; it is synced to disk within a
second, so a crash of the machine may lose the last second.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
from array import array
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from penstock import durable

EVENT = struct.Struct("<qqI")  # time stamp ms, ingestion ms, bytes of text
_BATCH = struct.Struct("<qqqqqIQ")  # lowest, highest time stamp, ingestion, offset, end, events, key
_AT_ONCE = 4096  # entries of an index that are read together
_REMEMBERED = 256  # batches, from the newest, among which one that comes again is looked for

Position = tuple[int, int]
"""Time stamp and offset: the order of a stream's events."""

START: Position = (-1, -1)


class Event(NamedTuple):
    """A log event."""

    timestamp: int  # ms UTC
    ingestion: int  # ms UTC
    message: str
    offset: int  # in its file

    @property
    def position(self) -> Position:
        """Its place in the stream."""
        return self.timestamp, self.offset


class Batch(NamedTuple):
    """An entry of the index."""

    lowest: int
    highest: int
    ingestion: int
    offset: int
    end: int
    events: int
    key: int = 0  # of the writer's token and the content; 0 without a token


class Extent(NamedTuple):
    """What the index says of a stream as a whole."""

    lowest: int  # time stamp
    highest: int
    ingestion: int  # of the newest batch
    end: int  # bytes of events


class StreamFiles:
    """The files of one stream."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.index_path = path.with_suffix(".index")
        self._batches: list[Batch] = []
        self._index_at = 0
        self._forget()
        self._writing: int | None = None
        self._writing_index: int | None = None
        self._named = False  # on disk, as far as this process knows

    # --- writing --------------------------------------------------------------------------------------------------

    def append(self, events: Sequence[tuple[int, str]], now: int, token: str = "") -> None:
        """Append a batch (time stamp, text), oldest first. With a token: unless it is there already."""
        if self._writing is None:
            self._open()
        assert self._writing is not None
        assert self._writing_index is not None
        fcntl.flock(self._writing, fcntl.LOCK_EX)
        try:
            texts = [text.encode("utf-8", "replace") for _, text in events]
            stamps = [timestamp for timestamp, _ in events]
            key = _key(token, stamps, texts) if token else 0
            if key:
                self._learn()
                if key in self._keys:
                    return
            offset = os.lseek(self._writing, 0, os.SEEK_END)
            pack = EVENT.pack
            content = b"".join(
                part for stamp, text in zip(stamps, texts, strict=True) for part in (pack(stamp, now, len(text)), text)
            )
            batch = Batch(events[0][0], events[-1][0], now, offset, offset + len(content), len(events), key)
            indexed = os.fstat(self._writing_index).st_size
            try:
                _write_all(self._writing, content)
                _write_all(self._writing_index, _packed(batch))
            except OSError:  # a full disk: behind half a batch no other could be read
                os.ftruncate(self._writing_index, indexed)
                os.ftruncate(self._writing, offset)
                raise
        finally:
            fcntl.flock(self._writing, fcntl.LOCK_UN)

    def sync(self) -> None:
        """Wait until what was appended is on disk, and the files by their names."""
        for descriptor in (self._writing, self._writing_index):
            if descriptor is not None:
                os.fdatasync(descriptor)
        if self._writing is not None and not self._named:
            durable.sync_folder(self.path.parent)
            self._named = True

    def close(self) -> None:
        """Give the files up; the next append opens them again."""
        for descriptor in (self._writing, self._writing_index):
            if descriptor is not None:
                os.close(descriptor)
        self._writing = self._writing_index = None

    def remove(self) -> None:
        """Delete the files."""
        self.close()
        for path in (self.path, self.index_path):
            path.unlink(missing_ok=True)

    def _open(self) -> None:
        durable.make_folder(self.path.parent)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        self._writing = os.open(self.path, flags, 0o600)
        self._writing_index = os.open(self.index_path, flags, 0o600)
        fcntl.flock(self._writing, fcntl.LOCK_EX)
        try:
            self._mend()
        finally:
            fcntl.flock(self._writing, fcntl.LOCK_UN)

    def _mend(self) -> None:
        """Cut off half a write, and index what was written without reaching the index."""
        assert self._writing is not None
        assert self._writing_index is not None
        size = os.fstat(self._writing).st_size
        indexed = os.fstat(self._writing_index).st_size // _BATCH.size * _BATCH.size
        end = 0
        while indexed:
            entry = os.pread(self._writing_index, _BATCH.size, indexed - _BATCH.size)
            end = _BATCH.unpack(entry)[4]
            if end <= size:
                break
            indexed -= _BATCH.size  # the index got further than the events
            end = 0
        os.ftruncate(self._writing_index, indexed)
        self._forget()  # some of what was read of it may be gone
        complete = end
        stamps: list[tuple[int, int]] = []
        while complete + EVENT.size <= size:
            timestamp, ingestion, length = EVENT.unpack(os.pread(self._writing, EVENT.size, complete))
            if complete + EVENT.size + length > size:
                break
            stamps.append((timestamp, ingestion))
            complete += EVENT.size + length
        os.ftruncate(self._writing, complete)
        if stamps:
            times = [timestamp for timestamp, _ in stamps]
            batch = Batch(min(times), max(times), stamps[-1][1], end, complete, len(stamps))
            _write_all(self._writing_index, _packed(batch))

    # --- reading --------------------------------------------------------------------------------------------------

    def extent(self) -> Extent | None:
        """What the index says of the stream as a whole; None of an empty one. Reads only what was added since it was last asked."""
        self._learn()
        return self._extent

    def _forget(self) -> None:
        self._extent: Extent | None = None
        self._keys: deque[int] = deque(maxlen=_REMEMBERED)
        self._learnt = 0  # bytes of the index

    def _learn(self) -> None:
        # A server has many streams open for long: it keeps no list of their batches.
        more = True
        while more and (batches := self._entries(self._learnt, _AT_ONCE)):
            more = len(batches) == _AT_ONCE
            known = () if self._extent is None else (self._extent,)
            self._extent = Extent(
                min(part.lowest for part in (*known, *batches)),
                max(part.highest for part in (*known, *batches)),
                batches[-1].ingestion,
                batches[-1].end,
            )
            self._keys.extend(batch.key for batch in batches)
            self._learnt += len(batches) * _BATCH.size

    def batches(self) -> list[Batch]:
        """The index as it is now."""
        added = self._entries(self._index_at)
        self._batches += added
        self._index_at += len(added) * _BATCH.size
        return self._batches

    def _entries(self, at: int, most: int | None = None) -> list[Batch]:
        """The entries of the index behind a place in its file."""
        try:
            with self.index_path.open("rb") as file:
                if at:
                    file.seek(at)
                data = file.read() if most is None else file.read(most * _BATCH.size)
        except FileNotFoundError:
            return []
        complete = len(data) // _BATCH.size * _BATCH.size
        return list(map(Batch._make, _BATCH.iter_unpack(data[:complete])))

    def chosen(self, after: Position, start: int, end: int | None) -> list[Batch]:
        """The batches that may hold events behind a position with start ≤ time stamp < end. Reads the index only."""
        return [
            batch
            for batch in self.batches()
            if batch.highest >= start and (batch.highest, batch.end - 1) > after and (end is None or batch.lowest < end)
        ]

    def begins(self, after: Position, start: int, end: int | None) -> int | None:
        """No such event has an earlier time stamp than this, or None. Reads the index only."""
        chosen = self.chosen(after, start, end)
        return max(start, after[0], min(batch.lowest for batch in chosen)) if chosen else None


def _packed(batch: Batch) -> bytes:
    return _BATCH.pack(batch.lowest, batch.highest, batch.ingestion, batch.offset, batch.end, batch.events, batch.key)


def _key(token: str, stamps: Sequence[int], texts: Sequence[bytes]) -> int:
    """Of the token and all that was sent with it: time stamps, lengths, texts."""
    digest = hashlib.blake2b(token.encode(), digest_size=8)
    digest.update(array("q", stamps).tobytes())
    digest.update(array("q", map(len, texts)).tobytes())
    digest.update(b"".join(texts))
    return int.from_bytes(digest.digest(), "little") or 1


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
