"""Segments: what a stream has grown by lies compressed elsewhere, and readers see one stream."""

from __future__ import annotations

import asyncio
import errno
import os
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from penstock_logs import log_store, segments_of

from penstock.blobs.backend import DiskBackend
from penstock.logfiles import emptying
from penstock.logfiles.segments import Segment, Unreadable, pack, unpack
from penstock.logfiles.streams import StreamFiles
from penstock.logs import packing, records, segment_records
from penstock.logs.logstore import LogStore
from penstock.store.clock import ManualClock
from penstock.store.database import Store
from penstock.wire.errors import Unavailable

FILE = "5" * 32
PLACE = {"account": "111111111111", "region": "us-east-1"}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "SEGMENT", 10_000)
    monkeypatch.setattr("penstock.logs.logstore.SEGMENT", 10_000)
    # The clock of these tests is ahead, and nothing is believed to have come in the future.
    monkeypatch.setattr("penstock.logfiles.streams.time", SimpleNamespace(time_ns=lambda: 2 * 10**18))


def fill(conn: sa.Connection, days: int | None = None) -> None:
    group = {
        **PLACE,
        "name": "g",
        "created": 0,
        "retention": days,
        "group_class": "STANDARD",
        "protected": False,
        "tags": {},
    }
    records.insert_group(conn, group)
    records.insert_stream(conn, {**PLACE, "group": "g", "name": "s", "file": FILE, "created": 0, "size": 0})


