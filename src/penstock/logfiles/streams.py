"""One log stream as two files: events, appended, and an index of the batches they came in.

An event is a header (time stamp, ingestion time, length) and its UTF-8 text. The index has one entry per batch; it is what makes
reading near the end, or from a time on, independent of the length of the log (`reading` does that). Blocking; not for the loop.

An entry is written before its batch. So an entry whose batch is not complete was not answered, and events behind those of the last entry say that
somebody has emptied or cut the index: it is put together again from them (`restoring`).

A batch that a writer names with a token, and sends again since the answer did not arrive, is kept once.

Durability: a batch is handed to the kernel before PutLogEvents answers, so it outlives kill -9; it is synced to disk within a
second. A power failure may take what was not, and leaves gaps: the parts of a file reach the disk in any order. So an entry has the checksum of
its batch, and says up to where its writer knew that all is on disk. Batches behind that are compared with their checksums: the stream ends before
the first that is not as it was written, for readers at once, and on disk when it is next opened for writing.
"""

from __future__ import annotations

import bisect
import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import struct
import time
import zlib
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from penstock import durable
from penstock.logfiles import emptying, restoring
from penstock.logfiles.sealed import EVENT, DataKey
from penstock.logfiles.segments import SEGMENTS, Segment, is_whole

log = logging.getLogger("penstock.logs")

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND
_BATCH = struct.Struct(
    "<qqqqqQqII"
)  # as Batch; of a size that lies in one sector, so that no half of it reaches the disk
_PACKED = struct.Struct("<QI")  # a place, and the checksum of its digits
_NOTHING = bytes(EVENT.size)
_AT_ONCE = 4096  # entries of an index that are read together
_UNSYNCED = 256  # of which so many cover what was appended since it was synced, nearly always
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


def event_id(stream: str, event: Event) -> str:
    """The name of an event for ever, which no other one of its group has: 56 digits."""
    return f"{event.timestamp:016d}{_digits(stream)}{event.offset:020d}"


@cache
def _digits(stream: str) -> str:
    return f"{int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], 'big'):020d}"


class Batch(NamedTuple):
    """An entry of the index."""

    lowest: int
    highest: int
    ingestion: int
    offset: int
    end: int
    key: int  # of the writer's token and the content; 0 without a token
    synced: int  # to here, all events were on disk when it was written
    events: int
    checksum: int  # of the events' bytes


