"""Sessions of the console: a row for each, which ends by signing out, by its user's password or factors becoming others, or in time.

A cookie holds the id of its session; the row has a digest of it, by which lists and operations name the session: a copy of the
database signs nobody in, and neither does a list.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from penstock.identity import naming, password_policy, records, second_factors, sign_in_records
from penstock.identity.settings import IdentitySettings
from penstock.identity.signin import PROFILE, SignedIn, signed_in
from penstock.identity.tries import prune
from penstock.store.keysets import rows_behind
from penstock.wire.errors import AccessDenied, ExpiredSession, InvalidSessionToken

if TYPE_CHECKING:
    from penstock.application import App, Call
    from penstock.wire.call import Credential

    Credentials = Callable[[str, str], Awaitable[Credential]]

_table = sign_in_records.console_sessions
_ID_BYTES = 24
_SEEN_MS = 60_000  # between two notes of when a session was last used


async def begin(app: App, user: SignedIn, *, address: str, agent: str) -> str:
    """A session of a user who has signed in, from an address with a browser; its id, which only the user's cookie may hold.

    Raises AccessDenied for a user who has a second factor and has not shown one, or whose password has expired.
    """
    now, id_ = app.clock.now(), secrets.token_urlsafe(_ID_BYTES)

    def tx(conn: sa.Connection) -> None:
        prune(conn, _table, now)
        # Asked once more here: a factor may have come since the password was shown, or be on its way in another transaction.
        _lock(conn, user.session.principal_id)
        if not user.session.mfa and second_factors.kinds(conn, user.session.principal_id):
            raise AccessDenied("This user signs in with a second factor. Sign in again and show it.")
        access_key, token = user.keys or ("", "")
        if password_policy.of_account(conn, user.session.account).expired(user.changed, now):
            raise AccessDenied("The password has expired. Sign in again and choose another.")
        conn.execute(
            _table.insert().values(
                id=_digest(id_),
                account=user.session.account,
                user_id=user.session.entity,
                changed=user.changed,
                until=_until(app, now, now),
                begun=now,
                seen=now,
                address=address[:64],
                agent=agent[:256].replace("\0", ""),
                mfa=user.session.mfa,
                person=user.person,
                name=user.user_name if token else "",
                access_key=access_key,
                token=token,
            )
        )
        if not token:
            profiles = sign_in_records.login_profiles
            own = profiles.update().where(profiles.c.user_id == user.session.principal_id)
            conn.execute(own.values(used=now))

    await app.store.write(tx)
    return id_


async def user_of(app: App, id_: str, *, active: bool, credential: Credentials) -> SignedIn | None:
    """The user of a session, unless it ended, or the user or the password is another by now. `active` keeps it from being idle.

    `credential` reads the role's session that somebody who came by single sign-on has; it ends with the role, and in time.
    """
    now = app.clock.now()

    def read(conn: sa.Connection) -> tuple[Any, Any]:
        row = conn.execute(sa.select(_table).where(_table.c.id == _digest(id_), _table.c.until > now)).first()
        if row is None or row.token:
            return row, None
        same = (records.users.c.id == row.user_id) & (sign_in_records.login_profiles.c.changed == row.changed)
        return row, conn.execute(PROFILE.where(same)).first()

    row, profile = await app.store.read(read)
    if row is None:
        return None
    if row.token:
        try:
            session = (await credential(row.access_key, row.token)).session
        except (InvalidSessionToken, ExpiredSession):
            return None
        user = SignedIn(session=session, user_name=row.name, changed=0, person=row.person)
    elif profile is None:
        return None
    else:
        user = signed_in(profile)
    if active and now - row.seen >= _SEEN_MS:
        # Not one that ended meanwhile: its row is gone.
        noted = _table.update().where(_table.c.id == row.id).values(seen=now, until=_until(app, row.begun, now))
        await app.store.write(lambda conn: conn.execute(noted))
    return replace(user, session=replace(user.session, console=row.id, mfa=row.mfa))


async def renew(app: App, id_: str) -> str:
    """Give a session another id, which is all that its cookie is worth from now on; the new id."""
    new = secrets.token_urlsafe(_ID_BYTES)
    await app.store.write(
        lambda conn: conn.execute(_table.update().where(_table.c.id == _digest(id_)).values(id=_digest(new)))
    )
    return new


async def end(app: App, id_: str) -> None:
    """Sign out; a session that is not there is no error."""
    await app.store.write(lambda conn: conn.execute(_table.delete().where(_table.c.id == _digest(id_))))


def of_person(conn: sa.Connection, handle: str) -> sa.ColumnElement[bool]:
    """Which sessions are those of whom a session is that came by single sign-on; none when it has ended."""
    person = conn.execute(sa.select(_table.c.person).where(_table.c.id == handle)).scalar()
    return (_table.c.person == person) & (_table.c.person != "")


def end_all(conn: sa.Connection, user_id: str) -> None:
    """Sign a user out everywhere."""
    end_of(conn, of_user(user_id))


def end_of(conn: sa.Connection, whose: sa.ColumnElement[bool], handles: Sequence[str] | None = None) -> None:
    """Sign out everywhere, or of the sessions with these handles."""
    ended = _table.delete().where(whose)
    conn.execute(ended if handles is None else ended.where(_table.c.id.in_(handles)))


def end_others(conn: sa.Connection, call: Call, user_id: str, **now: int) -> None:
    """Sign a user out everywhere but in the session of the console that calls, if it is the user's own; of that one some values are other."""
    _lock(conn, user_id)
    conn.execute(_table.delete().where(_table.c.user_id == user_id, _table.c.id != call.session.console))
    conn.execute(_table.update().where(_table.c.user_id == user_id).values(seen=call.now, **now))


def of_user(user_id: str) -> sa.ColumnElement[bool]:
    """Which sessions are those of a user."""
    return _table.c.user_id == user_id


def of_account(account: str) -> sa.ColumnElement[bool]:
    """Which sessions are those of an account's users, and of whoever came into its roles by single sign-on."""
    return _table.c.account == account


def principals(conn: sa.Connection, rows: Sequence[Any]) -> dict[str, dict[str, str]]:
    """Handle of a session → the name and ARN of whose it is; none of a user or role that is gone."""
    arns = records.arns_of(conn, {row.user_id for row in rows})
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        if arn := arns.get(row.user_id):
            name = row.name or arn.rpartition("/")[2]
            found[row.id] = {"userName": name, "principalArn": naming.session_arn(arn, name) if row.name else arn}
    return found


def live(
    conn: sa.Connection, whose: sa.ColumnElement[bool], now: int, after: list[Any] | None, limit: int
) -> list[Any]:
    """The sessions that have not ended, the oldest first, behind a keyset."""
    found = sa.select(_table).where(whose, _table.c.until > now)
    return list(conn.execute(rows_behind(found, [_table.c.begun, _table.c.id], after, limit=limit)).all())


def _lock(conn: sa.Connection, user_id: str) -> None:
    """Let beginning a session and changing what signs in be one after the other, for one user."""
    c = sign_in_records.login_profiles.c
    conn.execute(sa.select(c.user_id).where(c.user_id == user_id).with_for_update())


def _until(app: App, begun: int, now: int) -> int:
    settings = app.settings.of(IdentitySettings)
    return min(begun + settings.session_hours * 3_600_000, now + settings.session_idle_minutes * 60_000)


def _digest(id_: str) -> str:
    return hashlib.sha256(id_.encode("utf-8", "replace")).hexdigest()
