"""Tries to sign in, counted in the database before what was shown is looked at.

After a few failures there is a pause, and each further failure makes the next pause twice as long. A success forgives. What is counted
together is the caller's to say: tries of one source at one name, so that whoever guesses is slowed down and nobody locks out a user who
sits elsewhere; or those at one user's second factor, whose guesser knows the password.
"""

from __future__ import annotations

import hashlib
import ipaddress
from typing import TYPE_CHECKING

import sqlalchemy as sa

from penstock.identity import sign_in_records
from penstock.store.upsert import upsert
from penstock.wire.errors import AccessDenied

if TYPE_CHECKING:
    from penstock.application import App

TRIES = 5
PAUSE_MS = 5 * 60_000
LONGEST_PAUSE_MS = 60 * 60_000
_FORGOTTEN_MS = 60 * 60_000  # after the last try, or the end of its pause
_PRUNED = 100  # old rows that one try removes


def source_of(address: str) -> str:
    """What is counted as one source: an address, or the 64 bits of an IPv6 one that its network hands out as a whole."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return address if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))


class Tries:
    """The tries that are counted together."""

    def __init__(self, app: App, *of: str, where: str = "") -> None:
        """`where` is what a refusal says of them, such as "from your address"."""
        self._app = app
        self._id = hashlib.sha256("\0".join(of).encode("utf-8", "replace")).hexdigest()
        self._where = f" {where}" if where else ""
        self._left, self._pause = 0, 0

    async def begin(self) -> None:
        """Count a try. Raises AccessDenied during a pause, whatever is shown."""
        now = self._app.clock.now()
        paused, count = await self._app.store.write(_count, self._id, now)
        if paused:
            minutes = -(-(paused - now) // 60_000)
            raise AccessDenied(f"Too many tries{self._where}. The next one is possible in {minutes} min.")
        self._left = max(0, TRIES - count)
        self._pause = _pause(count)

    @property
    def left(self) -> str:
        """What is said of the tries that are left after one that failed."""
        minutes = self._pause // 60_000
        if self._left == 0:
            return f"That was the last try before a pause of {minutes} min."
        return f"{self._left} {'try is' if self._left == 1 else 'tries are'} left before a pause of {minutes} min."

    def forgive(self, conn: sa.Connection) -> None:
        """Forget the tries: what was shown is right."""
        tries = sign_in_records.sign_in_tries
        conn.execute(tries.delete().where(tries.c.id == self._id))


def prune(conn: sa.Connection, table: sa.Table, now: int) -> None:
    """Remove some rows whose time (`until`) is over."""
    old = sa.select(table.c.id).where(table.c.until <= now).limit(_PRUNED)
    conn.execute(table.delete().where(table.c.id.in_(old)))


def _pause(count: int) -> int:
    """The pause after so many failures, or after the next one that brings a pause."""
    return min(PAUSE_MS << min(max(0, count - TRIES), 16), LONGEST_PAUSE_MS)


def _count(conn: sa.Connection, id_: str, now: int) -> tuple[int, int]:
    """Count a try, unless there is a pause: until when, or 0, and how many tries have been counted."""
    tries = sign_in_records.sign_in_tries
    c = tries.c
    prune(conn, tries, now)
    # Locked from here on, also where it was there: of tries at the same moment each sees those before it, and none loses the row to a success.
    upsert(conn, tries, {"id": id_, "count": 0, "until": now + _FORGOTTEN_MS, "paused": 0}, {"id": id_})
    counted = sa.case((c.until <= now, 1), (c.paused > now, c["count"]), else_=c["count"] + 1)
    count, until = conn.execute(
        tries.update().where(c.id == id_).values(count=counted).returning(c["count"], c.paused)
    ).one()
    if until > now:
        return until, count
    paused = now + _pause(count) if count >= TRIES else 0
    conn.execute(tries.update().where(c.id == id_).values(paused=paused, until=max(now, paused) + _FORGOTTEN_MS))
    return 0, count