class Unindexed(OSError):
    """The index lacks what lies in segments."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.EIO, "its index lacks what lies in segments", str(path))


class Extent(NamedTuple):
    """What the index says of a stream as a whole."""

    lowest: int  # time stamp
    highest: int
    ingestion: int  # of the newest batch
    end: int  # bytes of events


class StreamFiles:
    """The files of one stream.

    `keys` opens the batches that are sealed, by id. `lacking` is for whoever may not write: it gets the path where the index lacks events,
    which others add to it.
    """

    def __init__(
        self, path: Path, keys: Mapping[str, bytes] | None = None, lacking: Callable[[Path], object] | None = None
    ) -> None:
        self.path = path
        self.keys = keys or {}
        self._lacking = lacking
        self.never_packed = False  # whether somebody who knows has said so: what is empty is what a power failure left
        self.index_path = path.with_suffix(".index")
        self.packed_path = path.with_suffix(
            ".packed"
        )  # how far the file has been emptied: what is before lies in segments
        self._batches: list[Batch] = []
        self._forget()
        self._writing: int | None = None
        self._writing_index: int | None = None
        self._named = False  # on disk, as far as this process knows
        self._sizes = (0, 0)  # of both files, as this process left them
        self._synced = 0  # bytes of events that are on disk

    # --- writing --------------------------------------------------------------------------------------------------

    def append(self, events: Sequence[tuple[int, str]], now: int, token: str = "", seal: DataKey | None = None) -> None:
        """Append a batch (time stamp, text), oldest first, sealed under a data key if there is one. With a token: unless it is there already."""
        if self._writing is None:
            self._open()
        assert self._writing is not None
        assert self._writing_index is not None
        fcntl.flock(self._writing, fcntl.LOCK_EX)
        try:
            texts = [text.encode("utf-8", "replace") for _, text in events]
            stamps = [timestamp for timestamp, _ in events]
            key = _key(token, stamps, texts, seal.masks() if seal else b"") if token else 0
            self._follow()
            if key:
                self._learn()
                if key in self._keys:
                    return
            offset, indexed = self._sizes
            pack = EVENT.pack
            content = b"".join(
                part for stamp, text in zip(stamps, texts, strict=True) for part in (pack(stamp, now, len(text)), text)
            )
            if seal is not None:
                content = seal.seal(content, self.path.stem, offset, stamps, now)
            end, checksum = offset + len(content), zlib.crc32(content)
            batch = Batch(events[0][0], events[-1][0], now, offset, end, key, self._synced, len(events), checksum)
            try:
                _write_all(self._writing_index, _BATCH.pack(*batch))
                _write_all(self._writing, content)
            except OSError:  # a full disk: behind half a batch no other could be read
                os.ftruncate(self._writing_index, indexed)
                os.ftruncate(self._writing, offset)
                raise
            self._sizes = end, indexed + _BATCH.size
        finally:
            self._unlock()

    def sync(self) -> None:
        """Wait until what was appended is on disk, and the files by their names."""
        end, _ = self._sizes
        for descriptor in (self._writing, self._writing_index):
            if descriptor is not None:
                os.fdatasync(descriptor)
        self._synced = end
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
        for path in (self.path, self.index_path, self.packed_path):
            path.unlink(missing_ok=True)

    def part(self, offset: int, size: int, *, rest: bool) -> tuple[Segment, list[Batch]] | None:
        """The batches from a place on that make about `size` bytes together, to be packed; all there are with `rest`, else None when they are fewer.

        Raises OSError when they are not as they were written.
        """
        if self._writing is None:
            self._open()
        assert self._writing is not None
        fcntl.flock(self._writing, fcntl.LOCK_EX)
        try:
            self._follow()
            self.sync()
        finally:
            self._unlock()
        end, indexed = self._sizes
        entries = indexed // _BATCH.size
        at = bisect.bisect_left(
            range(entries), offset, key=lambda entry: self._entries(entry * _BATCH.size, 1)[0].offset
        )
        chosen: list[Batch] = []
        while at + len(chosen) < entries and (not chosen or chosen[-1].end - offset < size):
            chosen += self._entries((at + len(chosen)) * _BATCH.size, min(_AT_ONCE, entries - at - len(chosen)))
        chosen = chosen[: bisect.bisect_left(chosen, offset + size, key=lambda batch: batch.end) + 1]
        if not chosen or (chosen[-1].end - offset < size and not rest):
            return None
        with self.path.open("rb") as file, emptying.held_off(self.index_path):
            if offset < self._packed():  # another process has done so meanwhile
                return None
            file.seek(offset)
            content = file.read(chosen[-1].end - offset)
        if chosen[0].offset != offset or chosen[-1].end > end or not is_whole(content, chosen):
            raise OSError(errno.EIO, "its bytes are not those that were written", str(self.path))
        return Segment(offset, b"".join(_BATCH.pack(*batch) for batch in chosen), content), chosen

    def reaches(self, packed: int) -> bool:
        """Whether both files have all that lies in segments, which end at `packed`; those of an older backup do not."""
        try:
            return min(self.path.stat().st_size, self._indexed_end()) >= packed
        except FileNotFoundError:
            return False

    def reindex(self, segments: Sequence[bytes], packed: int) -> None:
        """Make the index anew from the entries that the segments of the stream have, and the files if they are missing or end before those do.

        The rest of the index is added when it is next opened. `packed` is where the last segment ends, which is so when the time of all of
        them is over.
        """
        self.close()
        durable.make_folder(self.path.parent)
        entries = list(map(Batch._make, _BATCH.iter_unpack(b"".join(segments))))
        if not entries:
            entries = [Batch(-1, -1, 0, 0, packed, 0, 0, 0, 0)]  # of what nobody reads any more
        # A later batch vouched for it. Nothing of it is in the file to be compared.
        entries[-1] = entries[-1]._replace(synced=packed)
        durable.write(self.index_path, b"".join(_BATCH.pack(*entry) for entry in entries))
        durable.write(self.packed_path, _PACKED.pack(packed, zlib.crc32(b"%d" % packed)))
        file = os.open(self.path, _FLAGS, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file).st_size < packed:
                with emptying.held_off(self.index_path, alone=True):
                    os.ftruncate(
                        file, 0
                    )  # a reader looks only at the beginning of what it reads for whether it was emptied
                    os.ftruncate(file, packed)
                os.fsync(file)
        finally:
            os.close(file)
        durable.sync_folder(self.path.parent)
        self._forget()

    def empty(self, end: int) -> bool:
        """Free the space of everything before a place, which lies in segments; False where the file system cannot."""
        with emptying.held_off(self.index_path, alone=True):
            if self._packed() < end:
                durable.write(self.packed_path, _PACKED.pack(end, zlib.crc32(b"%d" % end)))
            return emptying.empty(self.path, end)

    def _packed(self) -> int:
        try:
            end, checksum = _PACKED.unpack(self.packed_path.read_bytes())
        except (FileNotFoundError, struct.error):
            return 0
        return end if checksum == zlib.crc32(b"%d" % end) else 0

    def _need_index(self) -> int:
        """To where the file has been emptied. Raises Unindexed when the index does not know all of that."""
        packed = self._packed()
        lacking = self._indexed_end() < packed if packed else not self.never_packed and self._begins_empty()
        if lacking:
            raise Unindexed(self.path)
        return packed

    def _begins_empty(self) -> bool:
        with contextlib.suppress(FileNotFoundError), self.path.open("rb") as file:
            return _is_emptied(file.read(EVENT.size), 0)
        return False

    def complete(self) -> None:
        """Add to the index what it lacks."""
        self.sync()
        self.close()  # what is open for writing may not be the index that has the name any more
        self._forget()
        self._complete()

    def _open(self) -> None:
        durable.make_folder(self.path.parent)
        self._writing = os.open(self.path, _FLAGS, 0o600)
        self._writing_index = os.open(self.index_path, _FLAGS, 0o600)
        fcntl.flock(self._writing, fcntl.LOCK_EX)
        try:
            self._mend()
        except Unindexed:
            self.close()
            raise
        finally:
            self._unlock()

    def _unlock(self) -> None:
        if self._writing is not None:
            fcntl.flock(self._writing, fcntl.LOCK_UN)

    def _follow(self) -> None:
        """Go behind what other processes have appended. What one of them left half done is cut off."""
        assert self._writing is not None
        assert self._writing_index is not None
        sizes = os.fstat(self._writing).st_size, os.fstat(self._writing_index).st_size
        if sizes == self._sizes:
            return
        if sizes[1] % _BATCH.size or self._indexed_end() != sizes[0]:
            try:
                self._mend()
            except Unindexed:
                self.close()
                raise
        else:
            self._sizes = sizes

    def _mend(self) -> None:
        """Cut off what a crash left half done, when the index knows all that there is."""
        assert self._writing is not None
        assert self._writing_index is not None
        self._need_index()
        known = self._indexed()
        entries, end, self._synced = self._sound()
        os.ftruncate(self._writing_index, entries * _BATCH.size)
        if entries == known:
            entries, end = self._restore(self._writing_index, entries, end)
        os.ftruncate(self._writing, end)
        self._sizes = end, entries * _BATCH.size
        self._forget()  # some of what was read of it may be gone

    def _restore(self, index: int, entries: int, end: int) -> tuple[int, int]:
        """Add to the index (a descriptor) what it lacks at its end. How many entries it has then, and where their events end."""
        before = entries
        since = self._entries((entries - 1) * _BATCH.size)[0].ingestion if entries else 0
        with self.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if end < size:
                os.fdatasync(file.fileno())
            for found in restoring.batches(file, end, size, since=since, now=time.time_ns() // 1_000_000):
                _write_all(index, _BATCH.pack(*found[:5], 0, found.offset, *found[5:]))
                entries, end = entries + 1, found.end
        if entries > before:
            os.fdatasync(index)
            log.warning(
                "logs.index_restored",
                extra={"file": str(self.index_path), "batches": entries - before, "left": size - end},
            )
        return entries, end

    def _complete(self) -> None:
        """The same for those who read: the last writer may be gone long since."""
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            return
        try:
            self._need_index()
        except Unindexed:
            if self._lacking is None:
                raise
            self._lacking(self.path)
            return
        # The index is looked at last: the entry of a batch that comes meanwhile is there before its events.
        if self._indexed_end() >= size:
            return
        if self._lacking is not None:
            self._lacking(self.path)
            return
        with _unless_unindexed(), self.path.open("rb") as file:  # what the index has can be read in any case
            index = os.open(self.index_path, _FLAGS, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                known = self._indexed()
                entries, end, _ = self._sound()
                if entries == known:
                    os.ftruncate(index, entries * _BATCH.size)
                    self._restore(index, entries, end)
            finally:
                os.close(index)

    def _sound(self) -> tuple[int, int, int]:
        """How many entries of the index are as they were written, as are their batches; where those end, and to where they were synced."""
        first, start, synced, tail, packed = self._indexed(), 0, 0, list[Batch](), self._packed()
        with contextlib.suppress(FileNotFoundError), self.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            while first and not start:
                # Twice as many each time: what is read again adds up to little.
                many = min(first, max(_UNSYNCED, len(tail)))
                first -= many
                tail = self._entries(first * _BATCH.size, many) + tail
                synced = max(packed, *(batch.synced for batch in tail))
                if 0 < synced <= size:
                    start = next((at for at, batch in enumerate(tail, 1) if batch.end == synced), 0)
            end = file.seek(synced if start else 0)
            for batch in tail[start:]:
                if batch.offset != end or not end < batch.end <= size:
                    break
                if zlib.crc32(file.read(batch.end - end)) != batch.checksum:
                    break
                start, end = start + 1, batch.end
            return first + start, end, min(synced, end)
        return 0, 0, 0

    def _indexed(self) -> int:
        """How many entries the index has."""
        try:
            return self.index_path.stat().st_size // _BATCH.size
        except FileNotFoundError:
            return 0

    def _indexed_end(self) -> int:
        """Where the events of the newest entry end."""
        entries = self._indexed()
        last = self._entries((entries - 1) * _BATCH.size, 1) if entries else ()
        return last[0].end if last else 0

    # --- reading --------------------------------------------------------------------------------------------------

    def extent(self) -> Extent | None:
        """What the index says of the stream as a whole; None of an empty one. Reads only what was added since it was last asked."""
        self._learn()
        return self._extent

    def _forget(self) -> None:
        self._extent: Extent | None = None
        self._keys: deque[int] = deque(maxlen=_REMEMBERED)
        self._learnt = 0  # entries of the index

    def _learn(self) -> None:
        # A server has many streams open for long: it keeps no list of their batches.
        if self._writing is None:
            self._complete()
        entries = self._indexed()
        if entries > self._learnt and self._writing is None:  # what is open for writing has been mended
            entries = self._sound()[0]
        while batches := self._entries(self._learnt * _BATCH.size, min(_AT_ONCE, entries - self._learnt)):
            known = () if self._extent is None else (self._extent,)
            self._extent = Extent(
                min(part.lowest for part in (*known, *batches)),
                max(part.highest for part in (*known, *batches)),
                batches[-1].ingestion,
                batches[-1].end,
            )
            self._keys.extend(batch.key for batch in batches)
            self._learnt += len(batches)

    def batches(self) -> list[Batch]:
        """The batches as they are now."""
        self._complete()
        return self._in_index()[: self._sound()[0]]

    def _in_index(self) -> list[Batch]:
        self._batches += self._entries(len(self._batches) * _BATCH.size)
        return self._batches

    def _entries(self, at: int, most: int = -1) -> list[Batch]:
        """Entries of the index from a place in its file on."""
        if not most:
            return []
        try:
            with self.index_path.open("rb") as file:
                if at:
                    file.seek(at)
                data = file.read(most if most < 0 else most * _BATCH.size)
        except FileNotFoundError:
            return []
        complete = len(data) // _BATCH.size * _BATCH.size
        return list(map(Batch._make, _BATCH.iter_unpack(data[:complete])))

    def content(self, batches: Sequence[Batch]) -> list[tuple[int, bytes]]:
        """The bytes of batches that lie beside each other, with their place; in several pieces where the time of segments is over.

        Raises FileNotFoundError when the stream is gone, and segments.Unreadable.
        """
        start, end = batches[0].offset, batches[-1].end
        # Not held open between reads: a search has as many of these under way as a log group has streams.
        with self.path.open("rb") as file, emptying.held_off(self.index_path):
            file.seek(start)
            data = file.read(end - start)
        if not _is_emptied(data, 0):
            return [(start, data)]
        own = next((one.offset for one in batches if not _is_emptied(data, one.offset - start)), end)
        pieces: list[tuple[int, bytes]] = []
        at = start
        while at < own:
            found = SEGMENTS.of(self.path, at)
            if isinstance(found, int):
                at = max(at + 1, found)
                continue
            part = found.content[at - found.offset : own - found.offset]
            if pieces and pieces[-1][0] + len(pieces[-1][1]) == at:
                pieces[-1] = pieces[-1][0], pieces[-1][1] + part
            else:
                pieces.append((at, part))
            at += len(part)
        if own < end:
            pieces.append((own, data[own - start :]))
        return pieces

    def chosen(self, after: Position, start: int, end: int | None) -> list[Batch]:
        """The batches that may hold events behind a position with start ≤ time stamp < end."""
        return _chosen(self.batches(), after, start, end)

    def begins(self, after: Position, start: int, end: int | None) -> int | None:
        """No such event has an earlier time stamp than this, or None. Reads the index only, unless it lacks something."""
        self._complete()
        chosen = _chosen(self._in_index(), after, start, end)
        return max(start, after[0], min(batch.lowest for batch in chosen)) if chosen else None

    def chosen_before(self, before: Position | None, start: int, end: int | None) -> list[Batch]:
        """The batches that may hold events before a position (None: the end) with start ≤ time stamp < end."""
        return _chosen_before(self.batches(), before, start, end)

    def ends(self, before: Position | None, start: int, end: int | None) -> int | None:
        """No such event has a later time stamp than this, or None. Reads the index only, unless it lacks something."""
        self._complete()
        chosen = _chosen_before(self._in_index(), before, start, end)
        return max(batch.highest for batch in chosen) if chosen else None


@contextlib.contextmanager
def _unless_unindexed() -> Iterator[None]:
    """Whatever else is wrong with the files, but this, does not matter."""
    try:
        yield
    except Unindexed:
        raise
    except OSError:
        pass


def _is_emptied(data: bytes, at: int) -> bool:
    """Whether a batch has been taken out of the file: no event has an empty text."""
    return data[at : at + EVENT.size] == _NOTHING


def _chosen(batches: Iterable[Batch], after: Position, start: int, end: int | None) -> list[Batch]:
    return [
        batch
        for batch in batches
        if batch.highest >= start and (batch.highest, batch.end - 1) > after and (end is None or batch.lowest < end)
    ]


def _chosen_before(batches: Iterable[Batch], before: Position | None, start: int, end: int | None) -> list[Batch]:
    return [
        batch
        for batch in batches
        if batch.highest >= start
        and (end is None or batch.lowest < end)
        and (before is None or (batch.lowest, batch.offset) < before)
    ]


def _key(token: str, stamps: Sequence[int], texts: Sequence[bytes], secret: bytes) -> int:
    """Of the token and all that was sent with it: time stamps, lengths, texts."""
    digest = hashlib.blake2b(token.encode(), digest_size=8, key=secret)
    digest.update(array("q", stamps).tobytes())
    digest.update(array("q", map(len, texts)).tobytes())
    digest.update(b"".join(texts))
    return int.from_bytes(digest.digest(), "little") or 1


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
