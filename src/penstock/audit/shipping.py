"""Lines of this machine's trails go to the database in blocks.

A process writes its trail to a file (`penstock.trail`), which is what survives kill -9. Here its lines are moved on: those of the own trail
when a block is full or a minute old, those that a process left behind when it ended, completely.
"""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import sqlalchemy as sa

from penstock import durable, metrics
from penstock.application import App
from penstock.audit import api_calls, records, trail_rows
from penstock.audit.attributes import marks_of
from penstock.audit.packing import pack
from penstock.audit.records import Block, Kept
from penstock.audit.settings import AuditSettings
from penstock.loops import Loop
from penstock.pools import FILES
from penstock.store.failpoints import failpoint
from penstock.trail import END, SUFFIX

log = logging.getLogger("penstock.audit")

WAITING = metrics.gauge(
    "penstock_audit_waiting_records", "Records of this process that are in no block of the database yet."
)
LAG = metrics.gauge(
    "penstock_audit_lag_seconds", "For how long the oldest of them has waited; it goes to the database after a minute."
)

LINES = 256  # of a block
_BYTES = 1 << 20  # of a block: when its lines have them, it is full
_BLOCKS = 16  # of a transaction
_READ = 4 << 20  # bytes at a time
_PIECE = 128 << 10  # bytes at a time, which stay in the processor's cache
_OLDEST_MS = 60_000  # how long a line may wait for its block to become full
_EVERY = 2.0  # seconds
_REMOVED = 100  # blocks at a time
_REMOVE_EVERY_MS = 3_600_000
_DAY_MS = 86_400_000


@dataclass(slots=True)
class _Place:
    """How far a file was moved on."""

    offset: int = 0  # bytes
    lines: int = 0
    waiting_since: int = 0  # ms; 0: nothing waits
    seen: int = 0  # bytes up to which was looked for what somebody wants at once


class Shipping:
    """Moves lines on, for as long as it is started."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._trail = app.records.trail
        self._places: dict[str, _Place] = {}
        self._writer = f"{socket.gethostname()}:{self._trail.folder}"
        self._next_removal = 0  # ms
        self._loop: Loop | None = None

    async def start(self) -> None:
        """Begin."""
        clock = self.app.clock
        self._loop = self.app.store.loops.start("audit.ship", self.turn, lambda: clock.sleep(_EVERY))

    async def stop(self) -> None:
        """End. What was not moved on is in the file, and the next process moves it."""
        await self.app.store.loops.stop(self._loop)

    async def turn(self) -> None:
        """Move on what has to be, and remove what is too old."""
        await self._ship_own()
        for path in await FILES.run(self._left_behind):
            await self._adopt(path)
        now = self.app.clock.now()
        if now < self._next_removal:
            return
        before, self._next_removal = (
            now - self.app.settings.of(AuditSettings).keep_days * _DAY_MS,
            now + _REMOVE_EVERY_MS,
        )
        while await self.app.store.write(records.remove, self.app.sealer, before, limit=_REMOVED) == _REMOVED:
            pass

    async def tail(self) -> list[bytes]:
        """The lines of this process that are in no block yet."""
        self._trail.write()
        chain, path = self._trail.chain, self._trail.path
        if path is None:
            return []
        place = self._places.get(chain, _Place())
        lines: list[bytes] = []
        offset = place.offset
        while read := await FILES.run(_read, path, offset):
            lines += read
            offset += sum(map(len, read)) + len(read)
        return lines

    async def _ship_own(self) -> None:
        chain, path = self._trail.chain, self._trail.path
        if path is None:
            return
        place = self._places.get(chain)
        if place is None:
            await self._begin(chain)
            place = self._places[chain] = _Place()
        now = self.app.clock.now()
        while waiting := self._trail.lines - place.lines if self._trail.chain == chain else 0:
            place.waiting_since = place.waiting_since or now
            _show(waiting, now - place.waiting_since)
            if (
                waiting < LINES
                and now - place.waiting_since < _OLDEST_MS
                and not await self._wanted_at_once(path, place)
            ):
                return
            moved = await self._ship(chain, path, place, partly=waiting < LINES)
            if not moved:
                return
        place.waiting_since = 0
        _show(0, 0)

    async def _wanted_at_once(self, path: Path, place: _Place) -> bool:
        """Whether somebody wants a call among the lines that came since this was asked last."""
        start, size = max(place.seen, place.offset), await FILES.run(_size, path)
        if size <= start:
            return False
        trails = await self.app.store.read(trail_rows.with_periods)
        if not trails:
            place.seen = size
            return False
        lines = await FILES.run(_read, path, start)
        place.seen = start + sum(map(len, lines)) + len(lines)
        found = await FILES.run(api_calls.of_lines, lines, trails)
        return bool(found) and await self.app.store.read(api_calls.any_wanted, self.app.store.subscribers, found)

    async def _begin(self, chain: str) -> Kept:
        app = self.app
        return await app.store.write(records.begin, app.sealer, chain, writer=self._writer, now=app.clock.now())

    async def _ship(self, chain: str, path: Path, place: _Place, *, partly: bool, state: str = records.OPEN) -> int:
        """Move the next blocks of a file on; how many lines."""
        made, size = await FILES.run(_blocks, path, place.offset, place.lines, partly=partly)
        if not made:
            return 0
        before = place.lines
        trails = await self.app.store.read(trail_rows.with_periods)
        calls = await FILES.run(api_calls.of_blocks, made, trails) if trails else []
        kept = await self.app.store.write(self._add, chain, made, state, calls)
        failpoint("audit.shipped")
        place.waiting_since = 0
        if kept == before + sum(block.lines for block in made):
            place.offset += size
            place.lines = kept
        else:  # an earlier try was done, and its answer lost
            await FILES.run(_skip, path, place, kept)
        return place.lines - before

    def _add(
        self,
        conn: sa.Connection,
        chain: str,
        made: list[Block],
        state: str,
        calls: Sequence[api_calls.Recorded] = (),
    ) -> int:
        """Add blocks and the events of their calls, unless the database has what they begin with; how many lines of the chain it has."""
        kept = records.find(conn, chain)
        assert kept is not None
        if made and made[0].first != kept.chain.lines:
            return kept.chain.lines
        api_calls.emit_wanted(conn, calls)
        return records.add(conn, self.app.sealer, kept, made, state=state).chain.lines

    def _left_behind(self) -> list[Path]:
        """Files that are not this process's own present one."""
        own = self._trail.path
        # One that is empty is about to be locked by who made it.
        return sorted(path for path in self._trail.folder.glob(f"*{SUFFIX}") if path != own and _size(path))

    async def _adopt(self, path: Path) -> None:
        """Move on what an ended process left, and remove its file."""
        chain = path.name.removesuffix(SUFFIX)
        with _locked(path) as descriptor:
            if descriptor is None:
                return
            await FILES.run(durable.cut_lines, descriptor)
            kept = await self._begin(chain)
            place = _Place()
            await FILES.run(_skip, path, place, kept.chain.lines)
            while await self._ship(chain, path, place, partly=True):
                pass
            ended = await FILES.run(_ended, path)
            state = records.CLOSED if ended else records.BROKEN
            await self.app.store.write(self._add, chain, [], state)
            if not ended:
                log.warning("audit.broken_off", extra={"chain": chain, "lines": place.lines})
            failpoint("audit.adopted")
            await FILES.run(path.unlink, missing_ok=True)
            self._places.pop(chain, None)