class Stream:
    """A stream and what was written to it."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder, store
        self.logs: LogStore = log_store(folder, store)
        self.written: list[tuple[int, str]] = []

    async def write(self, batches: int, size: int = 1_000) -> None:
        """Append batches of two lines, each synced."""
        for _ in range(batches):
            n = len(self.written)
            now = self.store.clock.now()
            events = [(now + n + one, f"{n + one} ".ljust(size // 2, "x")) for one in range(2)]
            await self.logs.append(FILE, events, now + n)
            self.written += events
            await self.logs._sync()

    async def read(self, direction: str = "f", position: Any = None, limit: int = 10_000) -> list[tuple[int, str]]:
        found = await self.logs.page(
            FILE, direction=direction, position=position, start=0, end=None, limit=limit, keys={}
        )
        return [(one["timestamp"], one["message"]) for one in orjson.loads(orjson.dumps(found["events"]))]

    async def rows(self) -> list[Any]:
        return await self.store.read(segment_records.of_stream, FILE)

    async def again(self) -> None:
        """As another process has it."""
        await self.logs.stop()
        self.logs = log_store(self.folder, self.store)

    @property
    def path(self) -> Path:
        return self.logs._path(FILE)


@pytest.fixture
async def stream(any_store: Store, tmp_path: Path):
    await any_store.write(fill)
    made = Stream(tmp_path, any_store)
    yield made
    await made.logs.stop()


def emptied(path: Path, end: int) -> bool:
    with path.open("rb") as file:
        return not any(file.read(end))


async def test_a_stream_reads_the_same_whatever_is_packed_of_it(stream: Stream):
    await stream.write(45)
    before = [await stream.read(), await stream.read("b", None, 7)]
    token = [stream.written[29][0], stream.path.stat().st_size // 3]
    behind = await stream.read("f", token, 10)
    size = stream.path.stat().st_size
    await stream.logs.pack(FILE)
    rows = await stream.rows()
    assert len(rows) == 4
    assert [row.offset for row in rows] == [0, *(row.end for row in rows[:-1])]
    assert emptied(stream.path, rows[-1].end)
    assert stream.path.stat().st_size == size
    assert stream.path.stat().st_blocks * 512 < size // 2
    assert sum(row.size for row in rows) < rows[-1].end // 5
    assert [await stream.read(), await stream.read("b", None, 7)] == before
    assert before[0] == stream.written
    assert await stream.read("f", token, 10) == behind
    # What comes later is behind it, for this process and for the next one.
    await stream.write(12)
    await stream.again()
    await stream.write(3)
    await stream.logs.pack(FILE)
    assert len(await stream.rows()) == 6
    assert await stream.read() == stream.written


async def test_all_of_a_stream_is_packed_when_nobody_writes_to_it(
    any_store: Store, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(segment_records, "_LEAST", 5_000)
    await any_store.write(fill)
    stream = Stream(tmp_path, any_store)
    try:
        await stream.write(15)
        await stream.logs.pack(FILE)
        size = stream.path.stat().st_size
        assert [row.end < size for row in await stream.rows()] == [True]
        await stream.logs.expire()
        assert await any_store.read(asked) == []
        clock.advance(3_700_000)
        await stream.logs.expire()
        await stream.logs.expire()
        assert await any_store.read(asked) == [FILE]
        await stream.logs.pack(FILE)
        assert [row.end for row in await stream.rows()][-1] == size
        assert emptied(stream.path, size)
        assert await stream.read() == stream.written
        # A writer that comes after all, in this process or another, appends behind it.
        await stream.write(1)
        await stream.again()
        await stream.write(1)
        assert await stream.read() == stream.written
    finally:
        await stream.logs.stop()


def asked(conn: sa.Connection) -> list[Any]:
    jobs = sa.table("jobs", sa.column("kind"), sa.column("dedup"))
    return list(conn.execute(sa.select(jobs.c.dedup).where(jobs.c.kind == segment_records.PACK)).scalars())


async def test_the_job_is_asked_for_when_there_is_enough(stream: Stream):
    await stream.write(15)
    assert await stream.store.read(asked) == []
    await stream.write(10)
    assert await stream.store.read(asked) == [FILE]


@pytest.mark.parametrize("where", ["segment", "file"])
async def test_bytes_that_are_not_those_that_were_written(stream: Stream, where: str):
    await stream.write(25)
    if where == "file":  # nothing is packed that is not sound, and the file keeps it
        with stream.path.open("r+b") as file:
            file.seek(5_000)
            file.write(b"!")
        with pytest.raises(OSError, match="its bytes are not those that were written") as caught:
            await stream.logs.pack(FILE)
        assert caught.value.errno == errno.EIO
        assert await stream.rows() == []
        return
    await stream.logs.pack(FILE)
    first, second = await stream.rows()
    blob = segments_of(stream.folder) / second.blob[:2] / second.blob
    content = bytearray(blob.read_bytes())
    content[100] ^= 1
    blob.write_bytes(content)
    await stream.again()
    with pytest.raises(Unavailable, match=f"the segment at the place {second.offset} of the stream"):
        await stream.read()
    blob.unlink()
    with pytest.raises(Unavailable, match="cannot be read"):
        await stream.read()


@pytest.mark.parametrize("how", ["changed", "gone"])
async def test_who_writes_is_told_to_come_again_when_an_index_cannot_be_made_anew(stream: Stream, how: str):
    """The index is lost, and so is a segment that would give it back: what is written must not begin a new stream over the old one."""
    await stream.write(25)
    await stream.logs.pack(FILE)
    row = (await stream.rows())[0]
    blob = segments_of(stream.folder) / row.blob[:2] / row.blob
    content = blob.read_bytes()
    if how == "gone":
        blob.unlink()
    else:
        blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    await stream.again()
    stream.path.with_suffix(".index").unlink()
    before = list(stream.written)
    with pytest.raises(Unavailable, match="cannot be read"):
        await stream.write(1)
    stream.written = before
    blob.write_bytes(content)  # it is put back
    await stream.write(2)
    assert await stream.read() == stream.written


async def test_a_segment_goes_with_its_time_and_with_its_stream(any_store: Store, clock: ManualClock, tmp_path: Path):
    await any_store.write(fill, days=1)
    stream = Stream(tmp_path, any_store)
    try:
        await stream.write(25)
        clock.advance(86_400_000 * 2)
        late = len(stream.written)
        await stream.write(25)
        await stream.logs.pack(FILE)
        before = await stream.rows()
        await stream.logs.expire()
        left = await stream.rows()
        assert [row.offset for row in left] == [row.offset for row in before if row.highest >= stream.written[late][0]]
        assert len(_blobs(tmp_path)) == len(left) < len(before)
        found = await stream.read()
        assert found == stream.written[-len(found) :]
        assert len(stream.written) - late <= len(found) < len(stream.written)
        # The index is lost afterwards: it begins with what is left.
        await stream.again()
        stream.logs._path(FILE).with_suffix(".index").unlink()
        assert await stream.read() == found
        await stream.write(2)
        assert (await stream.read())[-4:] == stream.written[-4:]
        await any_store.write(records.delete_stream, *PLACE.values(), "g", "s")
        await stream.logs.expire()
        assert (await stream.rows(), _blobs(tmp_path)) == ([], [])
    finally:
        await stream.logs.stop()


def _blobs(folder: Path) -> list[Path]:
    return [path for path in segments_of(folder).rglob("*") if path.is_file()]


@pytest.mark.parametrize("lost", ["index", "half of the index", "both", "how far it is packed", "all but the events"])
async def test_a_lost_index_is_made_anew_from_the_segments(stream: Stream, lost: str):
    await stream.write(33)
    await stream.logs.pack(FILE)
    packed = (await stream.rows())[-1].end
    kept = (
        stream.written
        if lost != "both"
        else [one for n, one in enumerate(stream.written) if n < _events_in(packed, stream)]
    )
    index = stream.path.with_suffix(".index")
    await stream.again()
    if lost in ("how far it is packed", "all but the events"):
        stream.path.with_suffix(".packed").unlink()
    if lost == "half of the index":
        os.truncate(index, index.stat().st_size // 144 * 72)
    elif lost != "how far it is packed":
        index.unlink()
    if lost == "both":
        stream.path.unlink()  # as on another machine, which has none of the files
        stream.path.with_suffix(".packed").unlink()
    assert await stream.read() == kept
    stream.written = list(kept)
    await stream.write(4)
    assert await stream.read() == stream.written
    await stream.again()
    await stream.logs.pack(FILE)
    assert await stream.read() == stream.written


def _events_in(end: int, stream: Stream) -> int:
    return 2 * sum(batch.end <= end for batch in StreamFiles(stream.path).batches())


async def test_without_holes_nothing_is_lost(stream: Stream, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(emptying, "empty", lambda *_: False)
    await stream.write(25)
    await stream.logs.pack(FILE)
    assert len(await stream.rows()) == 2
    assert not emptied(stream.path, 100)
    assert await stream.read() == stream.written


def test_what_is_no_segment_is_refused():
    segment = Segment(100, b"e" * 72, random.Random(5).randbytes(300))
    whole = pack(segment, 1)
    assert unpack(whole) == segment
    for bad in (
        b"",
        whole[:-1],
        whole[:40],
        b"x" + whole[1:],
        whole[:30] + b"\xff" + whole[31:],
        whole[:20] + b"\0" + whole[21:],
    ):
        if bad != whole:
            with pytest.raises(Unreadable):
                unpack(bad)


def test_a_segment_of_too_many_bytes_is_refused():
    import zstandard

    bomb = zstandard.ZstdCompressor().compress(bytes(65 << 20))
    with pytest.raises(Unreadable):
        unpack(b"PENLOGS1" + bytes(24) + bomb)


def test_a_backend_prepares_only_where_there_are_segments(tmp_path: Path):
    DiskBackend(tmp_path / "segments")
    assert not (tmp_path / "segments").exists()


async def test_what_a_power_failure_left_of_a_new_stream_is_not_taken_for_a_segment(stream: Stream):
    await stream.write(1)
    await stream.again()
    with stream.path.open("r+b") as file:
        file.write(bytes(stream.path.stat().st_size))
    assert await stream.read() == []
    stream.written = []
    await stream.write(1)
    assert await stream.read() == stream.written


@pytest.mark.parametrize("seed", range(2))
async def test_two_processes_append_pack_and_read_at_once(any_store: Store, tmp_path: Path, seed: int):
    """Nothing is lost, doubled or out of order, whoever packs while others write and read."""
    rng = random.Random(seed)
    await any_store.write(fill)
    stores = [log_store(tmp_path, any_store), log_store(tmp_path, any_store)]
    written: dict[int, list[str]] = {0: [], 1: []}
    begun = any_store.clock.now()

    async def write(who: int) -> None:
        for n in range(60):
            lines = [f"{who} {n} {one} ".ljust(rng.randrange(20, 600), "x") for one in range(rng.randrange(1, 4))]
            await stores[who].append(FILE, [(begun, line) for line in lines], begun + n)
            written[who] += lines
            if rng.random() < 0.2:
                await stores[who]._sync()
            await asyncio.sleep(0)

    async def pack(who: int) -> None:
        for _ in range(15):
            await stores[who].pack(FILE)
            await asyncio.sleep(0)

    async def read(who: int) -> list[str]:
        found = await stores[who].page(FILE, direction="f", position=None, start=0, end=None, limit=10_000, keys={})
        return [one["message"] for one in orjson.loads(orjson.dumps(found["events"]))]

    async def follow(who: int) -> None:
        before: list[str] = []
        for _ in range(6):
            found = await read(who)
            assert found[: len(before)] == before, "what was read once stays where it was"
            before = found

    try:
        await asyncio.gather(write(0), write(1), pack(0), pack(1), follow(0), follow(1))
        for store in stores:
            await store._sync()
            await store.pack(FILE)
        for who in (0, 1):
            found = await read(who)
            assert sorted(found) == sorted(written[0] + written[1])
            for writer, lines in written.items():
                assert [line for line in found if line.startswith(f"{writer} ")] == lines
        rows = await any_store.read(segment_records.of_stream, FILE)
        assert len(rows) >= 3
        assert [row.offset for row in rows] == [0, *(row.end for row in rows[:-1])]
    finally:
        for store in stores:
            await store.stop()


@pytest.mark.parametrize("older", ["all", "events"])
async def test_files_that_are_older_than_the_database_lose_nothing_that_comes_later(stream: Stream, older: str):
    await stream.write(12)
    await stream.again()
    files = [stream.path, *([stream.path.with_suffix(".index")] if older == "all" else [])]
    backup = {path: path.read_bytes() for path in files}
    await stream.write(1, 1_333)  # where a segment ends, no batch of those that come after the restore does
    await stream.write(20)
    await stream.logs.pack(FILE)
    kept = stream.written[: _events_in((await stream.rows())[-1].end, stream)]
    await stream.logs.stop()
    for path, content in backup.items():
        path.write_bytes(content)
    if older == "all":
        stream.path.with_suffix(".packed").unlink()
    stream.logs = log_store(stream.folder, stream.store)
    stream.written = list(kept)
    assert await stream.read() == kept
    await stream.write(3)
    await stream.logs.pack(FILE)
    assert await stream.read() == stream.written
    await stream.again()
    await stream.write(15)
    await stream.logs.pack(FILE)
    assert await stream.read() == stream.written


async def test_to_make_an_index_anew_takes_no_more_memory_than_a_segment(stream: Stream):
    await stream.write(45)
    await stream.logs.pack(FILE)
    entries, end = await stream.logs._packer.entries(FILE)
    assert end == (await stream.rows())[-1].end
    assert sum(map(len, entries)) < end // 10


async def test_each_of_many_idle_streams_is_asked_for_in_one_pass(any_store: Store, tmp_path: Path):
    files = [f"{n:032x}" for n in range(250)]
    most = {"created": 0, "size": 20_000, "last_ingestion": 1}

    def fill_many(conn: sa.Connection) -> None:
        fill(conn)
        conn.execute(
            records.streams.insert(), [{**PLACE, "group": "g", "name": file, "file": file, **most} for file in files]
        )

    await any_store.write(fill_many)
    logs = log_store(tmp_path, any_store)
    statements: list[str] = []
    scan = any_store.scan

    async def counted(fn: Any, *arguments: Any) -> Any:
        statements.append(fn.__name__)
        return await scan(fn, *arguments)

    any_store.scan = counted  # pyright: ignore[reportAttributeAccessIssue]
    try:
        await logs._packer.ask()
    finally:
        any_store.scan = scan  # pyright: ignore[reportAttributeAccessIssue]
        await logs.stop()
    assert sorted(await any_store.read(asked)) == files
    assert statements == ["idle"] * 4
