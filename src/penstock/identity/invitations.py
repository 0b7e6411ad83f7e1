"""Links with which a user chooses a password: how the first person gets into the console without knowing IAM.

A link carries a sealed token that names the user and the date of the password that it replaces. Choosing a password changes
that date, so a link works once, and a link of a user who was deleted, or whose password was changed or taken away, never works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from penstock.identity import sign_in_records, signin, user_tokens
from penstock.identity.password_policy import NewPassword
from penstock.wire.errors import AccessDenied

if TYPE_CHECKING:
    from penstock.application import App

LASTS_MS = 24 * 3600_000
EXPIRED_MS = 15 * 60_000
"""How long who has shown a password that has expired may take to choose another."""
VOID = (
    "This link does not work any more: it was used, has expired, or belongs to another installation. Ask for a new one."
)
_PURPOSE = "identity/sign-in-link"


def token_of(app: App, *, user_id: str, changed: int, until: int) -> str:
    """The token of a link for the user whose password is of the date `changed`; `until` in ms."""
    return user_tokens.token_of(app, _PURPOSE, user_id=user_id, changed=changed, until=until)


async def open_token(app: App, token: str) -> signin.SignedIn:
    """The user of a token, not signed in yet. Raises AccessDenied for a link that does not work."""
    invited = await user_tokens.user_of(app, _PURPOSE, token)
    if invited is None:
        raise AccessDenied(VOID)
    return invited


def ensure_profile(conn: sa.Connection, row: sa.Row, *, now: int) -> int:
    """Give a user without a password a profile that no password fits; the date of the user's password."""
    profiles = sign_in_records.login_profiles
    changed = conn.execute(sa.select(profiles.c.changed).where(profiles.c.user_id == row.id)).scalar()
    if changed is not None:
        return changed
    conn.execute(
        profiles.insert().values(
            user_id=row.id,
            account=row.account,
            password=b"",
            created=now,
            changed=now,
        )
    )
    return now


def set_password(conn: sa.Connection, invited: signin.SignedIn, *, password: NewPassword, changed: int) -> bool:
    """Replace the password, unless it is another by now: of two people with one link only the first chooses."""
    profiles, user_id = sign_in_records.login_profiles, invited.session.principal_id
    same = (profiles.c.user_id == user_id) & (profiles.c.changed == invited.changed)
    replaced = conn.execute(profiles.update().where(same).values(password=password.kept, changed=changed)).rowcount
    if replaced:
        password.write(conn, user_id, changed)
    return bool(replaced)
