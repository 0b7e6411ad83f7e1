"""Signing in to the console and out again.

Tries are counted in the database before the password is looked at, by address and name together: whoever guesses is slowed down,
and nobody locks out a user who sits elsewhere. Names that do not exist are counted and answered alike. A session of the console is a row, which signing out
removes.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from penstock.identity import records
from penstock.store.upsert import upsert
from penstock.wire.call import PrincipalKind, Session
from penstock.wire.errors import AccessDenied

if TYPE_CHECKING:
    from penstock.application import App
    from penstock.identity.passwords import Passwords

TRIES = 5
PAUSE_MS = 5 * 60_000
SESSION_MS = 12 * 3600_000
_PRUNED = 100  # old rows that one sign-in removes


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A user who has shown the password."""

    session: Session
    user_name: str
    changed: int  # ms; of the password: a session of an older one is worth nothing


async def sign_in(
    app: App, passwords: Passwords, *, account: str, user_name: str, password: str, address: str
) -> SignedIn:
    """Check a password. Raises AccessDenied or Throttled, with the message that the sign-in page shows."""
    with passwords.place(address):
        now = app.clock.now()
        key = hashlib.sha256(f"{address}\0{account}\0{user_name.lower()}".encode("utf-8", "replace")).hexdigest()
        paused_until, left = await app.store.write(_count, key, now)
        if paused_until > now:
            raise AccessDenied(
                f"Too many tries from your address. The next one is possible in {-(-(paused_until - now) // 60_000)} min."
            )
        found = await app.store.read(_profile, account, user_name)
        # A name that is unknown, or has no password, costs the same time as any other.
        fits = await passwords.fits(password, b"" if found is None else found.password)
        if found is None or not fits:
            raise AccessDenied(f"That user name and password do not belong together.{_left(left)}")
        better = await passwords.kept(password) if passwords.is_outdated(found.password) else None
        await app.store.write(_record_success, key, found.id, found.password, better)
        return _signed_in(found)


async def still_signed_in(app: App, user_id: str, changed: int) -> SignedIn | None:
    """The user of an earlier sign-in, unless the user is gone or the password another by now."""
    found = await app.store.read(_profile_by_id, user_id)
    return None if found is None or found.changed != changed else _signed_in(found)


async def begin_session(app: App, user: SignedIn) -> str:
    """A session of the console; its id, which only the user's cookie may hold."""
    now, id_ = app.clock.now(), secrets.token_urlsafe(24)
    table = records.console_sessions

    def tx(conn: sa.Connection) -> None:
        _prune(conn, table, now)
        conn.execute(
            table.insert().values(
                id=_digest(id_),
                account=user.session.account,
                user_id=user.session.principal_id,
                changed=user.changed,
                until=now + SESSION_MS,
            )
        )

    await app.store.write(tx)
    return id_


async def session_user(app: App, id_: str) -> SignedIn | None:
    """The user of a session, unless it ended, or the user or the password is another by now."""
    table = records.console_sessions

    def read(conn: sa.Connection) -> Any:
        session = sa.and_(table.c.user_id == records.users.c.id, table.c.changed == records.login_profiles.c.changed)
        found = _PROFILE.join(table, session).where(table.c.id == _digest(id_), table.c.until > app.clock.now())
        return conn.execute(found).first()

    row = await app.store.read(read)
    return None if row is None else _signed_in(row)


async def end_session(app: App, id_: str) -> None:
    """Sign out; a session that is not there is no error."""
    table = records.console_sessions
    await app.store.write(lambda conn: conn.execute(table.delete().where(table.c.id == _digest(id_))))


def end_sessions(conn: sa.Connection, user_id: str) -> None:
    """Sign a user out everywhere."""
    table = records.console_sessions
    conn.execute(table.delete().where(table.c.user_id == user_id))


def _left(left: int) -> str:
    if left == 0:
        return f" That was the last try before a pause of {PAUSE_MS // 60_000} min."
    return f" {left} {'try is' if left == 1 else 'tries are'} left before a pause of {PAUSE_MS // 60_000} min."


def _signed_in(row: sa.Row[Any]) -> SignedIn:
    session = Session(
        account=row.account,
        kind=PrincipalKind.USER,
        arn=row.arn,
        principal_id=row.id,
        tags=records.tags_of(row),
    )
    return SignedIn(session=session, user_name=row.name, changed=row.changed)


_PROFILE = sa.select(
    records.users.c.id,
    records.users.c.account,
    records.users.c.name,
    records.users.c.arn,
    records.users.c.tags,
    records.login_profiles.c.password,
    records.login_profiles.c.changed,
).join(records.login_profiles, records.login_profiles.c.user_id == records.users.c.id)


def _profile(conn: sa.Connection, account: str, name: str) -> Any:
    if "\0" in account + name:  # no text for PostgreSQL, and nobody's name
        return None
    return conn.execute(_PROFILE.where(records.users.c.account == account, records.users.c.key == name.lower())).first()


def _profile_by_id(conn: sa.Connection, user_id: str) -> Any:
    return conn.execute(_PROFILE.where(records.users.c.id == user_id)).first()


def _count(conn: sa.Connection, key: str, now: int) -> tuple[int, int]:
    """Count a try: until when there is a pause (one that began earlier), and how many tries are left after this one."""
    tries = records.sign_in_tries
    _prune(conn, tries, now)
    upsert(conn, tries, {"id": key, "count": 0, "until": now + PAUSE_MS})
    # Locked from here on: of tries at the same moment each sees those before it.
    count = conn.execute(
        tries.update()
        .where(tries.c.id == key)
        .values(count=sa.case((tries.c.until <= now, 1), else_=tries.c.count + 1))
        .returning(tries.c.count)
    ).scalar_one()
    if count <= TRIES:
        conn.execute(tries.update().where(tries.c.id == key).values(until=now + PAUSE_MS))
        return 0, TRIES - count
    return conn.execute(sa.select(tries.c.until).where(tries.c.id == key)).scalar_one(), 0


def _record_success(conn: sa.Connection, key: str, user_id: str, kept: bytes, better: bytes | None) -> None:
    tries, profiles = records.sign_in_tries, records.login_profiles
    conn.execute(tries.delete().where(tries.c.id == key))
    if better is not None:  # unless the password was changed meanwhile
        same = (profiles.c.user_id == user_id) & (profiles.c.password == kept)
        conn.execute(profiles.update().where(same).values(password=better))


def _prune(conn: sa.Connection, table: sa.Table, now: int) -> None:
    old = sa.select(table.c.id).where(table.c.until <= now).limit(_PRUNED)
    conn.execute(table.delete().where(table.c.id.in_(old)))


def _digest(id_: str) -> str:
    """What is kept of a session's id: a copy of the database signs nobody in."""
    return hashlib.sha256(id_.encode("utf-8", "replace")).hexdigest()
