"""Service-specific credentials: a user name and a password with which a user signs in to one service, here to Git.

The password is 256 random bits, so one SHA-256 of it tells no more than the costly hash that a chosen password needs, and Git may show it
with each request. (AWS: IAM User Guide, "Use IAM with CodeCommit: Git credentials, SSH keys, and AWS access keys".)
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from penstock.identity import records, sessions
from penstock.store.schema import metadata
from penstock.store.statement import Statement
from penstock.wire.call import Session

CODECOMMIT = "codecommit.amazonaws.com"
_NAME = re.compile(r"[\w+=,.@-]{1,200}", re.ASCII)
_PASSWORD_BYTES = 32
_NUMBERS = 10  # that are tried as ends of names, before a random one

credentials = sa.Table(
    "iam_service_credentials",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),  # ACCA…
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("user_id", sa.String(32), nullable=False, index=True),
    sa.Column("service", sa.String(64), nullable=False),
    # With which its user signs in: USER-at-ACCOUNT, as the user was called then.
    sa.Column("name", sa.String(200), nullable=False, unique=True),
    sa.Column("digest", sa.String(64), nullable=False),  # of the password
    sa.Column("status", sa.String(10), nullable=False),  # Active Inactive
    sa.Column("created", sa.BigInteger, nullable=False),
)
_c, _u = credentials.c, records.users.c
BY_NAME = Statement(
    sa.select(_c.id, _c.account, _c.service, _c.digest, _c.status, _c.user_id, _u.arn, _u.tags)
    .select_from(credentials.join(records.users, _u.id == _c.user_id))
    .where(_c.name == sa.bindparam("name"))
)
"""A credential with its user."""


@dataclass(frozen=True, slots=True)
class ServiceCredential:
    """A credential that is active."""

    service: str
    digest: str
    session: Session  # of its user; its access key is the id of the credential

    def fits(self, password: str) -> bool:
        """Whether it is the password."""
        return hmac.compare_digest(self.digest, digest_of(password))


def credential_of(row: Any) -> ServiceCredential:
    """The credential of a row of `BY_NAME`."""
    return ServiceCredential(row.service, row.digest, sessions.of_user(row, row.user_id, row.id))


def may_be_name(text: str) -> bool:
    """Whether a text can be the user name of a credential."""
    return _NAME.fullmatch(text) is not None


def new_password() -> str:
    """A new password, in letters that URLs take as they are."""
    return secrets.token_urlsafe(_PASSWORD_BYTES)


def digest_of(password: str) -> str:
    """What is kept of a password."""
    return hashlib.sha256(password.encode("utf-8", "surrogatepass")).hexdigest()


def free_name(conn: sa.Connection, user_name: str, account: str) -> str:
    """The user name of a user's next credential. One that a user took along to another name is not free."""
    names = [f"{user_name}{f'+{number}' if number else ''}-at-{account}" for number in range(_NUMBERS)]
    taken = set(conn.execute(sa.select(_c.name).where(_c.name.in_(names))).scalars())
    free = next((name for name in names if name not in taken), None)
    return free or f"{user_name}+{secrets.randbelow(10**9)}-at-{account}"
