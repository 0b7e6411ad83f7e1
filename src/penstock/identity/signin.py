"""Who signs in to the console: a user and a password.

Tries are counted before the password is looked at, by source and name together (`tries`). Names that do not exist are counted and
answered alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from penstock.identity import records, second_factors, sessions, sign_in_records
from penstock.identity.password_policy import of_account
from penstock.identity.tries import Tries, source_of
from penstock.wire.call import Session
from penstock.wire.errors import AccessDenied

if TYPE_CHECKING:
    from penstock.application import App
    from penstock.identity.passwords import Passwords

EXPIRED = "The password has expired. Ask an administrator of the account for a new one."
WRONG = "That user name and password do not belong together."


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A user who has shown the password, or somebody whom an issuer has named, in a role."""

    session: Session
    user_name: str
    changed: int  # ms; of the password: a session of an older one is worth nothing
    factors: tuple[str, ...] = ()  # kinds of second factors, of which one must be shown
    person: str = ""  # of single sign-on: a digest of issuer and subject, whatever role it is that was entered
    device: str = ""  # serial number of the device that was shown
    keys: tuple[str, str] | None = None  # of single sign-on: access key id and session token of the role's session


async def sign_in(
    app: App,
    passwords: Passwords,
    *,
    account: str,
    user_name: str,
    password: str,
    address: str,
    wrong: str,
) -> SignedIn:
    """Check a password. Raises AccessDenied or Throttled, with the message that the sign-in page shows; `wrong` begins it."""
    source = source_of(address)
    with passwords.place(source):
        tries = Tries(app, source, account, user_name.lower(), where="from your address")
        await tries.begin()
        found = await app.store.read(_profile, account, user_name)
        # A name that is unknown, or has no password, costs the same time as any other.
        fits = await passwords.fits(password, b"" if found is None else found.password)
        if found is None or not fits:
            raise AccessDenied(f"{wrong} {tries.left}")
        better = await passwords.kept(password) if passwords.is_outdated(found.password) else None

        def success(conn: sa.Connection) -> SignedIn | None:
            tries.forgive(conn)
            entered = enter(conn, found, app.clock.now())
            if entered is not None and better is not None:  # unless the password was changed meanwhile
                c = sign_in_records.login_profiles.c
                same = (c.user_id == found.id) & (c.password == found.password)
                conn.execute(sign_in_records.login_profiles.update().where(same).values(password=better))
            return entered

        entered = await app.store.write(success)
        if entered is None:
            raise AccessDenied(EXPIRED)
        return entered


def enter(conn: sa.Connection, found: Any, now: int) -> SignedIn | None:
    """The user of a row of `PROFILE`, who has shown the password or what stands in for it; None whose password has expired for good."""
    policy = of_account(conn, found.account)
    if policy.hard and policy.expired(found.changed, now):
        return None
    return signed_in(found, factors=second_factors.kinds(conn, found.id))


async def still_signed_in(app: App, user_id: str, changed: int) -> SignedIn | None:
    """The user of an earlier sign-in, unless the user is gone or the password another by now."""

    def read(conn: sa.Connection) -> SignedIn | None:
        found = conn.execute(PROFILE.where(records.users.c.id == user_id)).first()
        if found is None or found.changed != changed:
            return None
        return signed_in(found, factors=second_factors.kinds(conn, user_id))

    return await app.store.read(read)


def signed_in(row: Any, *, factors: tuple[str, ...] = ()) -> SignedIn:
    """The user of a row of `PROFILE`."""
    return SignedIn(session=sessions.of_user(row, row.id), user_name=row.name, changed=row.changed, factors=factors)


PROFILE = sa.select(
    records.users.c.id,
    records.users.c.account,
    records.users.c.name,
    records.users.c.arn,
    records.users.c.tags,
    sign_in_records.login_profiles.c.password,
    sign_in_records.login_profiles.c.changed,
).join(sign_in_records.login_profiles, sign_in_records.login_profiles.c.user_id == records.users.c.id)
"""A user with the password."""


def _profile(conn: sa.Connection, account: str, name: str) -> Any:
    if "\0" in account + name:  # no text for PostgreSQL, and nobody's name
        return None
    return conn.execute(PROFILE.where(records.users.c.account == account, records.users.c.key == name.lower())).first()
