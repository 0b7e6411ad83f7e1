"""Packs what streams have grown by into segments, and brings those to readers.

A segment is durable before its row says so, and its row is committed before the stream's file gives up the bytes. Whoever dies in between
leaves a row that says that a segment is being written, or bytes in the file that lie in a segment too: neither is lost nor read twice.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from penstock.blobs.backend import Backend
from penstock.blobs.blob_keys import KeySealer, open_key, seal_key
from penstock.blobs.segments import KEY, MAGIC, SEALED_SEGMENT, DamagedBlob, Seal, Unseal, segment_count, segment_offset
from penstock.logfiles.segments import GONE, KEPT, LOST, Segment, Unreadable, pack, unpack
from penstock.logfiles.streams import StreamFiles
from penstock.logs import records
from penstock.logs import segment_records as rows
from penstock.pools import SEGMENTS
from penstock.store.database import Store
from penstock.store.errors import StoreUnavailable
from penstock.store.failpoints import failpoint
from penstock.store.jobs import Job
from penstock.store.sealing import SealError

if TYPE_CHECKING:
    from penstock.logs.logstore import LogStore

log = logging.getLogger("penstock.logs")

SEGMENT = 4 << 20  # bytes of a stream; a page of it costs no more than reading one
_HELD = 16 << 20  # bytes of segments as they are kept, in memory
_BATCH = 100  # segments that are given up in a transaction

_LOST = (DamagedBlob, SealError, FileNotFoundError, StoreUnavailable, Unreadable)
"""What a segment that cannot be had raises."""


class Packer:
    """The segments of all streams."""

    def __init__(self, store: Store, sealer: KeySealer, backend: Backend) -> None:
        self._store, self._sealer, self._backend = store, sealer, backend
        self._prepared = False
        self._preparing = asyncio.Lock()
        self._held: OrderedDict[str, bytes] = OrderedDict()  # by blob
        self._holes = True  # as far as is known

    async def pack(self, inspect: Callable[..., Awaitable[Any]], file: str) -> None:
        """Put what a stream has grown by into segments, and all of one that nobody writes to. `inspect` is LogStore's."""
        store = self._store
        stream = await store.read(records.stream_of, file)
        if stream is None:
            return
        offset, rest = stream.packed or 0, (stream.last_ingestion or 0) < store.clock.now() - rows.IDLE_MS
        if offset:  # the last time may have ended before this
            last = await store.read(rows.holding, file, offset - 1)
            if last is not None:
                await self._empty(inspect, file, last.end)
        while True:
            found = await inspect(file, functools.partial(StreamFiles.part, offset=offset, size=SEGMENT, rest=rest))
            if found is None:
                return
            segment, batches = found
            row = await self._write(file, segment, batches)
            if row is None:
                return
            failpoint("logs.segment_written")
            if not await store.write(rows.keep, row, now=store.clock.now()):
                await self._run(self._backend.remove, row["blob"])
                return
            failpoint("logs.segment_kept")
            await self._empty(inspect, file, segment.end)
            offset = segment.end

    async def _write(self, file: str, segment: Segment, batches: Sequence[Any]) -> dict[str, Any] | None:
        """Write a segment, and read it again: what it is to stand for will be gone. None when it is not wanted any more."""
        packed = await SEGMENTS.run(pack, segment, len(batches))
        blob, key = secrets.token_hex(16), secrets.token_bytes(KEY)
        row = {
            "file": file,
            "offset": segment.offset,
            "end": segment.end,
            "highest": max(batch.highest for batch in batches),
            "blob": blob,
            "key": seal_key(self._sealer, key, b"", blob),
            "size": len(packed),
        }
        before = await self._store.write(rows.begin, row)
        if before is None:
            return None
        if before:
            await self._run(self._backend.remove, before)
        await self._run(self._create, blob, key, packed)
        try:
            again = await SEGMENTS.run(unpack, await self._run(self._read, SimpleNamespace(**row)))
        except FileNotFoundError:  # another process has begun with the same part, and taken this one back
            return None
        if again != segment:
            raise Unreadable("what was written is not what is read")
        return row

    async def _empty(self, inspect: Callable[..., Awaitable[Any]], file: str, end: int) -> None:
        emptied = await inspect(file, lambda files: files.empty(end))
        if not emptied and self._holes:
            self._holes = False
            log.warning("logs.space_not_freed", extra={"stream": file})

    async def segment(self, path: str, offset: int) -> bytes:
        """The answer to a reader that asks for the segment that has a place. See logfiles.segments."""
        file = Path(path).stem
        row = await self._store.read(rows.holding, file, offset)
        if row is None or row.dropped is not None:
            return await self._gone(file, offset)
        try:
            return KEPT + await self._packed(row)
        except _LOST as error:
            again = await self._store.read(rows.holding, file, offset)
            if again is None or again.dropped is not None:  # meanwhile
                return await self._gone(file, offset)
            return LOST + self._lost(row, error).encode()

    @staticmethod
    def _lost(row: Any, error: Exception) -> str:
        log.error("logs.segment_unreadable", extra={"stream": row.file, "error": str(error)})
        return f"the segment at the place {row.offset} of the stream {row.file}: {error}"

    async def _gone(self, file: str, offset: int) -> bytes:
        """The answer for a place whose time is over: where the stream continues."""
        stream = await self._store.read(records.stream_of, file)
        if stream is None:
            return GONE + str(2**62).encode()
        packed = stream.packed or 0
        if offset >= packed:
            return LOST + f"no segment has the place {offset} of the stream {file}".encode()
        following = await self._store.read(rows.following, file, offset)
        return GONE + str(packed if following is None else following).encode()

    async def entries(self, file: str) -> tuple[list[bytes], int]:
        """What the segments of a stream have of its index, for that to be made anew, and where they end. Raises Unreadable."""
        kept = [row for row in await self._store.scan(rows.of_stream, file) if row.dropped is None]
        stream = await self._store.read(records.stream_of, file)
        if stream is None or not stream.packed:
            raise Unreadable(f"the stream {file} has no segments")
        found: list[bytes] = []
        for row in kept:
            try:
                found.append((await SEGMENTS.run(unpack, await self._packed(row))).entries)
            except _LOST as error:
                raise Unreadable(self._lost(row, error)) from error
        return found, stream.packed

    async def ask(self) -> None:
        """Have streams packed that nobody has written to for long."""
        store, after = self._store, ""
        while files := await store.scan(rows.idle, store.clock.now(), after, _BATCH):
            await store.write(rows.ask, files, 1)
            after = files[
                -1
            ]  # each is looked at once, however many there are and whatever becomes of their jobs meanwhile

    async def expire(self) -> None:
        """Delete the segments that are over their time, or whose streams are gone."""
        while True:
            given_up = await self._store.write(rows.drop, self._store.clock.now(), _BATCH)
            if given_up:
                failpoint("logs.segments_dropped")
            for row in given_up:
                await self._run(self._backend.remove, row.blob)
                self._held.pop(row.blob, None)
            await self._store.write(rows.forget, given_up)
            if len(given_up) < _BATCH:
                return

    async def _packed(self, row: Any) -> bytes:
        packed = self._held.get(row.blob)
        if packed is None:
            packed = self._held[row.blob] = await self._run(self._read, row)
            while sum(map(len, self._held.values())) > _HELD:
                self._held.popitem(last=False)
        else:
            self._held.move_to_end(row.blob)
        return packed

    async def _run(self, fn: Callable[..., Any], *arguments: Any) -> Any:
        """Run something on the backend, which is made ready for it when it is first needed."""
        if not self._prepared:
            async with self._preparing:
                if not self._prepared:
                    await SEGMENTS.run(self._backend.prepare)
                    self._prepared = True
        return await SEGMENTS.run(fn, *arguments)

    def _create(self, blob: str, key: bytes, packed: bytes) -> None:
        seal = Seal(key, blob)
        sink = self._backend.create(blob)
        try:
            sink.write([MAGIC, *seal.update(packed), *seal.finish()])
            sink.commit()
        except BaseException:
            sink.discard()
            raise

    def _read(self, row: Any) -> bytes:
        key = open_key(self._sealer, row.key, b"", row.blob)
        source = self._backend.open(row.blob)
        try:
            sealed = source.read(segment_offset(0), segment_count(row.size) * SEALED_SEGMENT)
        finally:
            source.close()
        packed = b"".join(Unseal(key, row.blob, row.size).segments(0, sealed))
        if len(packed) != row.size:
            raise DamagedBlob(f"blob {row.blob} is cut off")
        return packed


async def run(logs: LogStore, job: Job) -> None:
    """The job of a stream that has grown by a segment."""
    await logs.pack(job.payload["file"])
