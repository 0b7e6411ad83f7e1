from __future__ import annotations

import asyncio
import hashlib
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.blobs.backend import DiskBackend
from penstock.blobs.segments import SEGMENT, DamagedBlob, stored_size
from penstock.objects.blobs import BATCH, Blobs, Piece, _batches
from penstock.objects.checksums import ALGORITHMS


async def stream(data: bytes, step: int):
    for start in range(0, len(data), step):
        yield data[start : start + step]


def files(backend: DiskBackend) -> list[Path]:
    return [path for path in backend._root.rglob("*") if path.is_file()]


async def everything(blobs: Blobs, blob) -> bytes:
    reader = await blobs.open([Piece(blob=blob, start=0, length=blob.size)])
    return await reader.read()


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ([], []), ([1, 1], [2]), ([BATCH, 1], [BATCH, 1]), ([BATCH - 1, 1, 1], [BATCH, 1]), ([BATCH - 1, 2, 1], [BATCH + 1, 1]),
        ([2 * BATCH, BATCH], [2 * BATCH, BATCH]),
    ],
)  # fmt: skip
async def test_a_body_is_written_in_batches(sizes, batches):
    async def body():
        for size in sizes:
            yield bytes(size)

    assert [sum(map(len, batch)) async for batch in _batches(body())] == batches
    total = sum(sizes)
    at_once = [sum(map(len, batch)) async for batch in _batches(bytes(total))]
    assert at_once == [BATCH] * (total // BATCH) + [total % BATCH] * bool(total % BATCH)


@pytest.mark.parametrize("size", [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, BATCH, BATCH + 1, 3 * BATCH + 17])
async def test_a_blob_comes_back(blobs: Blobs, backend: DiskBackend, size: int) -> None:
    data = os.urandom(size)
    for body in (data, stream(data, 10_007)):
        written = await blobs.write(body, algorithms=[ALGORITHMS["CRC32"]])
        assert written.blob.size == size
        assert written.digests.md5 == hashlib.md5(data).digest()
        assert written.digests.sha256 == hashlib.sha256(data).digest()
        assert await everything(blobs, written.blob) == data
        path = backend._path(written.blob.id)
        assert path.stat().st_size == stored_size(size)
        if size > 100:
            assert data[:50] not in path.read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(size=st.integers(0, 3 * SEGMENT + 100), cuts=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_any_range_can_be_read(blobs: Blobs, size: int, cuts: tuple[float, float]) -> None:
    async def check() -> None:
        data = os.urandom(size)
        blob = (await blobs.write(data)).blob
        start, stop = sorted(int(c * size) for c in cuts)
        reader = await blobs.open([Piece(blob=blob, start=start, length=stop - start)])
        assert reader.length == stop - start
        assert await reader.read() == data[start:stop]

    asyncio.run(check())


async def test_pieces_follow_each_other(blobs: Blobs) -> None:
    datas = [os.urandom(n) for n in (10, 0, 70_000, 1)]
    parts = [(await blobs.write(data)).blob for data in datas]
    pieces = [Piece(blob=blob, start=0, length=blob.size) for blob in parts]
    assert await (await blobs.open(pieces)).read() == b"".join(datas)
    assert await (await blobs.open([])).read() == b""


async def test_a_failing_body_leaves_nothing(blobs: Blobs, backend: DiskBackend) -> None:
    class Broken(Exception):
        pass

    async def body(size: int):
        yield bytes(size)
        raise Broken

    for size in (10, 3 * BATCH):
        with pytest.raises(Broken):
            await blobs.write(body(size))
    await blobs.run(lambda: None)
    await blobs.run(lambda: None)
    assert files(backend) == []
    assert blobs.unfinished == set()


async def test_a_cancelled_writer_leaves_nothing(blobs: Blobs, backend: DiskBackend) -> None:
    began = asyncio.Event()

    async def body():
        for _ in range(4):
            yield bytes(BATCH)
        began.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(blobs.write(body()))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    blobs.close()
    assert files(backend) == []


async def test_damage_is_noticed_on_the_way(blobs: Blobs, backend: DiskBackend) -> None:
    data = os.urandom(2 * BATCH)
    blob = (await blobs.write(data)).blob
    path = backend._path(blob.id)
    stored = bytearray(path.read_bytes())
    stored[-1] ^= 1
    path.write_bytes(stored)
    reader = await blobs.open([Piece(blob=blob, start=0, length=blob.size)])
    got = b""
    with pytest.raises(DamagedBlob):
        async for chunk in reader:
            got += chunk
    assert got == data[:BATCH]
    # A range that does not touch the damage still reads.
    assert await (await blobs.open([Piece(blob=blob, start=5, length=10)])).read() == data[5:15]
    path.write_bytes(stored[: len(stored) // 2])
    with pytest.raises(DamagedBlob):
        await everything(blobs, blob)
    path.unlink()
    with pytest.raises(DamagedBlob, match="missing"):
        await everything(blobs, blob)


async def test_a_reader_keeps_a_removed_blob(blobs: Blobs) -> None:
    data = os.urandom(3 * BATCH)
    blob = (await blobs.write(data)).blob
    reader = await blobs.open([Piece(blob=blob, start=0, length=blob.size)])
    await blobs.discard(blob)
    assert await reader.read() == data


async def test_a_reader_that_stops_early_lets_go(blobs: Blobs) -> None:
    blob = (await blobs.write(bytes(4 * BATCH))).blob
    before = len(os.listdir("/proc/self/fd"))
    for stop in ("close", "break", "drop"):
        reader = await blobs.open([Piece(blob=blob, start=0, length=blob.size)])
        if stop == "close":
            await reader.aclose()
        elif stop == "break":
            chunks = aiter(reader)
            await anext(chunks)
            await chunks.aclose()
        else:
            del reader
    deadline = time.monotonic() + 60
    while len(os.listdir("/proc/self/fd")) > before:  # a pool thread may still be letting go of its last task
        assert time.monotonic() < deadline
        await blobs.run(lambda: None)


async def test_a_small_content_is_hashed_beside_endless_ones(blobs: Blobs) -> None:
    data = os.urandom(BATCH)
    piece = Piece(blob=(await blobs.write(data)).blob, start=0, length=len(data))
    for number in range(4):
        asyncio.ensure_future(blobs.sha256(f"endless-{number}", [piece] * 1_000_000))  # noqa: RUF006 - ended below
    await asyncio.sleep(0)
    endless = list(blobs._hashing.values())
    try:
        async with asyncio.timeout(60):
            assert await blobs.sha256("small", [piece]) == hashlib.sha256(data).hexdigest()
        assert not any(task.done() for task in endless)
    finally:
        for task in endless:
            task.cancel()
        await asyncio.wait(endless)
