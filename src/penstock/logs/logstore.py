"""The streams that this process has open, and what it still has to sync and write down of them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import resource
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from penstock.logfiles.restoring import Incomplete
from penstock.logfiles.sealed import DataKey
from penstock.logfiles.segments import Unreadable
from penstock.logfiles.streams import StreamFiles, Unindexed
from penstock.logs import filter_rows, records, segment_records, subscription_rows
from penstock.logs.group_keys import OpenedKeys
from penstock.logs.packing import SEGMENT, Packer
from penstock.logs.readers import Readers, unreadable
from penstock.loops import Loop
from penstock.pools import LOGS
from penstock.store.database import Store
from penstock.store.failpoints import failpoint

_OPEN = 256  # streams at most; each has two files
_SHARE = 16  # of the process's descriptors, one in so many is for a stream
_SYNC_S = 1.0
_EXPIRE_S = 600.0
_COLLECT_S = 3600.0
_ABANDONED_S = 3600.0  # what has no row is left alone for so long after it was written to last
_BATCH = 500  # streams that are forgotten in a transaction
_LOOKED_AT = 50_000  # streams, by name, whose files are known to have what lies in segments

T = TypeVar("T")

log = logging.getLogger("penstock.logs")


class _Held:
    """A stream in memory."""

    def __init__(self, files: StreamFiles) -> None:
        self.files = files
        self.lock = asyncio.Lock()
        self.dirty = False


class LogStore:
    """The files of all streams below one folder."""

    def __init__(self, folder: Path, store: Store, packer: Packer) -> None:
        self._folder = folder
        self._store = store
        self._packer = packer
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._loops: list[Loop] = []
        self._awake = asyncio.Event()
        self._looked_at: set[str] = set()
        self._readers = Readers(packer.segment)
        self.keys = OpenedKeys()
        self.tailed: Counter[str] = Counter()  # sessions of StartLiveTail that are open, by account

    async def start(self) -> None:
        """Begin to sync behind the writers, and to forget what is over its time."""
        self._loops = [
            self._store.loops.start("logs.sync", self._sync, self._until_written),
            self._store.loops.start("logs.expire", self.expire, lambda: self._store.clock.sleep(_EXPIRE_S)),
            self._store.loops.start("logs.collect", self.collect, lambda: self._store.clock.sleep(_COLLECT_S)),
        ]

    async def stop(self) -> None:
        """Sync everything and close."""
        for loop in self._loops:
            await self._store.loops.stop(loop)
        await self._readers.close()
        await self._sync()
        for held in self._held.values():
            held.files.close()
        self._held.clear()

    async def append(
        self, file: str, events: Sequence[tuple[int, str]], now: int, token: str = "", seal: DataKey | None = None
    ) -> None:
        """Append a batch to a stream; when this returns, readers see it and kill -9 does not lose it. See StreamFiles.append."""
        held = self._hold(file)
        async with held.lock:
            await self._indexed(file, held, lambda files: files.append(events, now, token, seal))
            held.dirty = True
        failpoint("logs.appended")
        self._awake.set()

    async def inspect(self, file: str, fn: Callable[[StreamFiles], T]) -> T:
        """Run something short that blocks on a stream's files, such as reading its index. Events are read by `page` and `search`."""
        held = self._hold(file)
        async with held.lock:
            return await self._indexed(file, held, fn)

    async def _indexed(self, file: str, held: _Held, fn: Callable[[StreamFiles], T]) -> T:
        """Run something that blocks on a stream's files, whose index is made anew if it lacks what lies in segments."""
        if await self._behind([file]):
            await self._reindex(file, held)
        try:
            return await LOGS.run(fn, held.files)
        except Unindexed:
            await self._reindex(file, held)
            return await LOGS.run(fn, held.files)

    async def _behind(self, files: Sequence[str]) -> list[str]:
        """Those of some streams whose files lack what lies in segments: another machine has written them, or the files are of an older backup."""
        unknown = [file for file in files if file not in self._looked_at]
        if not unknown:
            return []
        packed = await self._store.read(segment_records.packed, unknown)

        def look() -> tuple[list[str], list[str]]:
            here = [file for file in unknown if self._path(file).exists()]
            return here, [file for file, end in packed.items() if not StreamFiles(self._path(file)).reaches(end)]

        here, behind = await LOGS.run(look)
        if len(self._looked_at) > _LOOKED_AT:
            self._looked_at.clear()
        self._looked_at.update(set(here).difference(behind))
        return behind

    async def _reindex(self, file: str, held: _Held) -> None:
        if not await self._store.read(segment_records.packed, [file]):
            held.files.never_packed = True
            return
        try:
            entries, end = await self._packer.entries(file)
        except Unreadable as error:
            raise unreadable(str(error)) from None
        await LOGS.run(held.files.reindex, entries, end)
        log.warning("logs.index_made_anew", extra={"stream": file})

    async def pack(self, file: str) -> None:
        """Put what a stream has grown by into segments."""
        await self._packer.pack(self.inspect, file)

    async def page(self, file: str, **request: Any) -> dict[str, Any]:
        """A page of a stream. See logfiles.search.page."""
        return await self._ask([file], {"kind": "page", "path": str(self._path(file))} | request)

    async def search(self, streams: Mapping[str, str], **request: Any) -> dict[str, Any]:
        """A page of the events of many streams (name → file) that match a pattern. See logfiles.search.search."""
        paths = {name: str(self._path(file)) for name, file in streams.items()}
        return await self._ask(streams.values(), {"kind": "search", "streams": paths} | request)

    async def grown(self, known: Mapping[str, int], files: Iterable[str]) -> dict[str, int]:
        """The sizes of streams (by file) that are not as large as is known of them; one that has no file yet has none of them."""
        return await LOGS.run(self._grown, dict(known), list(files))

    def _grown(self, known: Mapping[str, int], files: Sequence[str]) -> dict[str, int]:
        sizes = {}
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                sizes[file] = self._path(file).stat().st_size
        return {file: size for file, size in sizes.items() if size != known.get(file, 0)}

    async def tail(self, streams: Sequence[tuple[str, str, str, int]], **request: Any) -> dict[str, Any]:
        """What was appended to streams (group, name, file, offset). See logfiles.search.tail; its `ends` are by file here."""
        paths = {str(self._path(file)): file for _, _, file, _ in streams}
        given = [(group, name, str(self._path(file)), offset) for group, name, file, offset in streams]
        found = await self._ask(paths.values(), {"kind": "tail", "streams": given} | request)
        return found | {"ends": {paths[path]: end for path, end in found["ends"].items()}}

    async def measure(self, streams: Mapping[str, int], **request: Any) -> dict[str, Any]:
        """What filters find in streams (file → offset). See logfiles.measuring; its `ends` are by file here."""
        paths = {str(self._path(file)): file for file in streams}
        given = [(path, streams[file]) for path, file in paths.items()]
        found = await self._ask(streams, {"kind": "measure", "streams": given} | request)
        return found | {"ends": {paths[path]: end for path, end in found["ends"].items()}}

    async def matching(self, streams: Mapping[str, tuple[str, int]], **request: Any) -> dict[str, Any]:
        """Messages of what a pattern finds in streams (file → name, place). See logfiles.sending; its paths are files here."""
        files = {str(self._path(file)): file for file in streams}
        given = [(streams[file][0], path, streams[file][1]) for path, file in files.items()]
        found = await self._ask(streams, {"kind": "match", "streams": given} | request)
        messages = [{**one, "file": files[one["path"]]} for one in found["messages"]]
        return found | {"messages": messages, "ends": {files[path]: end for path, end in found["ends"].items()}}

    async def query(
        self,
        streams: Sequence[tuple[str, str, str, int]],
        progress: Callable[[dict[str, Any]], Awaitable[None]],
        **request: Any,
    ) -> dict[str, Any]:
        """What a query finds in streams (log, name, file, start). See logfiles.queries.running."""
        given = [(log, name, str(self._path(file)), start) for log, name, file, start in streams]
        files = [file for _, _, file, _ in streams]
        asked = {"kind": "query", "streams": given} | request
        return await self._completed(files, asked, functools.partial(self._readers.query, progress=progress))

    async def record(self, log: str, name: str, file: str, offset: int, *, keys: Mapping[str, str]) -> dict[str, Any]:
        """The fields of an event. See logfiles.queries.records."""
        request = {"kind": "record", "log": log, "name": name, "path": str(self._path(file)), "offset": offset}
        return await self._ask([file], request | {"keys": keys})

    async def fields(self, log: str, streams: Mapping[str, str], **request: Any) -> dict[str, Any]:
        """How many events of streams (name → file) have a field. See logfiles.queries.records."""
        given = [(log, name, str(self._path(file))) for name, file in streams.items()]
        return await self._ask(streams.values(), {"kind": "fields", "streams": given} | request)

    async def test(self, pattern: str, messages: Sequence[str]) -> dict[str, Any]:
        """Which of some messages match a pattern. See logfiles.search.test."""
        return await self._readers.ask({"kind": "test", "pattern": pattern, "messages": messages})

    async def _ask(self, files: Iterable[str], request: dict[str, Any]) -> dict[str, Any]:
        return await self._completed(files, request, self._readers.ask)

    async def _completed(
        self, files: Iterable[str], request: dict[str, Any], ask: Callable[..., Awaitable[dict[str, Any]]]
    ) -> dict[str, Any]:
        """Ask the readers. They write no file, so an index that lacks events is completed here, once for each request."""
        files = list(files)
        for file in await self._behind(files):
            await self.inspect(file, StreamFiles.complete)
        try:
            return await ask(request)
        except Incomplete as found:
            paths = set(found.paths)
            lacking = [file for file in files if str(self._path(file)) in paths]
        for file in lacking:
            await self.inspect(file, StreamFiles.complete)
        return await ask({**request, "was_completed": True})

    async def remove(self, files: Sequence[str]) -> None:
        """Delete streams' files."""
        for file in files:
            held = self._hold(file)
            async with held.lock:
                await LOGS.run(held.files.remove)
            self._held.pop(file, None)
            self._looked_at.discard(file)

    async def expire(self) -> None:
        """Forget streams that have got nothing for as long as their group keeps events."""
        while True:
            files = await self._store.write(records.delete_expired, self._store.clock.now(), _BATCH)
            await self.remove(files)
            if len(files) < _BATCH:
                break
        await self._packer.expire()
        await self._packer.ask()

    async def collect(self) -> None:
        """Delete files of streams that have no row: a process died between the one and the other, or wrote to a stream that was deleted."""
        for folder in await LOGS.run(_folders, self._folder):
            found = await LOGS.run(_abandoned, folder, time.time() - _ABANDONED_S)
            for first in range(0, len(found), _BATCH):
                files = found[first : first + _BATCH]
                known = await self._store.scan(records.files_with_streams, files)
                await self.remove([file for file in files if file not in known])

    def _path(self, file: str) -> Path:
        return self._folder / file[:2] / f"{file}.log"

    def _hold(self, file: str) -> _Held:
        held = self._held.get(file)
        if held is None:
            held = self._held[file] = _Held(StreamFiles(self._path(file)))
            self._close_some()
        self._held.move_to_end(file)
        return held

    def _close_some(self) -> None:
        room = _room()
        if len(self._held) <= room:
            return
        for name, held in list(self._held.items())[:-1]:
            if not held.dirty and not held.lock.locked():
                held.files.close()
                del self._held[name]
            if len(self._held) <= room:
                return

    async def _until_written(self) -> None:
        await self._awake.wait()
        await asyncio.sleep(_SYNC_S)
        self._awake.clear()

    def _note(self, conn: sa.Connection, known: Sequence[Mapping[str, Any]]) -> None:
        records.write_down(conn, known)
        files = [one["file"] for one in known]
        filter_rows.ask(conn, filter_rows.filtered(conn, files))
        subscription_rows.ask(conn, subscription_rows.subscribed(conn, files), self._store.clock.now())
        segment_records.ask(conn, files, 2 * SEGMENT)  # the newest stays at hand

    async def _sync(self) -> None:
        """Sync what was written to, then note in the rows what the files hold. What fails is tried again by the next sync."""
        known: dict[_Held, dict[str, Any]] = {}
        failed: OSError | None = None
        for file, held in list(self._held.items()):
            if not held.dirty:
                continue
            async with held.lock:
                held.dirty = False
                try:
                    await LOGS.run(held.files.sync)
                    known[held] = {"file": file} | await LOGS.run(summary, held.files)
                except OSError as error:  # the others' files may lie well
                    held.dirty = True
                    failed = error
        try:
            if known:
                await self._store.write(self._note, list(known.values()))
        except BaseException:
            for held in known:
                held.dirty = True
            raise
        if failed is not None:
            raise failed


def _folders(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []


def _abandoned(folder: Path, before: float) -> list[str]:
    """The streams of a folder none of whose files has been written to since a time, in seconds."""
    newest: dict[str, float] = {}
    for entry in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
            name = entry.name.partition(".")[0]
            newest[name] = max(newest.get(name, 0), entry.stat().st_mtime)
    return [name for name, written in newest.items() if written < before]


def _room() -> int:
    """How many streams may be open, by the limit on descriptors as it is now: serving raises it."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _OPEN if limit == resource.RLIM_INFINITY else max(4, min(_OPEN, limit // _SHARE))


def summary(files: StreamFiles) -> dict[str, Any]:
    """What DescribeLogStreams answers for a stream."""
    known = files.extent()
    if known is None:
        return {"first_event": None, "last_event": None, "last_ingestion": None, "size": 0}
    return {
        "first_event": known.lowest,
        "last_event": known.highest,
        "last_ingestion": known.ingestion,
        "size": known.end,
    }
