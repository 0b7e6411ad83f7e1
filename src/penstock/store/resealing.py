"""What lies sealed under an older master key is sealed again under the newest, while everything goes on.

Each process looks for new keys in its key file every second. While there is more than one key, processes that work look for values under
others than the newest and seal them again, a bounded batch in each transaction, and look again now and then for what another process
has sealed before it had the key; seldom, when all others are retired. A batch is committed or it is not: nothing has to be remembered of where a process stopped.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from penstock import durable
from penstock.loops import Loop
from penstock.pools import FILES
from penstock.store.database import Store
from penstock.store.failpoints import failpoint
from penstock.store.keyholders import Holding
from penstock.store.masterkeys import KEY_ID_BYTES, MasterKey, MasterKeyError
from penstock.store.schema import metadata
from penstock.store.sealing import Sealer, SealError, key_id_of

_BATCH = 200  # rows of a transaction
_REST_SECONDS = 1.0  # between two looks at the key file
_AGAIN_MS = 30_000  # between two looks for what is under an older key, while there is one
_SELDOM_MS = 3_600_000  # and while there are retired ones: somebody may have been stopped, and only now writes what it had sealed

_log = logging.getLogger("penstock.sealing")


def sealed_columns() -> list[sa.Column[Any]]:
    """Every column with sealed values of the tables that are declared, in a fixed order."""
    return [column for table in metadata.sorted_tables for column in table.columns if "sealed" in column.info]


def key_of(column: sa.Column[Any]) -> sa.ColumnElement[bytes]:
    """The id of the master key that each value of a column is under."""
    return sa.func.substr(column, 2, KEY_ID_BYTES, type_=sa.LargeBinary)


def count(conn: sa.Connection) -> dict[str, Counter[bytes]]:
    """How many values of each column (`table.column`) are under which master key, by its id."""
    found = {}
    for column in sealed_columns():
        key = key_of(column)
        rows = conn.execute(sa.select(key, sa.func.count()).select_from(column.table).group_by(key))
        found[f"{column.table.name}.{column.name}"] = Counter({bytes(under): number for under, number in rows})
    return found


def _any_stale(conn: sa.Connection, column: sa.Column[Any], newest: bytes) -> bool:
    return conn.execute(sa.select(sa.literal(1)).where(key_of(column) != newest).limit(1)).first() is not None


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A file of this machine whose content is sealed."""

    path: Path
    context: str

    def key_id(self) -> bytes | None:
        """The id of the master key that it is under; None without a file."""
        try:
            return key_id_of(self.path.read_bytes())
        except FileNotFoundError:
            return None

    def renew(self, sealer: Sealer) -> None:
        """Seal it again, where it is under an older key. Other processes may be about to do the same."""
        if self.key_id() in (None, sealer.newest):
            return
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            if self.key_id() not in (None, sealer.newest):
                durable.write(self.path, sealer.renewed(self.path.read_bytes(), self.context))
        finally:
            os.close(folder)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What became of a batch of rows."""

    last: tuple[Any, ...] | None  # key of the last row; None when there are no more
    renewed: int
    closed: int  # values that do not open: they were damaged, or their key is gone


class Resealer:
    """Seals again, for as long as it is started."""

    def __init__(self, store: Store, sealer: Sealer, *, works: bool, files: Sequence[SealedFile] = ()) -> None:
        """`works` is whether this process also looks through the database."""
        self._store = store
        self._sealer = sealer
        self._works = works
        self._files = tuple(files)
        self._holding = Holding(store, sealer)
        self._loop: Loop | None = None
        self._done_for: tuple[MasterKey, ...] = ()  # the keys when everything was last looked through
        self._done_at = 0
        self._unreadable = False

    async def start(self) -> None:
        """Begin."""
        clock = self._store.clock
        self._loop = self._store.loops.start("store.reseal", self.turn, lambda: clock.sleep(_REST_SECONDS))

    async def stop(self) -> None:
        """End."""
        await self._store.loops.stop(self._loop)
        await self._holding.end()

    async def turn(self) -> None:
        """Look for new keys, and seal again what is under older ones."""
        await self._reload()
        await self._holding.say()
        keys = self._sealer.keys
        if len(keys) == 1:
            return
        now = self._store.clock.now()
        if self._done_for == keys and now - self._done_at < (_AGAIN_MS if self._sealer.changing else _SELDOM_MS):
            return
        for file in self._files:
            await FILES.run(file.renew, self._sealer)
        if self._works:
            await self.renew_all()
        self._done_for, self._done_at = keys, now

    async def renew_all(self) -> None:
        """Look through the database once, and seal again what is not under the newest key."""
        found: Counter[str] = Counter()
        for column in sealed_columns():
            name, closed = f"{column.table.name}.{column.name}", 0
            # A transaction that only reads keeps nobody waiting while it looks at all rows.
            last: tuple[Any, ...] | None = (
                () if await self._store.scan(_any_stale, column, self._sealer.newest) else None
            )
            while last is not None:
                batch = await self._store.write(self._renew, column, last)
                failpoint("sealing.batch_committed")
                last, closed = batch.last, closed + batch.closed
                found[name] += batch.renewed
            if closed:
                _log.error("sealing.values_that_do_not_open", extra={"column": name, "values": closed})
        if found.total():
            _log.info("sealing.sealed_again", extra={"values": dict(+found), "key": self._sealer.newest.hex()})

    def _renew(self, conn: sa.Connection, column: sa.Column[Any], after: tuple[Any, ...]) -> _Batch:
        table, newest = column.table, self._sealer.newest
        key = tuple(table.primary_key.columns)
        stale = sa.select(table).where(key_of(column) != newest).order_by(*key).limit(_BATCH)
        if after:
            stale = stale.where(sa.tuple_(*key) > sa.tuple_(*map(sa.literal, after, (one.type for one in key))))
        # Whoever holds a row changes it, perhaps for long; the next look finds it.
        rows = conn.execute(stale.with_for_update(skip_locked=True)).all()
        renewed = closed = 0
        for row in rows:
            this = sa.and_(*(one == getattr(row, one.key) for one in key))
            try:
                value = self._sealer.renewed(getattr(row, column.key), column.info["sealed"](row))
            except SealError:
                closed += 1
                continue
            conn.execute(table.update().where(this).values({column: value}))
            renewed += 1
        if rows:
            failpoint("sealing.batch")
        last = tuple(getattr(rows[-1], one.key) for one in key) if rows else None
        return _Batch(last, renewed, closed)

    async def _reload(self) -> None:
        """Read the key file anew. While it cannot be read, the keys that are known stay."""
        try:
            changed = await FILES.run(self._sealer.look)
        except MasterKeyError as error:
            if not self._unreadable:
                _log.warning("sealing.key_file_unreadable", extra={"error": str(error)})
            self._unreadable = True
            return
        self._unreadable = False
        if changed:
            _log.info("sealing.keys_changed", extra={"keys": [one.id.hex() for one in self._sealer.keys]})
