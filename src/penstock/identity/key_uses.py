"""When access keys were last used, and for what.

A request leaves no more than an entry in memory. A loop writes what is new, of each key at most once in a quarter of an hour; what was
noted since is lost with the process (AWS: what GetAccessKeyLastUsed says may lag behind by hours).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from penstock.identity import records
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
    """The last use of a key."""

    at: int  # ms
    service: str
    region: str
    written: int = 0  # ms; when it was last written


class KeyUses:
    """What this process knows of the uses of keys."""

    def __init__(self, app: App) -> None:
        self._app = app
        # Of keys whose signatures held: there are no more than keys.
        self._uses: dict[str, Use] = {}
        self._loop: Loop | None = None

    def note(self, key_id: str, service: str, region: str) -> None:
        """A key has signed a request."""
        use, now = self._uses.get(key_id), self._app.clock.now()
        if use is None:
            self._uses[key_id] = Use(now, service, region)
        else:
            use.at, use.service, use.region = now, service, region

    def of(self, key_id: str) -> Use | None:
        """The last use of a key in this process, if it is a recent one."""
        return self._uses.get(key_id)

    async def write(self, *, all_: bool = False) -> None:
        """Write what is new, of keys that were not written for a while, or of `all_`."""
        now = self._app.clock.now()
        due = [(key, use) for key, use in self._uses.items() if use.at > use.written]
        if not all_:
            due = [(key, use) for key, use in due if now - use.written >= EVERY_MS][:_AT_A_TIME]
        for start in range(0, len(due), _AT_ONCE):
            some = [(key, use, use.at) for key, use in due[start : start + _AT_ONCE]]
            rows = [{"k": key, "at": at, "s": use.service, "r": use.region} for key, use, at in some]
            await self._app.store.write(lambda conn, rows=rows: conn.execute(_WRITE, rows))
            for _, use, at in some:
                use.written = at
        for key in [key for key, use in self._uses.items() if use.at <= use.written <= now - EVERY_MS]:
            del self._uses[key]

    def start(self) -> None:
        """Begin to write."""
        clock = self._app.clock
        self._loop = self._app.store.loops.start("identity.key-uses", self.write, lambda: clock.sleep(_REST_S))

    async def stop(self) -> None:
        """Write what is new, and end."""
        await self._app.store.loops.stop(self._loop)
        try:
            await self.write(all_=True)
        except Exception as error:  # noqa: BLE001 - a process ends whatever its database says; what was noted is lost
            _log.warning("identity.key_uses_lost", extra={"error": f"{type(error).__name__}: {error}"})


_c = records.access_keys.c
_WRITE = (
    records.access_keys.update()
    .where(_c.id == sa.bindparam("k"), sa.func.coalesce(_c.used, 0) < sa.bindparam("at"))
    .values(used=sa.bindparam("at"), used_service=sa.bindparam("s"), used_region=sa.bindparam("r"))
)
