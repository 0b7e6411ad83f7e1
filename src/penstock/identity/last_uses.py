"""When access keys and roles were last used, and for what.

A request leaves no more than an entry in memory. A loop writes what is new, of each key or role at most once in a quarter of an hour; what
was noted since is lost with the process (AWS: what GetAccessKeyLastUsed and GetRole say may lag behind by hours).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from penstock.identity import naming, records
from penstock.loops import Loop

if TYPE_CHECKING:
    from penstock.application import App

_log = logging.getLogger("penstock.identity")
EVERY_MS = 15 * 60_000
_REST_S = 30
_AT_ONCE = 200  # rows of one transaction
_AT_A_TIME = 1000  # rows of one look: the keys of thousands of hosts that come together are due together


@dataclass(slots=True)
class Use:
    """The last use of a key or a role."""

    at: int  # ms
    service: str
    region: str
    written: int = 0  # ms; when it was last written


class LastUses:
    """What this process knows of the uses of keys and roles."""

    def __init__(self, app: App) -> None:
        self._app = app
        # By the ids of keys and roles that have proved themselves: there are no more than those.
        self._uses: dict[str, Use] = {}
        self._loop: Loop | None = None

    def note(self, id_: str, service: str, region: str) -> None:
        """A key has signed a request, or a session of a role has made one."""
        use, now = self._uses.get(id_), self._app.clock.now()
        if use is None:
            self._uses[id_] = Use(now, service, region)
        else:
            use.at, use.service, use.region = now, service, region

    def of(self, id_: str) -> Use | None:
        """The last use of a key or a role in this process, if it is a recent one."""
        return self._uses.get(id_)

    def latest(self, row: Any) -> Use | None:
        """The last use of the key or the role of a row, of this process or of those that have written theirs; None for one never used."""
        here = self.of(row.id)
        if row.used is None or (here is not None and here.at >= row.used):
            return here
        return Use(row.used, getattr(row, "used_service", ""), row.used_region)

    async def write(self, *, all_: bool = False) -> None:
        """Write what is new, of what was not written for a while, or of `all_`."""
        now = self._app.clock.now()
        due = [(id_, use) for id_, use in self._uses.items() if use.at > use.written]
        if not all_:
            due = [(id_, use) for id_, use in due if now - use.written >= EVERY_MS][:_AT_A_TIME]
        for start in range(0, len(due), _AT_ONCE):
            some = [(id_, use, use.at) for id_, use in due[start : start + _AT_ONCE]]
            await self._app.store.write(_write, some)
            for _, use, at in some:
                use.written = at
        for id_ in [id_ for id_, use in self._uses.items() if use.at <= use.written <= now - EVERY_MS]:
            del self._uses[id_]

    def start(self) -> None:
        """Begin to write."""
        clock = self._app.clock
        self._loop = self._app.store.loops.start("identity.last-uses", self.write, lambda: clock.sleep(_REST_S))

    async def stop(self) -> None:
        """Write what is new, and end."""
        await self._app.store.loops.stop(self._loop)
        try:
            await self.write(all_=True)
        except Exception as error:  # noqa: BLE001 - a process ends whatever its database says; what was noted is lost
            _log.warning("identity.last_uses_lost", extra={"error": f"{type(error).__name__}: {error}"})


def _write(conn: sa.Connection, uses: list[tuple[str, Use, int]]) -> None:
    for prefix, statement in _WRITES.items():
        rows = [
            {"k": id_, "at": at, "s": use.service, "r": use.region} for id_, use, at in uses if id_.startswith(prefix)
        ]
        if rows:
            conn.execute(statement, rows)


def _later(table: sa.Table) -> sa.Update:
    """Sets the last use of a row, unless a later one was written."""
    c = table.c
    values = {"used": sa.bindparam("at"), "used_service": sa.bindparam("s"), "used_region": sa.bindparam("r")}
    later = table.update().where(c.id == sa.bindparam("k"), sa.func.coalesce(c.used, 0) < sa.bindparam("at"))
    return later.values({name: value for name, value in values.items() if name in c})


_WRITES = {naming.LONG_TERM: _later(records.access_keys), naming.ROLE: _later(records.roles)}
