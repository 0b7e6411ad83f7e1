"""Blobs: durable, encrypted byte strings without a name, written and read as streams in constant memory.

Hashing, encryption, reading, writing and fsync run on a small pool of threads. A blob belongs to nobody until a row refers
to it: `write` returns only after the bytes are durable, and what is then not referred to is collected after a grace period.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import secrets
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from penstock.blobs.backend import Backend, Sink, Source
from penstock.blobs.blob_keys import KeySealer, context_of, open_key, seal_key
from penstock.blobs.segments import (
    KEY,
    MAGIC,
    SEALED_SEGMENT,
    SEGMENT,
    DamagedBlob,
    Seal,
    Unseal,
    segment_count,
    segment_offset,
)
from penstock.objects.checksums import Algorithm, Digests

BATCH = 8 * SEGMENT  # bytes that one hop to the pool carries
_HASHES = 2  # threads of the pool for contents that are read only to be hashed

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A blob as one that may read it knows it."""

    id: str
    size: int  # plaintext bytes
    key: bytes  # its key, wrapped under the data key (`root`) of what it was written or copied for if that has one, and sealed


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A range of a blob."""

    blob: Blob
    start: int
    length: int
    checksum: str = ""  # of the part that it is, as it is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A durable blob and what was computed on the way."""

    blob: Blob
    digests: Digests