def _show(waiting: int, milliseconds: int) -> None:
    WAITING.set(waiting)
    LAG.set(milliseconds / 1000)


@contextmanager
def _locked(path: Path) -> Iterator[int | None]:
    """Hold a file's lock; its descriptor, or None when its process lives."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield None
    else:
        yield descriptor
    finally:
        os.close(descriptor)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _read(path: Path, offset: int) -> list[bytes]:
    """Complete lines from an offset on, without their ends. A half one at the end is not there yet, or never will be."""
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read(_READ)
    return durable.complete_lines(content).split(b"\n")[:-1]


def _skip(path: Path, place: _Place, lines: int) -> None:
    """Go to the line with a number."""
    with path.open("rb") as file:
        file.seek(place.offset)
        while place.lines < lines and (line := file.readline()).endswith(b"\n"):
            place.offset += len(line)
            place.lines += 1


def _ended(path: Path) -> bool:
    """Whether a process has ended its trail itself."""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 256))
        return file.read().endswith(b" " + END + b"\n")


def _blocks(path: Path, offset: int, first: int, *, partly: bool) -> tuple[list[Block], int]:
    """The next blocks of a file from an offset on, whose line is number `first`, and how many bytes they are.

    The last one may be one that is not full if `partly`. What the database has of a file, no power failure takes from it.
    """
    made: list[Block] = []
    size = 0
    with path.open("rb") as file:
        os.fsync(file.fileno())
        file.seek(offset)
        for lines in itertools.islice(_portions(file, partly=partly), _BLOCKS):
            made.append(block_of(lines, first))
            first += len(lines)
            size += sum(map(len, lines)) + len(lines)
    return made, size


def _portions(file: BinaryIO, *, partly: bool) -> Iterator[list[bytes]]:
    """The lines of one block after the other, without their ends."""
    waiting: list[bytes] = []
    while piece := file.read(_PIECE):
        piece += file.readline()
        complete = durable.complete_lines(piece)
        waiting += complete.split(b"\n")[:-1]
        if len(complete) < len(piece):  # half a line is not there yet, or never will be
            break
        while len(waiting) >= LINES:
            yield waiting[:LINES]
            del waiting[:LINES]
        if sum(map(len, waiting)) >= _BYTES:
            yield waiting
            waiting = []
    while partly and waiting:
        yield waiting[:LINES]
        del waiting[:LINES]


def block_of(lines: list[bytes], first: int) -> Block:
    """A block of lines, of which `first` is the number of the first one."""
    packed = pack(lines)
    return Block(
        first=first,
        lines=len(lines),
        first_at=min(packed.times),
        last_at=max(packed.times),
        head=packed.hash,
        marks=marks_of(packed.records),
        content=packed.content,
    )
