"""Sessions of the console: a row for each, which ends by signing out, by its user's password or factors becoming others, or in time.

A cookie holds the id of its session; the row has a digest of it, by which lists and operations name the session: a copy of the
database signs nobody in, and neither does a list.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from penstock.identity import records
from penstock.identity.settings import IdentitySettings
from penstock.identity.signin import PROFILE, SignedIn, signed_in
from penstock.identity.tries import prune
from penstock.store.keysets import rows_behind

if TYPE_CHECKING:
    from penstock.application import App

_table = records.console_sessions
_SEEN_MS = 60_000  # between two notes of when a session was last used


async def begin(app: App, user: SignedIn, *, address: str, agent: str) -> str:
    """A session of a user who has signed in, from an address with a browser; its id, which only the user's cookie may hold."""
    now, id_ = app.clock.now(), secrets.token_urlsafe(24)

    def tx(conn: sa.Connection) -> None:
        prune(conn, _table, now)
        conn.execute(
            _table.insert().values(
                id=_digest(id_),
                account=user.session.account,
                user_id=user.session.principal_id,
                changed=user.changed,
                until=_until(app, now, now),
                begun=now,
                seen=now,
                address=address[:64],
                agent=agent[:256].replace("\0", ""),
            )
        )

    await app.store.write(tx)
    return id_


async def user_of(app: App, id_: str, *, active: bool) -> SignedIn | None:
    """The user of a session, unless it ended, or the user or the password is another by now. `active` keeps it from being idle."""
    now = app.clock.now()

    def read(conn: sa.Connection) -> Any:
        same = sa.and_(_table.c.user_id == records.users.c.id, _table.c.changed == records.login_profiles.c.changed)
        found = PROFILE.add_columns(_table.c.id.label("handle"), _table.c.begun, _table.c.seen).join(_table, same)
        return conn.execute(found.where(_table.c.id == _digest(id_), _table.c.until > now)).first()

    row = await app.store.read(read)
    if row is None:
        return None
    if active and now - row.seen >= _SEEN_MS:
        # Not one that ended meanwhile: its row is gone.
        noted = _table.update().where(_table.c.id == row.handle).values(seen=now, until=_until(app, row.begun, now))
        await app.store.write(lambda conn: conn.execute(noted))
    return signed_in(row, handle=row.handle)


async def end(app: App, id_: str) -> None:
    """Sign out; a session that is not there is no error."""
    await app.store.write(lambda conn: conn.execute(_table.delete().where(_table.c.id == _digest(id_))))


def end_all(conn: sa.Connection, user_id: str, handles: Sequence[str] | None = None) -> None:
    """Sign a user out everywhere, or of the sessions with these handles."""
    ended = _table.delete().where(_table.c.user_id == user_id)
    conn.execute(ended if handles is None else ended.where(_table.c.id.in_(handles)))


def of_user(conn: sa.Connection, user_id: str, now: int, after: list[Any] | None, limit: int) -> list[Any]:
    """The sessions of a user that have not ended, the oldest first, behind a keyset."""
    live = sa.select(_table).where(_table.c.user_id == user_id, _table.c.until > now)
    return list(conn.execute(rows_behind(live, [_table.c.begun, _table.c.id], after, limit=limit)).all())


def _until(app: App, begun: int, now: int) -> int:
    settings = app.settings.of(IdentitySettings)
    return min(begun + settings.session_hours * 3_600_000, now + settings.session_idle_minutes * 60_000)


def _digest(id_: str) -> str:
    return hashlib.sha256(id_.encode("utf-8", "replace")).hexdigest()