class Blobs:
    """The blobs of this installation."""

    def __init__(self, backend: Backend, sealer: KeySealer, *, threads: int = 4) -> None:
        self.backend = backend
        self._sealer = sealer
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="blobs")
        self.unfinished: set[str] = set()  # written by this process and not yet referred to: never collected
        self._hashing: dict[str, asyncio.Task[str]] = {}  # by content
        self._hashes = asyncio.Semaphore(_HASHES)

    async def run(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run blocking work on the pool."""
        return await asyncio.wrap_future(self._pool.submit(fn, *args, **kwargs))

    async def write(
        self,
        body: AsyncIterable[bytes] | bytes,
        *,
        algorithms: Iterable[Algorithm] = (),
        root: bytes = b"",
        md5: bool = True,
    ) -> Written:
        """Write a new blob and return when it is durable. `root` (32 bytes) is what its key is wrapped under, if it is.

        What the iteration raises goes through, and leaves nothing. The caller commits a row for the blob and then calls
        `settled`, or `discard`.
        """
        blob_id = secrets.token_hex(16)
        pending = _PendingBlob(self.backend, self._sealer, blob_id, Digests(algorithms, md5=md5), root)
        self.unfinished.add(blob_id)
        held: list[bytes] = []
        running: asyncio.Future[None] | None = None
        try:
            async for batch in _batches(body):
                if held:
                    if running is not None:
                        await running
                    running = asyncio.wrap_future(self._pool.submit(pending.absorb, held))
                held = batch
            if running is not None:
                await running
            return await self.run(pending.finish, held)
        except BaseException:
            self._pool.submit(pending.discard)
            if running is not None:
                running.cancel()
            self.unfinished.discard(blob_id)
            raise

    def settled(self, blob: Blob) -> None:
        """The caller's transaction decided about the blob: the collector may look at it from now on."""
        self.unfinished.discard(blob.id)

    async def discard(self, blob: Blob) -> None:
        """Remove a blob that no row refers to."""
        await self.run(self.backend.remove, blob.id)
        self.unfinished.discard(blob.id)

    async def open(self, pieces: Sequence[Piece], *, root: bytes = b"") -> Reader:
        """Open a stream over the pieces, one after the other. `root` is what the keys of all their blobs were wrapped under.

        The first bytes are read (and verified) at once. Raises DamagedBlob; so does the iteration, at the damage.
        """
        reading = _Reading(self.backend, self._sealer, pieces, root)
        first = await self.run(reading.next)
        return Reader(self, reading, first, sum(piece.length for piece in pieces))

    async def keys_for(self, pieces: Sequence[Piece], *, opens: bytes, seals: bytes) -> list[bytes]:
        """The keys of the pieces' blobs for a copy: wrapped under `seals`, where they are wrapped under `opens`. Raises DamagedBlob.

        What reads the copy needs its data key then, and the bytes stay as they are. All are under the newest master key: the pieces may have been
        found long ago, and their own keys been sealed again since.
        """
        if len(pieces) == 1:  # a thread would cost more than the work
            return self._keys_for(pieces, opens, seals)
        return await self.run(self._keys_for, pieces, opens, seals)

    def _keys_for(self, pieces: Sequence[Piece], opens: bytes, seals: bytes) -> list[bytes]:
        if not opens and not seals:
            return [self._renewed(piece.blob) for piece in pieces]
        return [
            seal_key(self._sealer, open_key(self._sealer, blob.key, opens, blob.id), seals, blob.id)
            for blob in (piece.blob for piece in pieces)
        ]

    def _renewed(self, blob: Blob) -> bytes:
        return self._sealer.renewed(blob.key, context_of(blob.id)) if self._sealer.stale(blob.key) else blob.key

    async def sha256(self, content: str, pieces: Sequence[Piece], *, root: bytes = b"") -> str:
        """The SHA-256 (hexadecimal) of a content, which is read for it: once, however many ask at a time."""
        task = self._hashing.get(content)
        if task is None:
            task = self._hashing[content] = asyncio.create_task(self._hash(pieces, root))
            task.add_done_callback(functools.partial(self._was_hashed, content))
        return await asyncio.shield(task)

    def _was_hashed(self, content: str, task: asyncio.Task[str]) -> None:
        del self._hashing[content]
        if not task.cancelled():
            task.exception()  # whoever asked has the error, or has gone

    async def _hash(self, pieces: Sequence[Piece], root: bytes) -> str:
        digest = hashlib.sha256()
        async for chunk in await self.open(pieces, root=root):
            # Contents take turns, chunk by chunk: terabytes, which copied parts make for nothing, keep no small one waiting.
            async with self._hashes:
                await self.run(digest.update, chunk)
        return digest.hexdigest()

    def close(self) -> None:
        """Wait for what is running and stop the threads."""
        self._pool.shutdown(wait=True)


class Reader:
    """A stream of a known length. Iterate it once, or `aclose` it."""

    def __init__(self, blobs: Blobs, reading: _Reading, first: bytes, length: int) -> None:
        self._blobs = blobs
        self._reading = reading
        self._first = first
        self.length = length

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The bytes, in chunks of at most half a megabyte; the next is read while one is used."""
        try:
            chunk, self._first = self._first, b""
            while chunk:
                ahead = self._blobs._pool.submit(self._reading.next)  # noqa: SLF001
                yield chunk
                chunk = await asyncio.wrap_future(ahead)
        finally:
            self._reading.close()

    async def aclose(self) -> None:
        """Let go of the file."""
        self._first = b""
        self._reading.close()

    async def read(self) -> bytes:
        """Everything at once; for callers that know it is small."""
        return b"".join([chunk async for chunk in self])


class _PendingBlob:
    """A blob while it is written: its methods run on pool threads, one at a time."""

    def __init__(self, backend: Backend, sealer: KeySealer, blob: str, digests: Digests, root: bytes) -> None:
        self._backend = backend
        self._sealer = sealer
        self._blob = blob
        self._key = secrets.token_bytes(KEY)
        self._seal = Seal(self._key, blob)
        self._digests = digests
        self._root = root
        self._sink: Sink | None = None
        self._lock = threading.Lock()
        self._dead = False

    def absorb(self, pieces: list[bytes]) -> None:
        with self._lock:
            if not self._dead:
                self._write(pieces, last=False)

    def finish(self, pieces: list[bytes]) -> Written:
        with self._lock:
            sink = self._write(pieces, last=True)
            sink.commit()
            key = seal_key(self._sealer, self._key, self._root, self._blob)
            return Written(blob=Blob(id=self._blob, size=self._digests.size, key=key), digests=self._digests)

    def discard(self) -> None:
        with self._lock:
            self._dead = True
            if self._sink is not None:
                self._sink.discard()

    def _write(self, pieces: list[bytes], *, last: bool) -> Sink:
        sealed: list[bytes] = []
        if self._sink is None:
            self._sink = self._backend.create(self._blob)
            sealed.append(MAGIC)
        for piece in pieces:
            self._digests.update(piece)
            sealed += self._seal.update(piece)
        if last:
            sealed += self._seal.finish()
        self._sink.write(sealed)
        return self._sink


class _Reading:
    """The state of a stream; `next` runs on pool threads, one at a time."""

    def __init__(self, backend: Backend, sealer: KeySealer, pieces: Sequence[Piece], root: bytes) -> None:
        self._backend = backend
        self._sealer = sealer
        self._root = root
        self._pieces = iter(pieces)
        self._source: Source | None = None
        self._unseal: Unseal | None = None
        self._blob: Blob | None = None
        self._at = 0  # next plaintext byte of the piece in hand
        self._stop = 0
        self._lock = threading.Lock()
        self._closed = False

    def next(self) -> bytes:
        """The next chunk; empty at the end."""
        with self._lock:
            try:
                while not self._closed:
                    if self._at < self._stop:
                        chunk = self._read()
                        if self._at == self._stop:
                            self._let_go()
                        return chunk
                    if not self._open_next():
                        break
            except BaseException:
                self._let_go()
                raise
            return b""

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._let_go()

    def __del__(self) -> None:
        self._let_go()

    def _let_go(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None

    def _open_next(self) -> bool:
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._let_go()
        blob = piece.blob
        key = open_key(self._sealer, blob.key, self._root, blob.id)
        with _missing(blob.id):
            self._source = self._backend.open(blob.id)
        self._unseal = Unseal(key, blob.id, blob.size)
        self._blob = blob
        self._at, self._stop = piece.start, piece.start + piece.length
        return True

    def _read(self) -> bytes:
        assert self._source is not None
        assert self._unseal is not None
        assert self._blob is not None
        first = self._at // SEGMENT
        count = min(BATCH // SEGMENT, -(-self._stop // SEGMENT) - first, segment_count(self._blob.size) - first)
        with _missing(self._blob.id):
            sealed = self._source.read(segment_offset(first), count * SEALED_SEGMENT)
        segments = self._unseal.segments(first, sealed)
        if len(segments) != count:
            raise DamagedBlob(f"blob {self._blob.id} ends before segment {first + count}")
        end = min(self._stop, (first + count) * SEGMENT)
        skip, drop = self._at - first * SEGMENT, (first * SEGMENT + sum(map(len, segments))) - end
        if drop:
            segments[-1] = segments[-1][: len(segments[-1]) - drop]
        if skip:
            segments[0] = segments[0][skip:]
        self._at = end
        return segments[0] if len(segments) == 1 else b"".join(segments)


async def _batches(body: AsyncIterable[bytes] | bytes) -> AsyncIterator[list[bytes]]:
    """The body in lists of pieces that make at least BATCH bytes together (the last may be less)."""
    if isinstance(body, bytes | bytearray | memoryview):
        view = memoryview(body)
        for start in range(0, len(view), BATCH):
            yield [bytes(view[start : start + BATCH])]
        return
    batch: list[bytes] = []
    size = 0
    async for piece in body:
        batch.append(piece)
        size += len(piece)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@contextlib.contextmanager
def _missing(blob: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DamagedBlob(f"blob {blob} is missing") from error
