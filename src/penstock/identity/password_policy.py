"""What an account asks of the passwords of its users, and whether a password is one that its user had before.

What is kept of former passwords is derived with a salt of the user's own: a new password is derived once, however many there were.
(AWS: IAM User Guide, "Set an account password policy for IAM users".)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from penstock.identity import sign_in_records
from penstock.identity.errors import PasswordPolicyViolationException
from penstock.identity.passwords import LONGEST

if TYPE_CHECKING:
    from penstock.application import App
    from penstock.identity.passwords import Passwords

SYMBOLS = "!@#$%^&*()_+-=[]{}|'"
MOST_FORMER = 24  # passwords that a policy can look back on
_DAY = 86_400_000  # ms
_COMMON = "This password is one of those that are guessed first. Choose another."
_REUSED = "Policy constraint violation with password reuse prevention during password change."


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordPolicy:
    """The policy of an account; without values, what an account asks that has none."""

    minimum: int = 8  # characters
    symbols: bool = False
    numbers: bool = False
    uppercase: bool = False
    lowercase: bool = False
    # Whether users change their own without a policy that allows it; None where the account leaves it to the console.
    users_change: bool | None = None
    days: int = 0  # after which a password has expired; 0: never
    former: int = 0  # passwords that are not taken again
    hard: bool = False  # whether a user whose password has expired needs an administrator

    def expired(self, changed: int, now: int) -> bool:
        """Whether a password of the date `changed` has expired (ms); 0 is the date of somebody who signed in without one."""
        return self.days > 0 and changed > 0 and now - changed >= self.days * _DAY


def password_rules(policy: PasswordPolicy, password: str) -> None:
    """Raises PasswordPolicyViolationException unless a password is as the policy asks, with all that it lacks."""
    classes = (
        (policy.symbols, SYMBOLS.__contains__, "symbol"),
        (policy.numbers, lambda c: "0" <= c <= "9", "number"),
        (policy.uppercase, lambda c: "A" <= c <= "Z", "uppercase letter"),
        (policy.lowercase, lambda c: "a" <= c <= "z", "lowercase letter"),
    )
    lacking = [
        f"Password should have at least one {name}"
        for asked, of, name in classes
        if asked and not any(map(of, password))
    ]
    if len(password) < policy.minimum:
        lacking.insert(0, f"Password should have a minimum length of {policy.minimum}")
    if len(password) > LONGEST:
        lacking.insert(0, f"Password should have a maximum length of {LONGEST}")
    if lacking:
        raise PasswordPolicyViolationException(", ".join(lacking))


def row(conn: sa.Connection, account: str) -> sa.Row[Any] | None:
    """The row of an account's policy, or None."""
    table = sign_in_records.password_policies
    return conn.execute(sa.select(table).where(table.c.account == account)).first()


def of_account(conn: sa.Connection, account: str) -> PasswordPolicy:
    """What an account asks."""
    found = row(conn, account)
    return PasswordPolicy() if found is None else PasswordPolicy(**found.rules)


@dataclass(frozen=True, slots=True)
class NewPassword:
    """A password that a user may have from now on."""

    account: str
    kept: bytes  # what is kept of it to compare it
    former: str  # what is kept of it for later, when it is a former one

    def write(self, conn: sa.Connection, user_id: str, now: int) -> None:
        """Remember it as one that the user has had; what a policy cannot ask for any more is forgotten.

        Raises PasswordPolicyViolationException for one that another request has set since this one was looked at.
        """
        _refuse_former(conn, self.account, user_id, self.former)
        table = sign_in_records.former_passwords
        conn.execute(table.delete().where(table.c.user_id == user_id, table.c.password == self.former))
        conn.execute(table.insert().values(user_id=user_id, password=self.former, at=now))
        latest = sa.select(table.c.at).where(table.c.user_id == user_id).order_by(table.c.at.desc()).limit(MOST_FORMER)
        *_, oldest = conn.execute(latest).scalars()
        conn.execute(table.delete().where(table.c.user_id == user_id, table.c.at < oldest))


async def new_password(
    app: App, passwords: Passwords, account: str, user_id: str, password: str, *, own: bool
) -> NewPassword:
    """A password that a user shall have. Raises PasswordPolicyViolationException, and Throttled when too much is waiting.

    `own`: its user chooses it, and not an administrator, from whom AWS takes any that the policy allows.
    """

    def read(conn: sa.Connection) -> tuple[PasswordPolicy, bytes]:
        profiles = sign_in_records.login_profiles
        now = conn.execute(sa.select(profiles.c.password).where(profiles.c.user_id == user_id)).scalar()
        return of_account(conn, account), now or b""

    policy, now = await app.store.read(read)
    password_rules(policy, password)
    if own and password.lower() in _common():
        raise PasswordPolicyViolationException(_COMMON)
    former = await passwords.former(password, user_id)
    await app.store.read(_refuse_former, account, user_id, former)
    # The present one may be older than the list of former ones.
    if policy.former and await passwords.fits(password, now):
        raise PasswordPolicyViolationException(_REUSED)
    return NewPassword(account, await passwords.kept(password), former)


@cache
def _common() -> frozenset[str]:
    """The 3000 most common passwords of eight characters or more, in lower case (ASVS 5.0, 6.2.4; docs/decisions/passwords.md)."""
    return frozenset(Path(__file__).with_name("common_passwords.txt").read_text("utf-8").split())


def _refuse_former(conn: sa.Connection, account: str, user_id: str, former: str) -> None:
    """Raises PasswordPolicyViolationException for a password that is among as many former ones as the policy looks back on."""
    table = sign_in_records.former_passwords
    found = sa.select(table.c.password).where(table.c.user_id == user_id).order_by(table.c.at.desc())
    if former in conn.execute(found.limit(of_account(conn, account).former)).scalars().all():
        raise PasswordPolicyViolationException(_REUSED)


def forget(conn: sa.Connection, user_id: str) -> None:
    """Forget the former passwords of a user who is deleted."""
    table = sign_in_records.former_passwords
    conn.execute(table.delete().where(table.c.user_id == user_id))
