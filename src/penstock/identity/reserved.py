"""Names of roles' sessions that one resource gives and nobody else: a host that has joined is known by role and name of its sessions.

AWS leaves this to trust policies, which say who may assume a role and seldom by which name. A role that people may assume too would let each
of them be any of its hosts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from penstock.identity.cache import Cache, Memories
from penstock.identity.records import reserved_sessions
from penstock.store.statement import Statement
from penstock.store.upsert import upsert

if TYPE_CHECKING:
    from penstock.application import App

NOBODY = "nobody"  # gives sessions of a name, while what gave them is revoked
_ROLES_BYTES = 1 << 20  # of what is known of roles
_c = reserved_sessions.c
_ANY = Statement(sa.select(_c.name).where(_c.account == sa.bindparam("of"), _c.role == sa.bindparam("named")).limit(1))
_ONE = Statement(
    sa.select(_c.by, _c.since).where(
        _c.account == sa.bindparam("of"), _c.role == sa.bindparam("named"), _c.name == sa.bindparam("session")
    )
)


class Reservation(NamedTuple):
    """Who gives the sessions of a name. Sessions say under which reservation they were given, and under no other one they count."""

    by: str  # ARN of the resource, or NOBODY
    since: int  # ms; greater than that of an earlier one of the name, whatever the clocks of processes say


FREE = Reservation("", 0)  # everybody whom the role trusts may choose the name


class Reservations:
    """The names that are reserved. Most roles have none, which is remembered until identity changes."""

    def __init__(self, app: App, memories: Memories) -> None:
        self._app = app
        self._memories = memories
        self._known: Cache[tuple[str, str], bool] = memories.cache(_ROLES_BYTES)

    async def of(self, role_arn: str, name: str) -> Reservation:
        """That of a role's session name."""
        account, role = _role(role_arn)
        has = self._known.get((account, role))
        if has is None:
            epoch = self._memories.epoch
            has = await self._app.store.lookup(_ANY, of=account, named=role) is not None
            self._memories.keep(self._known, (account, role), has, epoch, len(role))
        if not has:
            return FREE
        row = await self._app.store.lookup(_ONE, of=account, named=role, session=name)
        return FREE if row is None else Reservation(row.by, row.since)


def reserve(conn: sa.Connection, role_arn: str, name: str, *, by: str, since: int) -> None:
    """Let one resource alone give a role's sessions of a name from now (ms) on. Those that were given before are over."""
    later = sa.case((_c.since >= since, _c.since + 1), else_=since)
    upsert(conn, reserved_sessions, {**_key(role_arn, name), "by": by, "since": since}, {"by": by, "since": later})


def revoke(conn: sa.Connection, role_arn: str, name: str, *, by: str) -> None:
    """End the sessions that a resource has given, and let nobody give others before the name is reserved again; unless it is another's by now.

    No time tells them apart from those that it gives at this moment, on what it looked up before.
    """
    if not upsert(conn, reserved_sessions, {**_key(role_arn, name), "by": NOBODY, "since": 0}):
        same = sa.and_(*(_c[column] == value for column, value in _key(role_arn, name).items()))
        conn.execute(reserved_sessions.update().where(same, _c.by == by).values(by=NOBODY))


def release(conn: sa.Connection, role_arn: str, name: str, *, by: str) -> None:
    """Let everybody choose a name again that a resource has reserved or that is revoked. What was given under the reservation is over."""
    same = sa.and_(*(_c[column] == value for column, value in _key(role_arn, name).items()))
    conn.execute(reserved_sessions.delete().where(same, _c.by.in_((by, NOBODY))))


def revoke_all(conn: sa.Connection, *, by: str) -> None:
    """The same for every name of a resource."""
    conn.execute(reserved_sessions.update().where(_c.by == by).values(by=NOBODY))


def _key(role_arn: str, name: str) -> dict[str, str]:
    account, role = _role(role_arn)
    return {"account": account, "role": role, "name": name}


def _role(arn: str) -> tuple[str, str]:
    """Account and name of a role. Sessions know no path."""
    return arn.split(":", 5)[4], arn.rpartition("/")[2]
