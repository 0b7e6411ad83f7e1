"""Signing in to the console: passwords of users, tried at most five times before a pause.

A password is kept as scrypt(salt) only. Tries are counted in the database, so that a restart gives no new ones.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from penstock.identity import records
from penstock.identity.errors import PasswordPolicyViolationException
from penstock.pools import PASSWORDS
from penstock.wire.call import PrincipalKind, Session
from penstock.wire.errors import AccessDenied

if TYPE_CHECKING:
    from penstock.room import App

TRIES = 5
PAUSE_MS = 5 * 60_000
_SALT_BYTES = 16
_SHORTEST = 8
LONGEST = 128
# About 50 ms and 16 MiB a try; off the event loop.
_COST = {"n": 1 << 14, "r": 8, "p": 1, "dklen": 32}


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A user who has shown the password."""

    session: Session
    user_name: str
    changed: int  # ms; of the password: a cookie of an older one is worth nothing


def acceptable(password: str) -> str:
    """`password`, long enough. Raises PasswordPolicyViolationException."""
    if len(password) < _SHORTEST:
        raise PasswordPolicyViolationException(length=_SHORTEST)
    return password


async def hashed(password: str, salt: bytes | None = None) -> bytes:
    """Salt and hash of a password."""
    salt = salt or os.urandom(_SALT_BYTES)
    return salt + await PASSWORDS.run(hashlib.scrypt, password.encode(), salt=salt, **_COST)


async def sign_in(app: App, *, account: str, user_name: str, password: str) -> SignedIn:
    """Check a password. Raises AccessDenied, in the words that the sign-in page shows."""
    now = app.clock.now()
    found = await app.store.read(_profile, account, user_name)
    known = found.password if found is not None else bytes(_SALT_BYTES + _COST["dklen"])
    if found is not None and found.paused_until > now:
        minutes = -(-(found.paused_until - now) // 60_000)
        raise AccessDenied(f"Too many tries. The next one is possible in {minutes} min.")
    # An unknown name costs the same time as a known one.
    given = await hashed(password[:LONGEST], known[:_SALT_BYTES])
    if found is None or not hmac.compare_digest(given, known):
        left = await app.store.write(_failed, found.id, now) if found is not None else None
        raise AccessDenied(f"That user name and password do not belong together.{_left(left)}")
    if found.failures:
        await app.store.write(_succeeded, found.id)
    return _signed_in(found)


async def still_signed_in(app: App, user_id: str, changed: int) -> SignedIn | None:
    """The user of a cookie, unless the user or the password is another by now."""
    found = await app.store.read(_profile_by_id, user_id)
    return None if found is None or found.changed != changed else _signed_in(found)


def _left(left: int | None) -> str:
    if left is None:
        return ""
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
    records.login_profiles.c.failures,
    records.login_profiles.c.paused_until,
    records.login_profiles.c.changed,
).join(records.login_profiles, records.login_profiles.c.user_id == records.users.c.id)


def _profile(conn: sa.Connection, account: str, name: str) -> Any:
    return conn.execute(_PROFILE.where(records.users.c.account == account, records.users.c.key == name.lower())).first()


def _profile_by_id(conn: sa.Connection, user_id: str) -> Any:
    return conn.execute(_PROFILE.where(records.users.c.id == user_id)).first()


def _failed(conn: sa.Connection, user_id: str, now: int) -> int:
    """Count a failed try; how many are left."""
    profiles = records.login_profiles
    failures = conn.execute(
        profiles.update()
        .where(profiles.c.user_id == user_id)
        .values(failures=profiles.c.failures + 1)
        .returning(profiles.c.failures)
    ).scalar()
    if failures is None or failures < TRIES:
        return TRIES - (failures or 0)
    conn.execute(profiles.update().where(profiles.c.user_id == user_id).values(failures=0, paused_until=now + PAUSE_MS))
    return 0


def _succeeded(conn: sa.Connection, user_id: str) -> None:
    profiles = records.login_profiles
    conn.execute(profiles.update().where(profiles.c.user_id == user_id).values(failures=0))
