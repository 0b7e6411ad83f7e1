"""Statements about notification rules and their targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from penstock.notifications.records import rules, subscriptions, targets, tokens
from penstock.store.statement import Statement
from penstock.store.upsert import upsert
from penstock.wire.arns import parse_arn
from penstock.wire.call import partition_of

Place = tuple[str, str]
"""Account and region."""

SERVICE, KIND = "codestar-notifications", "notificationrule/"
PENDING, ACTIVE, UNREACHABLE = "PENDING", "ACTIVE", "UNREACHABLE"
_ENABLED = Statement(
    sa.select(rules).where(
        rules.c.account == sa.bindparam("a"),
        rules.c.region == sa.bindparam("r"),
        rules.c.resource == sa.bindparam("n"),
        rules.c.status == "ENABLED",
    )
)


def arn_of(row: Any) -> str:
    """The ARN of a rule."""
    return f"arn:{partition_of(row.region)}:{SERVICE}:{row.region}:{row.account}:{KIND}{row.id}"


def by_arn(conn: sa.Connection, arn: str, *, locked: bool = False) -> Any:
    """The rule of an ARN, or None."""
    named = parse_arn(arn, SERVICE)
    if named is None or not named.resource.startswith(KIND):
        return None
    c = rules.c
    found = sa.select(rules).where(
        c.id == named.resource.removeprefix(KIND), c.account == named.account, c.region == named.region
    )
    return conn.execute(found.with_for_update() if locked else found).first()


def by_id(conn: sa.Connection, id: str) -> Any:
    """A rule, or None."""
    return conn.execute(sa.select(rules).where(rules.c.id == id)).first()


def named(conn: sa.Connection, place: Place, name: str) -> Any:
    """The rule of a name, or None."""
    c = rules.c
    return conn.execute(sa.select(rules).where(c.account == place[0], c.region == place[1], c.name == name)).first()


def enabled(conn: sa.Connection, place: Place, resource: str) -> list[Any]:
    """The rules about a resource that are switched on."""
    return _ENABLED.all(conn, {"a": place[0], "r": place[1], "n": resource})


def of_place(conn: sa.Connection, place: Place) -> list[Any]:
    """All rules by their ids; there are few (see `operations.rules`)."""
    c = rules.c
    return list(conn.execute(sa.select(rules).where(c.account == place[0], c.region == place[1]).order_by(c.id)).all())


def count(conn: sa.Connection, place: Place) -> int:
    """How many rules there are."""
    c = rules.c
    found = sa.select(sa.func.count()).select_from(rules).where(c.account == place[0], c.region == place[1])
    return conn.execute(found).scalar_one()


def insert(conn: sa.Connection, **values: Any) -> None:
    """Write a new rule."""
    conn.execute(rules.insert().values(**values))


def change(conn: sa.Connection, id: str, **values: Any) -> None:
    """Change a rule."""
    conn.execute(rules.update().where(rules.c.id == id).values(**values))


def delete(conn: sa.Connection, id: str) -> None:
    """Forget a rule. Its targets stay, as on AWS, until DeleteTarget."""
    conn.execute(subscriptions.delete().where(subscriptions.c.rule == id))
    conn.execute(rules.delete().where(rules.c.id == id))


def targets_of(conn: sa.Connection, rule: Any) -> list[Any]:
    """The targets of a rule in the order in which they were given."""
    t, s = targets.c, subscriptions.c
    joined = (t.account == s.account) & (t.region == s.region) & (t.address == s.address)
    found = sa.select(targets).join(subscriptions, joined).where(s.rule == rule.id).order_by(s.position, s.address)
    return list(conn.execute(found).all())


def targets_in(conn: sa.Connection, place: Place) -> list[Any]:
    """All targets by their addresses; there are few."""
    t = targets.c
    found = sa.select(targets).where(t.account == place[0], t.region == place[1]).order_by(t.address)
    return list(conn.execute(found).all())


def target(conn: sa.Connection, place: Place, address: str) -> Any:
    """A target, or None."""
    t = targets.c
    found = sa.select(targets).where(t.account == place[0], t.region == place[1], t.address == address)
    return conn.execute(found).first()


def notified(conn: sa.Connection, place: Place, address: str) -> Sequence[str]:
    """The ids of the rules that notify a target."""
    s = subscriptions.c
    found = sa.select(s.rule).where(s.account == place[0], s.region == place[1], s.address == address)
    return conn.execute(found).scalars().all()


def subscribe(conn: sa.Connection, rule: Any, place: Place, address: str, type: str, *, position: int) -> None:
    """Let a rule notify a target, which is made unless it is there."""
    where = {"account": place[0], "region": place[1], "address": address}
    upsert(conn, targets, {**where, "type": type, "status": PENDING})
    upsert(conn, subscriptions, {**where, "rule": rule, "position": position})


def unsubscribe(conn: sa.Connection, rule: str, address: str | None = None) -> None:
    """Let a rule notify a target no more, or none of them."""
    s = subscriptions.c
    where = [s.rule == rule] + ([] if address is None else [s.address == address])
    conn.execute(subscriptions.delete().where(*where))


def delete_target(conn: sa.Connection, place: Place, address: str) -> None:
    """Forget a target, and that rules notify it."""
    for table in (subscriptions, targets):
        c = table.c
        conn.execute(table.delete().where(c.account == place[0], c.region == place[1], c.address == address))


def set_status(conn: sa.Connection, place: Place, address: str, status: str) -> None:
    """Note how a target was."""
    t = targets.c
    where = (t.account == place[0], t.region == place[1], t.address == address)
    conn.execute(targets.update().where(*where).values(status=status))


def token(conn: sa.Connection, place: Place, digest: str, now: int) -> Any:
    """The request of a token (`request`, `rule`), or None."""
    t = tokens.c
    found = sa.select(tokens).where(t.account == place[0], t.region == place[1], t.token == digest, t.until > now)
    return conn.execute(found).first()


def keep_token(conn: sa.Connection, place: Place, digest: str, *, request: str, rule: str, until: int) -> None:
    """Keep the request of a token."""
    kept = {"request": request, "rule": rule, "until": until}
    upsert(conn, tokens, {"account": place[0], "region": place[1], "token": digest, **kept}, kept)
